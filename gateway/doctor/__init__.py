"""The copiers' doctor: reads what was said in the last sessions and tells it in words.

Pure. `examine` finds what went wrong by the table in `signs`; `story` tells what the device did;
`device_block` and `settings` are what to write into rules.toml and the env file, `at_the_copier`
is what to change in the copier then.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import ceil

from gateway.doctor.signs import SIGNS, Sign

__all__ = [
    "SIGNS",
    "Finding",
    "Known",
    "Sign",
    "at_the_copier",
    "device_block",
    "examine",
    "settings",
    "story",
    "took",
]

_UNKNOWN = Sign(
    "unknown", re.compile(r"^S: [45]\d\d[ -].*", re.MULTILINE),
    "We refused something, and its reply says why.",
    "Read the reply; fax-gateway rejects shows how often it was given.",
)  # fmt: skip
_TAKEN = re.compile(r"^S: 250 2\.0\.0 (?:accepted|duplicate) ", re.MULTILINE)
_SENT = re.compile(r"SIZE=(\d+)|^C: <([\d,]+) bytes", re.MULTILINE)
_VERBS = {
    "EHLO": "it said {all}",
    "HELO": "it said {all}",
    "STARTTLS": "asked for TLS",
    "AUTH": "wanted to log in ({way})",
    "MAIL": "gave the sender {path}",
    "RCPT": "named the recipient {path}",
    "QUIT": "said goodbye",
}
_DEVICE, _LISTEN = "device", "0.0.0.0:2526"  # the copiers' listener: its name, where it may be
_MOST_STEPS = 14  # that a story tells
_MOST_QUOTED = 3  # lines
_MOST_MB = 200  # as SMTP_MAX_MESSAGE may be


@dataclass(frozen=True, slots=True)
class Finding:
    """`quote`: the lines that tell it; `sessions`: in how many it was, `newest`: the last too.

    No session at all: only the list of refusals shows it.
    """

    sign: Sign
    quote: str
    sessions: int = 1
    newest: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What the files in force say about the device."""

    networks: tuple[str, ...] = ()  # SMTP_DEVICE_NETWORKS
    listed: bool = False  # it is in one of them
    listener: str = ""  # SMTP_DEVICE_LISTEN
    device: str = ""  # the name of its [[device]]
    compat: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()  # of all devices
    doors: tuple[str, ...] = ()  # SMTP_…=host:port


def examine(
    sessions: Sequence[tuple[str, str]], rejects: Sequence[tuple[str, str]] = ()
) -> list[Finding]:
    """What went wrong in sessions (door, dialogue), newest first; what the newest shows leads.

    `rejects` (reply, because) add what no session shows: not all of them are kept.
    """
    found: dict[str, Finding] = {}
    for number, (door, dialogue) in enumerate(sessions):
        for one in _findings(dialogue, door):
            known = found.get(one.sign.name)
            found[one.sign.name] = (
                replace(known, sessions=known.sessions + 1)
                if known
                else replace(one, newest=number == 0)
            )
    for reply, because in rejects:
        for one in _findings(f"S: {reply}\n-- {because}"):
            if not (sessions and (one.sign is _UNKNOWN or one.sign.weak)):
                found.setdefault(one.sign.name, replace(one, sessions=0))
    return list(found.values())


def story(dialogue: str) -> str:
    """What the device did, and where we refused it, in one sentence."""
    steps = [step for line in dialogue.split("\n") if (step := _step(*line.partition(" ")[::2]))]
    if len(steps) > _MOST_STEPS:
        half = _MOST_STEPS // 2
        left_out = f"({len(steps) - 2 * half} steps more)"
        steps = [*steps[:half], left_out, *steps[-half:]]
    return "; ".join(steps) or "it connected"


def took(dialogue: str) -> bool:
    """Whether a mail came of it."""
    return _TAKEN.search(dialogue) is not None


