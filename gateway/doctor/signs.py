"""What goes wrong between copiers and us: how it looks in a dialogue, what it means, what to do.

One row a trouble. The patterns read what `doors.transcripts` writes: lines of the client (`C:`),
ours (`S:`), and notes (`--`). A row stands before those that would say less about the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Mend = Literal["", "listener", "device", "sender", "network", "size"]


@dataclass(frozen=True, slots=True)
class Sign:
    """`compat`: the word that forgives it; `mend`: what else to write into a file.

    "listener": the copiers' forgives that by itself, so it explains nothing that happened there.
    `weak` ones say something only where no other sign of the session does.
    """

    name: str
    pattern: re.Pattern[str]
    means: str
    do: str
    compat: str = ""
    mend: Mend = ""
    weak: bool = False


def _sign(  # noqa: PLR0913 - a row of the table
    name: str, pattern: str, means: str, do: str,
    *, compat: str = "", mend: Mend = "", weak: bool = False,
) -> Sign:  # fmt: skip
    return Sign(name, re.compile(pattern, re.MULTILINE), means, do, compat, mend, weak)


_LEFT = r"(?:\n-- client left|\nC: QUIT|\Z)"
_OFFERS = r"\n(?:S: 250.*\n)*?S: 250.*"
_AUTH = r"^C: +(?i:AUTH)\b.*\n"
_TAKEN_THERE = "Let it send to the copiers' listener, which takes that, see below."
_DEVICE_LISTENER = "or let it fax without a login: list its address as a copier's, see below"

SIGNS: tuple[Sign, ...] = (
    # the connection and TLS
    _sign(
        "not-listed",
        r"^-- (?:peer not in SMTP_DEVICE_NETWORKS|not_listed)$|^S: 554 .*Only for copiers",
        "It came to the copiers' listener, and its address is none of SMTP_DEVICE_NETWORKS.",
        "Add its address to SMTP_DEVICE_NETWORKS, see below, and restart the gateway.",
        mend="network",
    ),
    _sign(
        "too-many-connections", r"^S: 421 4\.(?:7\.0 Too many connections|3\.2 Busy)",
        "It, or somebody else, holds too many connections at once, or opens them too fast.",
        "See who: fax-gateway rejects --count. SMTP_MAX_CONNECTIONS_PER_IP is the limit for one.",
    ),
    _sign(
        "plain-at-tls-port", r"^-- tls failed: .*(?i:wrong.version.number|http.request)",
        "It spoke plain SMTP at the port that speaks TLS from the first byte (SMTP_TLS_LISTEN).",
        "In the copier choose SSL/TLS instead of STARTTLS, or the port of SMTP_LISTEN.",
    ),
    _sign(
        "old-tls",
        r"^-- tls failed: .*(?i:unsupported.protocol|version.too.low|protocol.version"
        r"|no.shared.cipher|no.suitable|inappropriate.fallback|legacy)",
        "It speaks only TLS 1.0 or 1.1, or only ciphers of that time.",
        "Look for new firmware; until then forgive it at the copiers' listener, see below.",
        compat="tls1.0",
    ),
    _sign(
        "certificate",
        r"^-- tls failed: .*(?i:unknown.ca|certificate|decrypt.error|access.denied)",
        "It does not trust our certificate, or that is for another name than the copier calls.",
        "In the copier enter the name that stands in SMTP_TLS_CERT as the server, import the "
        "authority's certificate, or switch the checking of certificates off.",
    ),
    _sign(
        "no-tls", r"^C: +(?i:STARTTLS).*\nS: (?:454|50[02])",
        "It wants TLS, and there is none here.",
        "Set SMTP_TLS_CERT and SMTP_TLS_KEY, or switch TLS off in the copier.",
    ),
    _sign(
        "tls-failed",
        rf"^-- tls failed: |^S: 421 4\.7\.0 TLS|^C: +(?i:STARTTLS).*\nS: 220.*{_LEFT}",
        "It gave up while TLS was being agreed upon.",
        "Most often it does not trust our certificate, or it is too old for TLS 1.2: try without "
        "TLS at the copiers' listener, or with compat tls1.0.",
        compat="tls1.0",
    ),
    _sign(
        "not-smtp", r"^S: 421 4\.7\.0 Not SMTP",
        "What came in was no SMTP: TLS from the first byte, or a browser, or a scan of ports.",
        "In the copier choose STARTTLS (or no TLS) for this port, or SSL/TLS with the port of "
        "SMTP_TLS_LISTEN.",
    ),
    _sign(
        "no-proxy-line", r"^S: 421 4\.7\.0 PROXY",
        "It stands in SMTP_PROXY_NETWORKS and does not say for whom it speaks (PROXY protocol).",
        "Switch the PROXY protocol on in the load balancer, or take it out of that setting.",
    ),
    _sign(
        "early-talk", r"^S: 554 5\.5\.0 ",
        "It talks before we have answered: with such clients nobody can tell two mails apart.",
        "Switch 'pipelining' or 'fast sending' off in the copier, or look for new firmware.",
    ),
    # commands
    _sign(
        "bare-lf",
        r"^C: .*<LF>\nS: (?:500|421) "
        r"|^C: <.*lines end with (?:LF|both).*\n(?:S: 550 5\.5\.2|S: 421|-- (?:timed|client))",
        "It ends lines with LF alone, where SMTP wants CR LF.",
        _TAKEN_THERE, mend="listener",
    ),
    _sign(
        "no-hostname", r"^C: +(?i:EHLO|HELO) *\nS: 501",
        "It says hello without a name.",
        "Enter a host name in the copier's network settings.",
    ),
    _sign(
        "odd-letters", r"^C: +(?i:MAIL|RCPT)\b.* <8bit>.*\nS: 5",
        "There is an umlaut, an accent or another letter outside ASCII in an address.",
        "Write the address in the copier's address book anew, in plain letters and digits.",
    ),
    # who it is
    _sign(
        "login-without-tls", rf"{_AUTH}(?:S: 334.*\nC: .*\n)*S: 538",
        "It wants to log in without TLS: its password could be read on the wire.",
        "Switch TLS (STARTTLS) on in the copier. If it has none, let it send to the copiers' "
        "listener, see below: there a login is taken without TLS, and none is needed.",
        mend="listener",
    ),
    _sign(
        "login-after-helo",
        rf"^C: +(?i:HELO)\b(?!(?:.*\n)*C: +(?i:EHLO)\b)(?:.*\n)*?{_AUTH[1:]}S: 503 5\.5\.1 EHLO",
        "It logs in after HELO, where only EHLO offers a login.",
        _TAKEN_THERE, mend="listener",
    ),
    _sign(
        "login-method", rf"{_AUTH}S: 504",
        "It wants a method of logging in that we do not have.",
        "Set the copier's SMTP authentication to LOGIN or PLAIN, " + _DEVICE_LISTENER + ".",
        mend="device",
    ),
    _sign(
        "login-not-offered", rf"{_AUTH}S: 50[02]",
        "It wants to log in and we offered no login: there are no users, or TLS must be on first.",
        "Switch SMTP authentication off in the copier and list its address, see below; or set "
        "SMTP_USERS_FILE and switch TLS on in the copier.",
        mend="device",
    ),
    _sign(
        "wrong-password", r"^S: 535 ",
        "The user is not known, or the password is not right.",
        "Type name and password in the copier anew (some keep only 16 characters), and compare "
        "the name with SMTP_USERS_FILE.",
    ),
    _sign(
        "locked-out", r"^S: 421 4\.7\.0 Too many failed|^S: 535.*\n(?:.*\n)*?S: 421 4\.7\.0",
        "It was refused so often that it is shut out for a while.",
        "Mend the cause, then wait some minutes before the next try.",
    ),
    _sign(
        "login-busy", r"^S: 454 4\.7\.0 (?!TLS)",
        "We could not check the login just then.",
        "Scan again; when it stays so, look for auth lines in the journal.",
    ),
    _sign(
        "login-broken", r"^S: 501 5\.(?:5\.2|7\.0) |^S: 334.*\nC: \*\*\*\nS: 501",
        "Its login was broken off, or is no base64.",
        "Type name and password in the copier anew, without letters outside ASCII.",
    ),
    _sign(
        "left-at-login", rf"^S: 334.*{_LEFT}",
        "It left when we asked for its name or password.",
        "Enter name and password in the copier, set the method to LOGIN, " + _DEVICE_LISTENER + ".",
        mend="device",
    ),
    _sign(
        "nobody-we-know", r"^S: 530 ",
        "It did not log in, and its address is none that may fax without a login.",
        "List it as a copier, see below; or give it a name and password of SMTP_USERS_FILE.",
        mend="device",
    ),
    _sign(
        "no-sender",
        r"^C: +(?i:MAIL FROM) ?: ?<>.*\n(?:S: 5|(?:[CS]: .*\n)*?S: 550 5\.7\.1 Automatic)",
        "It gives no sender: whoever scanned could not be told what became of the fax.",
        "Enter a mail address for the copier in its own settings, or name one below.",
        mend="sender",
    ),
    _sign(
        "fax-as-sender", r"^S: 550 5\.7\.1 The sender is an address of ours",
        "Its sender is an address of this gateway: a notice to it would come back here.",
        "Enter the address of a mailbox as the copier's sender, or name one below.",
        mend="sender",
    ),
    _sign(
        "sender-without-domain", r"^C: +(?i:MAIL FROM) ?: ?<[^@<>\s]+>",
        "Its sender has no domain: notices about its faxes may reach nobody.",
        "Enter a whole address (copier@example.com) in the copier, or name one below.",
        mend="sender",
    ),
    _sign(
        "bad-sender", r"^S: 501 5\.1\.7 ",
        "Its sender is no mail address.",
        "Enter a plain address (copier@example.com) in the copier, without a name before it.",
        mend="sender",
    ),
    _sign(
        "sender-not-owned", r"^S: 553 5\.7\.1 ",
        "It logged in as one, and gives the sender address of another.",
        "Enter the sender that belongs to its login, or add the address to that login's "
        "[[sender]] in rules.toml.",
    ),
    _sign(
        "sender-not-listed", r"^S: 550 5\.7\.1 Sender",
        "Its sender is none that rules.toml lets fax.",
        "Add a [[sender]] with its address, or list the copier itself, see below.",
        mend="device",
    ),
    _sign(
        "automatic-mail", r"^S: 550 5\.7\.1 Automatic mail",
        "The mail says of itself that it is automatic, such as a report or an out-of-office note.",
        "Send reports of the copier to a mailbox, not to a fax number.",
    ),
    # to whom
    _sign(
        "brackets", r"^S: 553 5\.1\.3 |^C: +(?i:RCPT)\b.*<[^>]*[() \[\]][^>]*@.*\nS: 5",
        "The number in its address book has brackets or spaces: in a mail address those are "
        "comments, and another number would be dialled.",
        "Write it as +14155550100@fax.local: a plus, then digits alone.",
    ),
    _sign(
        "foreign-domain", r"^S: 55[04] 5\.7\.1 Relay",
        "It writes to a domain that is not ours.",
        "Write number@fax.local (a domain of FAX_DOMAINS) in its address book, and other mail "
        "to your mail server.",
    ),
    _sign(
        "bad-number", r"^S: 501 5\.1\.3 |^S: 550 5\.1\.1 (?!Nobody)",
        "What stands before the @ is no fax number.",
        "Write it as +14155550100@fax.local; without digits for an outside line.",
    ),
    _sign(
        "no-number-in-subject", r"^S: 550 5\.1\.3 ",
        "It writes to the fixed address, and its Subject has no number for it.",
        "End the Subject with [fax to=+14155550100], or write to number@fax.local.",
    ),
    _sign(
        "option", r"^S: 550 5\.5\.4 ",
        "An option in the address, the Subject or a header is not known, or not allowed there.",
        "The reply names the options that are known; most copiers need none.",
    ),
    _sign(
        "not-permitted", r"^S: 550 5\.7\.1 Destination",
        "The number is in a country or of a kind that may not be called.",
        "See which rule says so: fax-gateway permit SENDER NUMBER --explain.",
    ),
    _sign(
        "quota", r"^S: (?:451 4\.7\.1|550 5\.7\.1 Quota)",
        "Its allowance for this hour or day is spent.",
        "Wait, or raise faxes_per_… or pages_per_… of its [[device]] or [[sender]].",
    ),
    _sign(
        "too-many-recipients", r"^S: 452 4\.5\.3 ",
        "It sends one mail to more numbers than FAX_MAX_RECIPIENTS.",
        "Choose fewer numbers at a time, or raise FAX_MAX_RECIPIENTS.",
    ),
    # the mail
    _sign(
        "too-big", r"^S: 552 5\.3\.4 |^C: +(?i:MAIL)\b.*SIZE=.*\nS: 552",
        "The scan is bigger than SMTP_MAX_MESSAGE.",
        "Scan in black and white with 200 dpi (a fax shows no more), or raise the limit.",
        mend="size",
    ),
    _sign(
        "long-lines", r"^S: (?:554 5\.6\.0|500 5\.5\.2) Line too long",
        "It sends the document as one long line.",
        _TAKEN_THERE, mend="listener",
    ),
    _sign(
        "nul", r"^S: 554 5\.6\.0 NUL",
        "The mail has zero bytes in it: the document was not encoded for mail.",
        "Set the copier's attachments to MIME or base64 (not 'binary'), or look for new firmware.",
    ),
    _sign(
        "split", r"^-- message/partial|^S: 554 5\.6\.1 Split",
        "It splits one scan over several mails.",
        "Switch 'split sending' or 'maximum message size' off in the copier.",
    ),
    _sign(
        "nothing-to-fax", r"^S: 554 5\.6\.1 ",
        "There is no document in the mail that could be faxed.",
        "Set the copier's file format to PDF or TIFF.",
    ),
    _sign(
        "loop", r"^S: 554 5\.4\.6 ",
        "The mail comes from this gateway itself.",
        "Do not forward the gateway's mails to a fax number.",
    ),
    _sign(
        "left-in-data",
        r"^-- client left before the end of data|^S: 354.*(?:\nC: <.*)?(?:\n-- client left.*)?\Z",
        "The connection broke off in the middle of the mail: nothing was faxed.",
        "Scan again. When it stays so: check the cable, the network, and a time-out in the copier "
        "that is too short for big scans.",
    ),
    # words that say less
    _sign(
        "syntax", r"^C: +(?i:MAIL|RCPT)\b.*\nS: (?:501 5\.5\.4|555) ",
        "It writes MAIL or RCPT in a way that is not in the standard.",
        _TAKEN_THERE, mend="listener", weak=True,
    ),
    _sign(
        "our-fault", r"^S: (?:452 4\.3\.1|45[01] 4\.3\.\d|421 4\.3\.2 Service)",
        "The gateway could not take the mail just then: that was our fault, not the copier's.",
        "Look into the journal, and at the free disk; the copier may try again.",
        weak=True,
    ),
    _sign(
        "too-many-errors", r"^S: 421 4\.7\.0 Too many (?:errors|commands)",
        "It said the same again and again, whatever we answered.",
        "Mend what was refused before it; switch 'retry' off in the copier for the time being.",
        weak=True,
    ),
    _sign(
        "timed-out", r"^-- timed out|^S: 421 4\.4\.2",
        "It stopped talking in the middle of the session.",
        "Scan again. When it stays so: check the network, and whether the copier sleeps.",
        weak=True,
    ),
    _sign(
        "left-midway", rf"^S: 250 2\.1\..*{_LEFT}",
        "It left before it sent the mail, though nothing had been refused.",
        "Scan again. When it stays so: check the network, and the memory of the copier.",
        weak=True,
    ),
    _sign(
        "left-at-greeting", rf"\AS: 220.*{_LEFT}",
        "It connected and left without a word: a test of the port, or it waited for TLS at once.",
        "If a person pressed scan: in the copier choose STARTTLS or no TLS for this port, or "
        "SSL/TLS with the port of SMTP_TLS_LISTEN.",
        weak=True,
    ),
    _sign(
        "wants-tls",
        rf"\A(?!(?:.*\n)*(?:-- tls|C: +(?i:STARTTLS)))(?:.*\n)*C: +(?i:EHLO)\b.*"
        rf"(?!{_OFFERS}STARTTLS){_OFFERS}{_LEFT}",
        "It said hello and left: we offered it no TLS.",
        "Set SMTP_TLS_CERT and SMTP_TLS_KEY, or switch TLS off in the copier.",
        weak=True,
    ),
    _sign(
        "wants-login", rf"^C: +(?i:EHLO|HELO)\b.*(?!{_OFFERS}\bAUTH\b){_OFFERS}{_LEFT}",
        "It said hello and left: we offered it no login.",
        "Switch SMTP authentication off in the copier and list its address, see below.",
        mend="device", weak=True,
    ),
    _sign(
        "left-at-hello", rf"^C: +(?i:EHLO|HELO)\b.*{_OFFERS}{_LEFT}",
        "It said hello and left: the test button of a copier does that, and it is no trouble.",
        "Press scan. When nothing more comes, try another setting of TLS in the copier.",
        weak=True,
    ),
)  # fmt: skip
