"""The intake: one mail becomes a fax for each number, once, and only when all of it is durable."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import resource
import sqlite3
import stat
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from gateway.model import Direction, State
from gateway.numbers import E164
from gateway.outbound.intake import Envelope, Intake, Recipient, natural_key
from gateway.spool import FsyncError, Kind, Spool
from gateway.store import SMALL, Store, StoreError
from tests.conftest import Clock
from tests.make import LINE, mails

pytestmark = pytest.mark.anyio

HOUR = 3600.0
ONE, TWO = E164("+14155550100"), E164("+14155550101")
ENVELOPE = Envelope(
    "ann@example.com",
    (Recipient("1-415-555-0100@fax.local", ONE), Recipient("+14155550101@fax.local", TWO)),
    "192.0.2.7",
)


@dataclass
class Mail:
    """A message whose last byte the spool's thread has yet to write."""

    path: Path
    content: bytes
    small: bytes = b""
    error: Exception | None = None
    subject: str = "Contract"
    message_id: str = "<1@example.com>"

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def finish(self) -> int | None:
        if self.error:
            raise self.error
        if self.small:
            return None
        self.path.write_bytes(self.content)
        return os.open(self.path, os.O_RDONLY)


CONTENT = b"Subject: Contract\r\n\r\n"


def mail(spool: Spool, *, small: bool = False) -> Mail:
    return Mail(spool.part(), CONTENT, small=CONTENT if small else b"")


@pytest.fixture
async def intake(store: Store, spool: Spool, clock: Clock) -> Intake:
    return Intake(spool, store, LINE, clock)


async def test_a_fax_for_each_number(
    intake: Intake, store: Store, spool: Spool, clock: Clock
) -> None:
    added = await intake.accept(ENVELOPE, mail(spool))
    assert [one.duplicate for one in added] == [False, False]
    first, second = [await store.get(one.fax) for one in added]
    assert first
    assert second
    assert (first.number, first.recipient) == (ONE, "1-415-555-0100@fax.local")
    assert (second.number, second.recipient) == (TWO, "+14155550101@fax.local")
    for fax in (first, second):
        assert (fax.direction, fax.state) == (Direction.OUTBOUND, State.ACCEPTED)
        assert (fax.line, fax.sender, fax.subject) == (LINE, "ann@example.com", "Contract")
        assert (fax.message_id, fax.created_at) == ("<1@example.com>", clock.now)
        assert spool.path(fax.id, Kind.MESSAGE).read_bytes() == b"Subject: Contract\r\n\r\n"
    assert len({path.stat().st_ino for path in spool.kept()}) == 1  # hard links
    assert list(spool.incoming.iterdir()) == []


async def test_a_small_mail_needs_no_file(intake: Intake, store: Store, spool: Spool) -> None:
    await intake.accept(ENVELOPE, mail(spool, small=True))
    assert await mails(store, spool) == [CONTENT, CONTENT]
    assert spool.kept() == list(spool.incoming.iterdir()) == []


@pytest.mark.parametrize(("numbers", "files"), [(4, 0), (5, 5)])
async def test_many_copies_of_a_small_mail_are_a_file(
    intake: Intake, store: Store, spool: Spool, numbers: int, files: int
) -> None:
    """A hundred times 64 KB in one transaction would hold everybody up, and fill the disk."""
    content = b"x" * SMALL
    everybody = tuple(Recipient("x", E164(f"+1415555010{n}")) for n in range(numbers))
    envelope = replace(ENVELOPE, recipients=everybody)
    for duplicate in (False, True):
        added = await intake.accept(envelope, Mail(spool.part(), content, small=content))
        assert {one.duplicate for one in added} == {duplicate}
        assert await mails(store, spool) == numbers * [content]
        assert len(spool.kept()) == files
        assert list(spool.incoming.iterdir()) == []