def device_block(peer: str, findings: Sequence[Finding], known: Known) -> str:
    """What to write into rules.toml, "" = nothing there would help."""
    wanted = {one.sign.compat for one in findings} - {""}
    mends = {one.sign.mend for one in findings}
    words = ", ".join(f'"{word}"' for word in sorted(wanted | known.compat))
    compat = f"compat = [{words}]"
    sender = 'sender = "copier@example.com"  # a mailbox that somebody reads: it hears of its faxes'
    if known.device:
        lines = [compat] * bool(wanted - known.compat) + [sender] * ("sender" in mends)
        return "\n".join([f'# in your [[device]] named "{known.device}"', *lines]) if lines else ""
    if not (wanted or mends & {"device", "sender"}):
        return ""
    lines = ["[[device]]", f'network = "{peer}"', f'name = "{_name(peer, known.names)}"', sender]
    return "\n".join(lines + [compat] * bool(wanted))


def settings(
    peer: str, findings: Sequence[Finding], dialogues: Sequence[str], known: Known
) -> list[str]:
    """Lines for the env file."""
    mends = {one.sign.mend for one in findings}
    lines = []
    if "network" in mends or _belongs_there(findings):
        if not known.listener:
            lines.append(f"SMTP_DEVICE_LISTEN={_LISTEN}")
        if not known.listed:
            lines.append(f"SMTP_DEVICE_NETWORKS={','.join((*known.networks, peer))}")
    if "size" in mends and (megabytes := _megabytes(dialogues)) <= _MOST_MB:
        lines.append(f"SMTP_MAX_MESSAGE={megabytes}MB")
    return lines


def at_the_copier(door: str, findings: Sequence[Finding], known: Known) -> str:
    """Where it must send to, which was last seen at that door; "" = where it does already."""
    if door == _DEVICE or not _belongs_there(findings):
        return ""
    return f"Let the copier send to SMTP_DEVICE_LISTEN ({known.listener or _LISTEN})."


def _belongs_there(findings: Sequence[Finding]) -> bool:
    """To the copiers' listener."""
    return any(one.sign.compat or one.sign.mend in ("listener", "device") for one in findings)


def _findings(dialogue: str, door: str = "") -> list[Finding]:
    """Each line of a dialogue is explained once, by the first sign that reads it."""
    found: list[Finding] = []
    explained: set[int] = set()
    signs = (one for one in SIGNS if one.mend != "listener" or door != _DEVICE)
    for sign in (*signs, _UNKNOWN):
        news = [m for m in sign.pattern.finditer(dialogue) if _line(m) not in explained]
        explained.update(map(_line, news))
        if news and not (sign.weak and found):
            found.append(Finding(sign, _quote(dialogue, news[0])))
    return found


def _line(match: re.Match[str]) -> int:
    """The line that a match ends in."""
    return match.string.count("\n", 0, match.end() - 1)


def _quote(dialogue: str, match: re.Match[str]) -> str:
    """The last lines of a match, whole."""
    end = dialogue.find("\n", match.end() - 1)
    begin = dialogue.rfind("\n", 0, match.start() + 1) + 1
    lines = dialogue[begin : end if end >= 0 else None].split("\n")
    return "\n".join(lines[-_MOST_QUOTED:])


def _step(who: str, what: str) -> str:
    if who == "--":
        return what
    if who == "S:":
        return f'we said "{what}"' if what[:1] in "45" else "we took the mail" * took(f"S: {what}")
    if what.startswith("<"):
        return f"sent {what.strip('<>')}"
    verb, _, rest = what.partition(" ")
    path = re.search(r"<[^>]*>", rest)
    words = _VERBS.get(verb.upper(), "")
    return words.format(all=what, path=path[0] if path else rest, way=rest.removesuffix(" ***"))


def _megabytes(dialogues: Sequence[str]) -> int:
    """What SMTP_MAX_MESSAGE must be for the biggest of its mails, with some room."""
    sizes = [int((a or b).replace(",", "")) for text in dialogues for a, b in _SENT.findall(text)]
    return max(50, 10 * ceil(max(sizes, default=0) * 1.1 / 10e6))


def _name(peer: str, taken: frozenset[str]) -> str:
    name = f"copier-{re.split('[.:]', peer)[-1] or 1}"
    numbered = (f"{name}-{n}" for n in count(2))
    return name if name not in taken else next(one for one in numbered if one not in taken)
