"""Every reply this door gives: one list, so that no two places word the same thing.

Each has an enhanced status code (RFC 3463). The sender's fault is 5xx, ours always 4xx. What a
recipient is refused with is `numbers.Refusal`.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.mail import prescan
from gateway.outbound import verdict
from gateway.store import Added

OK = "250 2.0.0 Ok"
SENDER_OK = "250 2.1.0 Sender ok"
RECIPIENT_OK = "250 2.1.5 Recipient ok"
HELP = "214 2.0.0 Mail to number@domain becomes a fax; see RFC 5321"
CANNOT_VERIFY = "252 2.5.0 Cannot verify; send the mail and see"
GOODBYE = "221 2.0.0 Bye"
GO_AHEAD = "354 End data with <CR><LF>.<CR><LF>"

TLS_NOW = "220 2.0.0 Ready to start TLS"
LOGGED_IN = "235 2.7.0 Authentication successful"

# the session ends
BUSY = "421 4.3.2 Busy"
NO_DEVICE = "554 5.7.1 Only for copiers: this address is not in SMTP_DEVICE_NETWORKS"
BAD_PROXY = "421 4.7.0 PROXY line expected"
TOO_MANY_FAILURES = "421 4.7.0 Too many failed logins"
TLS_FAILED = "421 4.7.0 TLS failed"
NOT_SMTP = "421 4.7.0 Not SMTP"
TIMEOUT = "421 4.4.2 Timeout"
STOPPING = "421 4.3.2 Service shutting down"
TOO_MANY_ERRORS = "421 4.7.0 Too many errors"
TOO_MANY_COMMANDS = "421 4.7.0 Too many commands"
EARLY_TALK = "554 5.5.0 Protocol synchronization"

# the command makes no sense
BAD_LINE = "500 5.5.2 Bad command syntax"
TOO_LONG = "500 5.5.2 Command too long"
UNKNOWN = "500 5.5.2 Unknown command"
NOT_OFFERED = "502 5.5.1 Command not implemented"
NO_ARGUMENT = "501 5.5.4 No argument is allowed"
NEED_HOSTNAME = "501 5.5.4 Syntax: EHLO hostname"
MAIL_SYNTAX = "501 5.5.4 Syntax: MAIL FROM:<address>"
RCPT_SYNTAX = "501 5.5.4 Syntax: RCPT TO:<number@domain>"
BAD_PARAMETER = "501 5.5.4 Bad parameter"
UNKNOWN_PARAMETER = "555 5.5.4 Parameter not supported"
BAD_SENDER = "501 5.1.7 Bad sender address syntax"
HELLO_FIRST = "503 5.5.1 EHLO first"
MAIL_FIRST = "503 5.5.1 MAIL first"
RCPT_FIRST = "503 5.5.1 RCPT first"
ONE_SENDER = "503 5.5.1 Sender already given"
NO_RECIPIENTS = "554 5.5.1 No valid recipients"

# the sender or the message is not wanted
NO_PLAIN_LOGIN = "538 5.7.11 Encryption required for authentication: say STARTTLS first"
BAD_LOGIN = "535 5.7.8 Authentication credentials invalid"
LOGIN_BUSY = "454 4.7.0 Temporary authentication failure, please try again later"
LOCKED_OUT = "454 4.7.0 Too many failed logins, please try again in some minutes"
LOGGED_IN_ALREADY = "503 5.5.1 Already authenticated"
NOT_IN_A_MAIL = "503 5.5.1 Not allowed during a mail transaction"
TLS_ALREADY = "503 5.5.1 TLS is active already"
ADMIN_REFUSED = "550 5.1.1 The administrator's mailbox does not take this mail"
NO_POSTMASTER = verdict.NO_POSTMASTER
SEND_APART = "452 4.5.3 Send this recipient in a mail of its own"
NO_SUBJECT_NUMBER = (
    "550 5.1.3 No number: end the Subject with the number, as in [fax to=+14155550100]"
)
TOO_MANY_NUMBERS = verdict.TOO_MANY_NUMBERS
NUMBER_TWICE = "550 5.5.4 Option to: it belongs to a mail to the fixed address, fax@, alone"
AUTOMATIC = verdict.AUTOMATIC
FAX_SENDER = verdict.FAX_SENDER
NOT_TOLD = verdict.NOT_TOLD
OPTIONS_DIFFER = "550 5.5.4 Options: the same number was given before with other ones"
LOOP = "554 5.4.6 Routing loop"
COMPLEX = "554 5.6.0 Message too complex"
NUL = "554 5.6.0 NUL not allowed"
LONG_LINE = "554 5.6.0 Line too long"
SPLIT = f"554 5.6.1 {prescan.SPLIT}"
TOO_BIG = "552 5.3.4 Message too big"
TOO_MANY_RECIPIENTS = "452 4.5.3 Too many recipients"

# not now, and it is our fault
POSTMASTER_BUSY = "450 4.7.1 Too much mail for the postmaster, please try again later"
RELAY_DOWN = "451 4.4.1 The administrator's mail cannot be handed on now, please try again later"
DISK_FULL = "452 4.3.1 Insufficient system storage"
QUEUE_DOWN = "451 4.3.2 Queue not available, please try again later"
TROUBLE = "451 4.3.0 Temporary failure, please try again later"

_NAMED, _MOST_NEW = 30, 20  # faxes: a reply line holds 512 bytes (RFC 5321 §4.5.3.1.5)


def accepted(added: Sequence[Added]) -> str:
    """Names the fax of every number, so that a sender can ask for it."""
    new = [one.fax for one in added if not one.duplicate]
    known = [one.fax for one in added if one.duplicate]
    parts = []
    if new:
        parts.append(f"accepted as {_list(new, _MOST_NEW)}")
    if known:
        parts.append(f"duplicate of {_list(known, _NAMED - len(new[:_MOST_NEW]))}")
    return f"250 2.0.0 {'; '.join(parts)}"


def _list(ids: Sequence[str], most: int) -> str:
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    return " ".join(ids[:most]) + more