@pytest.mark.parametrize("name", ["rename", "link", "open"])
async def test_what_cannot_be_kept_leaves_nothing(
    intake: Intake, store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Its sender tries again and again: the disk must not fill up meanwhile."""
    real = getattr(os, name)

    def call(path: Path | str, *rest: int) -> object:
        if name == "open" and Path(path).name != "spool":  # its directory, to be synced
            return real(path, *rest)
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(f"gateway.spool.os.{name}", call)
        with pytest.raises(OSError, match="Too many open files"):
            await intake.accept(ENVELOPE, mail(spool))
    assert spool.kept() == []
    assert await store.latest(9) == []
    await intake.accept(ENVELOPE, mail(spool))
    assert await mails(store, spool) == 2 * [CONTENT]


async def test_two_spellings_are_one_fax(intake: Intake, store: Store, spool: Spool) -> None:
    twice = (*ENVELOPE.recipients, Recipient("4155550100@fax.local", ONE))
    added = await intake.accept(replace(ENVELOPE, recipients=twice), mail(spool))
    assert len(added) == len(spool.kept()) == len(await store.latest(9)) == 2


@pytest.mark.parametrize("small", [True, False])
async def test_the_same_mail_again(
    intake: Intake, store: Store, spool: Spool, clock: Clock, small: bool
) -> None:
    """P4: for 72 hours, number by number; then it is a new one."""
    first = await intake.accept(ENVELOPE, mail(spool, small=small))
    clock.advance(71 * HOUR)
    again = await intake.accept(ENVELOPE, mail(spool, small=small))
    assert [(one.fax, one.duplicate) for one in again] == [(one.fax, True) for one in first]
    one_more = (*ENVELOPE.recipients, Recipient("x", E164("+14155550102")))
    mixed = await intake.accept(replace(ENVELOPE, recipients=one_more), mail(spool, small=small))
    assert [one.duplicate for one in mixed] == [True, True, False]
    assert await mails(store, spool) == 3 * [CONTENT]
    clock.advance(2 * HOUR)
    later = await intake.accept(ENVELOPE, mail(spool, small=small))
    assert [one.duplicate for one in later] == [False, False]
    assert await mails(store, spool) == 5 * [CONTENT]
    assert len(spool.kept()) == (0 if small else 5)


@pytest.mark.parametrize("error", [ValueError("unwanted"), OSError(28, "No space left on device")])
async def test_a_message_that_fails_is_not_taken(
    intake: Intake, store: Store, spool: Spool, error: Exception
) -> None:
    with pytest.raises(type(error)) as raised:
        await intake.accept(ENVELOPE, replace(mail(spool), error=error))
    assert raised.value is error
    assert spool.kept() == []
    assert await store.latest(9) == []


async def test_a_failed_fsync_makes_no_fax(
    intake: Intake, store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(FsyncError):
        await intake.accept(ENVELOPE, mail(spool))
    assert spool.broken.is_set()
    assert await store.latest(9) == []


@dataclass
class Gated(Mail):
    """Holds up the spool's thread: what is handed in meanwhile is one batch."""

    reached: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event = field(default_factory=threading.Event)

    def finish(self) -> int | None:
        self.reached.set()
        assert self.gate.wait(10)
        return super().finish()


async def test_a_failed_fsync_of_the_directory_is_that_of_its_whole_batch(
    intake: Intake, store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small mail needs no file, and its row waits for nobody's but that of its batch."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    before = Gated(spool.part(), b"before", small=b"before")
    batch = [mail(spool, small=True), mail(spool), Mail(spool.part(), b"other", small=b"other")]
    first = asyncio.create_task(intake.accept(ENVELOPE, before))
    assert await asyncio.to_thread(before.reached.wait, 10)
    others = [asyncio.create_task(intake.accept(ENVELOPE, one)) for one in batch]
    await asyncio.sleep(0)  # they are handed in
    before.gate.set()
    assert len(await first) == 2
    outcomes = await asyncio.gather(*others, return_exceptions=True)
    assert [type(one) for one in outcomes] == [FsyncError] * 3
    assert await mails(store, spool) == 2 * [b"before"]
    assert spool.kept() == []
    assert spool.broken.is_set()


async def test_files_of_a_duplicate_that_cannot_be_removed(
    intake: Intake, store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mail is in the queue: its sender must not hear that it failed."""
    envelope = replace(ENVELOPE, recipients=ENVELOPE.recipients[:1])
    (first,) = await intake.accept(envelope, mail(spool))

    def unlink(path: Path, *, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system", path)

    monkeypatch.setattr(Path, "unlink", unlink)
    assert await intake.accept(envelope, mail(spool)) == [replace(first, duplicate=True)]
    monkeypatch.undo()
    assert len(await store.latest(9)) == 1


@pytest.mark.parametrize(
    "other",
    [
        natural_key(replace(ENVELOPE, peer="192.0.2.8"), ONE, "d"),
        natural_key(replace(ENVELOPE, login="ann"), ONE, "d"),
        natural_key(replace(ENVELOPE, sender="Ann@example.com"), ONE, "d"),
        natural_key(ENVELOPE, TWO, "d"),
        natural_key(ENVELOPE, ONE, "e"),
        natural_key(replace(ENVELOPE, peer="192.0.2.7ann@", sender="example.com"), ONE, "d"),
    ],
)
async def test_each_fact_counts(other: str) -> None:
    key = natural_key(ENVELOPE, ONE, "d")
    assert key.startswith("smtp:")
    assert other != key


async def test_other_recipients_of_the_mail_do_not_count() -> None:
    alone = replace(ENVELOPE, recipients=ENVELOPE.recipients[1:])
    assert natural_key(alone, TWO, "d") == natural_key(ENVELOPE, TWO, "d")
    with_login = replace(ENVELOPE, login="ann")
    roaming = replace(with_login, peer="198.51.100.1")
    assert natural_key(with_login, ONE, "d") == natural_key(roaming, ONE, "d")


async def test_a_relay_may_try_again_from_another_address() -> None:
    known = replace(ENVELOPE, identity="address:ann@example.com")
    other = replace(known, peer="2001:db8::7")
    assert natural_key(known, ONE, "d") == natural_key(other, ONE, "d")


@pytest.mark.parametrize("small", [True, False])
async def test_a_locked_queue_leaves_nothing(
    intake: Intake, store: Store, spool: Spool, tmp_path: Path, small: bool
) -> None:
    """Its sender tries again and again: the disk must not fill up meanwhile."""
    store._db._writer.execute("PRAGMA busy_timeout = 0")
    with contextlib.closing(sqlite3.connect(tmp_path / "gateway.db")) as shell:
        shell.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            await intake.accept(ENVELOPE, mail(spool, small=small))
    assert spool.kept() == []
    added = await intake.accept(ENVELOPE, mail(spool, small=small))
    assert [one.duplicate for one in added] == [False, False]
    assert await mails(store, spool) == 2 * [CONTENT]


@pytest.mark.parametrize("small", [True, False])
async def test_a_commit_that_fails_leaves_the_files(
    intake: Intake, store: Store, spool: Spool, tmp_path: Path, small: bool
) -> None:
    """After a crash it may be found done: the rows must not miss their files then."""
    written = (tmp_path / "gateway.db-wal").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (written, limits[1]))
    try:
        with pytest.raises(StoreError) as caught:
            await intake.accept(ENVELOPE, mail(spool, small=small))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.in_doubt
    assert len(spool.kept()) == (0 if small else 2)
    assert await store.latest(9) == []
    await intake.accept(ENVELOPE, mail(spool, small=small))
    assert await mails(store, spool) == 2 * [CONTENT]
