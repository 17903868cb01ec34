"""The house is drawn here: who may import whom. A forbidden import fails this test."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "gateway"

PURE = {"errors", "model", "numbers", "address", "options", "wishes"}
SERVICES = {"committer", "spool", "store", "provider", "mail", "document"}
INTRODUCERS = {"app", "build", "cli", "demo", "__main__"}  # they know everyone

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "model": {"errors"},
    "numbers": {"errors"},
    "address": {"numbers", "options"},
    "options": {"numbers"},
    "wishes": set(),
    "config": {"numbers"},
    "doctor": set(),
    "log": set(),
    "systemd": set(),
    "rules": {"numbers", "errors"},
    "committer": set(),
    "spool": {"committer"},
    "store": {"committer", "model", "errors", "wishes"},
    "provider": {"model", "errors"},
    "mail": {"model", "errors", "numbers", "wishes", "options"},
    "document": {"model", "errors", "mail"},
    "worker": {"store", "model", "errors", "wishes"},
    "janitor": {"store", "spool", "model"},
    "pager": {"errors", "mail"},
    "alarm": {"errors", "model", "mail", "spool"},
    "web": {"doors", "model", "errors"},
    "outbound": PURE | {"spool", "provider", "mail", "document"},
    "outbound.identity": {"rules"},
    "outbound.intake": PURE | {"spool", "store"},
    "outbound.permit": PURE | {"rules"},
    "inbound": PURE | {"spool", "provider", "mail", "document", "rules"},
    "doors": PURE | {"store", "spool", "provider", "mail"},
    "doors.smtp": PURE
    | {"store", "spool", "mail", "rules"}
    | {"outbound.intake", "outbound.permit", "outbound.verdict"},
    "doors.imap": PURE | {"store", "spool", "mail", "outbound.intake", "outbound.permit"},
}

THIRD_PARTY: dict[str, set[str]] = {
    "aioimaplib": {"doors.imap"},
    "aiolimiter": {"provider.audian.http"},
    "aiosmtpd": {"doors.smtp", "demo.mailbox"},
    "argon2": {"doors.smtp.users"},
    "aiosmtplib": {"mail.smarthost"},
    "defusedxml": {"doors.webhook"},
    "dotenv": {"config"},
    "h11": {"provider.simulator", "web"},
    "httpx": {"provider.audian.http"},
    "phonenumbers": {"numbers", "config.values", "rules.values"},
    "pikepdf": {"document", "provider.simulator", "demo"},
    "PIL": {"document", "provider.simulator"},
    "pypdfium2": {"document"},
    "fontpkg_noto_sans": {"document"},
    "typst": {"document"},
    "pydantic": {"config", "rules"},
    "starlette": {"web", "build", "doors.webhook", "demo"},
    "structlog": {""},
    "typer": {"cli"},
    "uvicorn": {"web", "demo"},
    "uvloop": {"cli"},
}


def imports() -> Iterator[tuple[str, str]]:
    """(module below gateway, what it imports) for every import statement, wherever it stands."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((module, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module}: relative import"
                base = node.module or ""
                yield from ((module, f"{base}.{alias.name}") for alias in node.names)


IMPORTS = list(imports())


def within(module: str, room: str) -> bool:
    return room in ("", module) or module.startswith(room + ".")


def of(module: str) -> str:
    """The most exact room of a module that the map knows."""
    known = [room for room in MAY_IMPORT if within(module, room)]
    return max(known, key=len, default=module.split(".", maxsplit=1)[0])


@pytest.mark.parametrize("room", sorted({of(m) for m, _ in IMPORTS} - INTRODUCERS - {""}))
def test_rooms_keep_to_the_map(room: str) -> None:
    allowed = MAY_IMPORT[room] | {room, room.split(".", maxsplit=1)[0]}
    for module, name in IMPORTS:
        if of(module) != room or not name.startswith("gateway."):
            continue
        other = name.removeprefix("gateway.")
        assert any(within(other, known) for known in allowed), f"{module} must not know {other}"


def test_the_two_roads_never_meet() -> None:
    for module, name in IMPORTS:
        assert not (within(module, "inbound") and within(name, "gateway.outbound")), module
        assert not (within(module, "outbound") and within(name, "gateway.inbound")), module


def test_each_library_has_one_home() -> None:
    for module, name in IMPORTS:
        library = name.split(".")[0]
        if library == "gateway" or library in sys.stdlib_module_names:
            continue
        assert library in THIRD_PARTY, f"{module} imports {library}: say where it may live"
        homes = THIRD_PARTY[library]
        assert any(within(module, home) for home in homes), f"{module} must not know {library}"


def test_every_package_of_the_map_exists() -> None:
    modules = {m for m, _ in IMPORTS}
    for room in MAY_IMPORT:
        assert any(within(m, room) for m in modules), f"{room} is on the map and not in the house"
