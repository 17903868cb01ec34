"""Command lines, strictly (RFC 5321 §4.1.2): on the raw text, nothing repaired, nothing guessed.

Pure. Everything that is not understood raises `Refused` with the reply.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.doors.smtp import dsn, replies
from gateway.numbers import Refusal

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_DOT_STRING = rf"{_ATOM}(?:\.{_ATOM})*"
_QUOTED = r'"(?:[ !#-\[\]-~]|\\[ -~])*"'
_LETTER = r"A-Za-z0-9\u00a1-\U0010ffff"
_LABEL = rf"[{_LETTER}_](?:[{_LETTER}_-]*[{_LETTER}_])?"  # Windows has hosts with an underscore
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[!-Z^-~]+\])"
# copiers leave the domain out; whoever is told about the fax is then our smarthost's to find
_SENDER = re.compile(rf"(?:{_DOT_STRING}|{_QUOTED})(?:@{_DOMAIN})?")
_MAIL, _RCPT = "FROM", "TO"
_STRICT, _LAX = (
    {word: re.compile(form.format(word), re.IGNORECASE) for word in (_MAIL, _RCPT)}
    for form in (
        r"{0}: ?<(?P<path>[^<>]*)>(?P<bare>)(?P<rest>(?: .*)?)",
        # copiers: a space before the colon, more than one behind it, no angle brackets
        r"{0} *: *(?:<(?P<path>[^<>]*)>|(?P<bare>[^<>( ]+))(?P<rest>(?: .*)?)",
    )
)
_PARAMETER = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9-]*)(?:=(?P<value>[!-<>-~]+))?")
_FOREIGN = re.compile(
    rb"\x16\x03|(?:GET|POST|PUT|HEAD|OPTIONS|CONNECT|DELETE|PATCH|TRACE|PRI|PROXY) "
    rb"|\r\n\r\n\0\r\nQUIT\n|[A-Za-z-]+:",
    re.IGNORECASE,
)

LONGEST_SENDER = 254  # RFC 5321 §4.5.3.1.3, without the angle brackets
_MAY_BE_UTF8 = ("MAIL", "RCPT")  # RFC 6531 §3.4


class Refused(Exception):  # noqa: N818 - it is an answer, not an error
    """The reply to give; `because` names it in the log and among the rejects."""

    def __init__(self, reply: str, because: str = "syntax") -> None:
        super().__init__(reply)
        self.reply = reply
        self.because = because


class Hangup(Refused):
    """The last reply of a session."""


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL FROM. sender "" = the null sender; size 0 = not declared."""

    sender: str
    size: int = 0
    utf8: bool = False
    ret: str = ""
    envid: str = ""


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT TO: the raw text between the angle brackets, and what its sender wants to hear."""

    address: str
    notify: str = ""
    orcpt: str = ""


def is_foreign(line: bytes) -> bool:
    """A browser, a TLS client, a balancer that is not listed, a mail without an envelope."""
    return _FOREIGN.match(line) is not None


def command(line: bytes) -> tuple[str, str]:
    """A line without its CRLF → verb in capitals, argument as text."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(replies.BAD_LINE) from None
    # controls forge lines in logs, format characters (bidi) turn text round in notices
    if not text.isprintable():
        raise Refused(replies.BAD_LINE)
    verb, _, argument = text.partition(" ")
    if not (text.isascii() or (verb.isascii() and verb.upper() in _MAY_BE_UTF8)):
        raise Refused(replies.BAD_LINE)
    return verb.upper(), argument.rstrip(" ")


def mail(argument: str, *, tolerant: bool = False) -> Mail:
    path, parameters = _split(_MAIL, argument, replies.MAIL_SYNTAX, tolerant=tolerant)
    asked = _asked(parameters, dsn.OF_MAIL)
    utf8 = "SMTPUTF8" in parameters
    sender = Mail(path, _size(parameters), utf8, asked.get("RET", ""), asked.get("ENVID", ""))
    for name, value in parameters.items():
        _check(name, value)
    if not argument.isascii() and not sender.utf8:
        raise Refused(replies.BAD_LINE)
    if path and (len(path) > LONGEST_SENDER or not _SENDER.fullmatch(path)):
        raise Refused(replies.BAD_SENDER)
    return sender


def rcpt(argument: str, *, tolerant: bool = False) -> Rcpt:
    otherwise = Refusal.COMMENT.reply if "(" in argument else replies.RCPT_SYNTAX
    path, parameters = _split(_RCPT, argument, otherwise, tolerant=tolerant)
    asked = _asked(parameters, dsn.OF_RCPT)
    if set(parameters) - set(dsn.OF_RCPT):
        raise Refused(replies.UNKNOWN_PARAMETER, "param")
    return Rcpt(path, asked.get("NOTIFY", ""), asked.get("ORCPT", ""))


def _split(
    form: str, argument: str, otherwise: str, *, tolerant: bool
) -> tuple[str, dict[str, str]]:
    match = (_LAX if tolerant else _STRICT)[form].fullmatch(argument)
    if not match:
        raise Refused(otherwise)
    parameters: dict[str, str] = {}
    for word in filter(None, match["rest"].split(" ")):
        parameter = _PARAMETER.fullmatch(word)
        if not parameter or parameter["name"].upper() in parameters:
            raise Refused(replies.BAD_PARAMETER)
        parameters[parameter["name"].upper()] = parameter["value"] or ""
    path = match["path"]
    return path if path is not None else match["bare"], parameters


def _asked(parameters: dict[str, str], known: Mapping[str, dsn.Parameter]) -> dict[str, str]:
    """Parameters of RFC 3461, as a fax carries them."""
    asked = {}
    for name, read in known.items():
        if name in parameters:
            value = read(parameters[name])
            if value is None:
                raise Refused(replies.BAD_PARAMETER)
            asked[name] = value
    return asked


def _check(name: str, value: str) -> None:
    match name, value.upper():
        case ("SIZE", _) | ("BODY", "7BIT" | "8BITMIME") | ("SMTPUTF8", ""):
            return
        case ("AUTH", proxied) if proxied:  # RFC 4954 §5: whoever vouches, we trust our own eyes
            return
        case ("BODY" | "SMTPUTF8" | "AUTH", _):
            raise Refused(replies.BAD_PARAMETER)
    if name not in dsn.OF_MAIL:
        raise Refused(replies.UNKNOWN_PARAMETER, "param")


def _size(parameters: dict[str, str]) -> int:
    value = parameters.get("SIZE")
    if value is None:
        return 0
    if not re.fullmatch(r"[0-9]{1,20}", value):  # RFC 1870 §4
        raise Refused(replies.BAD_PARAMETER)
    return int(value)
