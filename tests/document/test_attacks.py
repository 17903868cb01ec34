"""The workshop under attack: killed, hung, flooded, given up, lied to. Nothing leaks or hangs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gateway.document import PrepareTask, Workshop
from gateway.document.limits import MEGABYTE, Limits
from gateway.document.tasks import answers_of, inspected_of, prepared_of, task_line
from gateway.errors import Cause, PermanentError, TransientError
from tests.document import files, hostile

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def workshop(tmp_path: Path) -> AsyncIterator[Workshop]:
    (tmp_path / "scratch").mkdir()
    async with Workshop(scratch=tmp_path / "scratch") as workshop:
        yield workshop


@pytest.fixture(scope="module")
def scans() -> bytes:
    """A picture that takes a minute to decode."""
    return hostile.jpeg_scans()


def task(tmp_path: Path, content: bytes = b"", name: str = "a.pdf") -> PrepareTask:
    message = tmp_path / f"{name}.eml"
    message.write_bytes(
        files.mail(files.part(content or files.pdf(2), "application/octet-stream", name))
    )
    return PrepareTask(message, tmp_path / f"{name}.out", tmp_path / f"{name}.png")


def children(process: int) -> list[int]:
    try:
        listed = Path(f"/proc/{process}/task/{process}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(one) for one in listed.split()]


async def child_of(workshop: Workshop) -> int:
    """The one at work, once it is confined."""
    assert workshop._server
    with anyio.fail_after(20):
        while True:
            for child in children(workshop._server.process.pid):
                if "Seccomp:\t2" in Path(f"/proc/{child}/status").read_text():
                    return child
            await asyncio.sleep(0.01)


async def gone(process: int) -> None:
    with anyio.fail_after(20):
        while Path(f"/proc/{process}").exists():  # noqa: ASYNC110 - the kernel sends no event
            await asyncio.sleep(0.01)


def leftovers(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "scratch").rglob("*") if not path.match("workshop-*")]


def descriptors(process: int) -> int:
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


async def test_the_child_as_the_kernel_sees_it(
    workshop: Workshop, tmp_path: Path, scans: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Confined, in its own directory, without our environment and without our files."""
    monkeypatch.setenv("AUDIAN_AUTH_TOKEN", "secret-token")
    work = asyncio.create_task(workshop.prepare(task(tmp_path, scans, "scans.jpg")))
    place = Path(f"/proc/{await child_of(workshop)}")
    try:
        assert b"secret" not in (place / "environ").read_bytes()
        known = ("pipe:", "/dev/null", str(tmp_path / "scans.jpg.eml"), str(tmp_path / "scratch"))
        for descriptor in (place / "fd").iterdir():
            assert str(descriptor.readlink()).startswith(known)
        assert (place / "cwd").resolve().parent.parent == tmp_path / "scratch"
        assert "Max core file size        0 " in (place / "limits").read_text()
    finally:
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work


@pytest.mark.parametrize("last_try", [False, True])
async def test_the_child_is_killed(
    workshop: Workshop, tmp_path: Path, scans: bytes, last_try: bool
) -> None:
    """By the kernel for want of memory, say: once more, then a sentence (F-K3)."""
    work = asyncio.create_task(
        workshop.prepare(task(tmp_path, scans, "scans.jpg"), last_try=last_try)
    )
    os.kill(await child_of(workshop), signal.SIGKILL)
    with pytest.raises(PermanentError if last_try else TransientError) as raised:
        await work
    assert getattr(raised.value, "cause", Cause.CONVERSION) is Cause.CONVERSION
    assert (await workshop.prepare(task(tmp_path))).pages == 2
    assert leftovers(tmp_path) == []


async def test_the_fork_server_is_killed_at_work(
    workshop: Workshop, tmp_path: Path, scans: bytes
) -> None:
    """Its children die with it, its directory goes, and the next task finds a new one."""
    work = asyncio.create_task(workshop.prepare(task(tmp_path, scans, "scans.jpg")))
    child = await child_of(workshop)
    assert workshop._server
    os.kill(workshop._server.process.pid, signal.SIGKILL)
    with pytest.raises(TransientError, match="ended"):
        await work
    await gone(child)
    assert (await workshop.prepare(task(tmp_path))).pages == 2
    assert len(list((tmp_path / "scratch").iterdir())) == 1
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("limits", "content", "words"),
    [
        (Limits(seconds=0.7), None, "too long"),
        (Limits(cpu=1), None, "too long"),
        (
            Limits(memory=48 * MEGABYTE),
            files.encoded(Image.new("RGB", (6000, 6000), "red"), "PNG"), "memory",
        ),
    ],
    ids=["wall clock", "CPU", "memory"],
)  # fmt: skip
async def test_limits(
    tmp_path: Path, scans: bytes, limits: Limits, content: bytes | None, words: str
) -> None:
    """Too much work is refused at once, no second try would help (A27); a hang may be ours."""
    (tmp_path / "scratch").mkdir()
    big = task(tmp_path, content or scans, "big")
    async with Workshop(limits=limits, scratch=tmp_path / "scratch") as workshop:
        hangs = limits.seconds < 1
        if hangs:
            with pytest.raises(TransientError, match="late"):
                await workshop.prepare(big)
        with pytest.raises(PermanentError, match=words) as refused:
            await workshop.prepare(big, last_try=hangs)
        assert refused.value.cause is Cause.LIMIT
        assert str(refused.value).startswith("big ")
        assert leftovers(tmp_path) == []
        assert (await workshop.prepare(task(tmp_path))).pages == 2


async def test_a_flood_waits_its_turn(workshop: Workshop, tmp_path: Path) -> None:
    assert workshop._server
    server, most = workshop._server.process.pid, 0
    before = descriptors(os.getpid()), descriptors(server)
    tasks = [task(tmp_path, name=f"{number}.pdf") for number in range(50)]
    flood = asyncio.gather(*(workshop.prepare(one) for one in tasks))
    while not flood.done():
        most = max(most, len(children(server)))
        await asyncio.sleep(0.005)
    assert [prepared.pages for prepared in await flood] == [2] * 50
    assert 1 <= most <= 2
    assert (descriptors(os.getpid()), descriptors(server)) == before
    assert leftovers(tmp_path) == []


async def test_given_up_again_and_again(workshop: Workshop, tmp_path: Path, scans: bytes) -> None:
    """Children end with their task, whether it waited, began or ran; nothing is kept of them."""
    assert workshop._server
    server = workshop._server.process.pid
    before = descriptors(os.getpid()), descriptors(server)
    for _ in range(5):
        work = [
            asyncio.create_task(workshop.prepare(task(tmp_path, scans, "scans.jpg")))
            for _ in range(4)
        ]
        child = await child_of(workshop)
        for one in work:
            one.cancel()
        outcomes = await asyncio.gather(*work, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in outcomes)
        await gone(child)
    assert (await workshop.prepare(task(tmp_path))).pages == 2
    assert children(server) == []
    assert (descriptors(os.getpid()), descriptors(server)) == before
    assert leftovers(tmp_path) == []


async def test_stopped_at_work(workshop: Workshop, tmp_path: Path, scans: bytes) -> None:
    work = asyncio.create_task(workshop.prepare(task(tmp_path, scans, "scans.jpg")))
    child = await child_of(workshop)
    assert workshop._server
    server = workshop._server.process.pid
    await workshop.stop()
    with pytest.raises(TransientError):
        await work
    await gone(child)
    await gone(server)
    assert list((tmp_path / "scratch").iterdir()) == []


# a child that somebody has taken over

TAKEN = r"""
import json, os, sys, time
from pathlib import Path
from gateway.document import child, forkserver

def live(line, work, pipe, limits):
    what, document, other = line["number"], work / child.DOCUMENT, Path(line["message"])
    if what == "flood":
        while True:
            os.write(pipe, b"x" * 65536)
    if what == "symlink":
        document.symlink_to(other)
    if what == "hardlink":
        os.link(other, document)
    if what == "directory":
        (document / "a").mkdir(parents=True)
    if what == "brood":
        os.setsid()
        if os.fork() == 0:
            time.sleep(60)
    if what == "silence":
        os.close(pipe)
        time.sleep(60)
    if what == "good":
        document.write_bytes(b"pages")
    os.write(pipe, b'{"id": 99, "end": "exit", "code": 0}\n')
    os._exit(0)

child.live = live
forkserver.main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("what", "end", "made"),
    [
        ("good", "exit", True), ("flood", "signal", False), ("symlink", "exit", False),
        ("hardlink", "exit", False), ("directory", "exit", False), ("brood", "exit", False),
        ("silence", "late", False),
    ],
)  # fmt: skip
def test_a_child_taken_over(tmp_path: Path, what: str, end: str, made: bool) -> None:
    """It may say what it likes, so much of it; it hands on plain files of its own or nothing."""
    limits = Limits(seconds=1.0 if what == "silence" else 20.0, output=100_000)
    (tmp_path / "scratch").mkdir()
    one = replace(task(tmp_path), number=what)
    arguments = json.dumps(asdict(limits) | {"scratch": str(tmp_path / "scratch")})
    server = subprocess.Popen(
        [sys.executable, "-c", TAKEN, arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    with server:
        assert server.stdin
        assert server.stdout
        json.loads(server.stdout.readline())
        server.stdin.write(json.dumps({"id": 7, "task": task_line(one)}).encode() + b"\n")
        server.stdin.flush()
        said = json.loads(server.stdout.readline())
        left = children(server.pid)
        server.stdin.close()
    assert (said["id"], said["end"]) == (7, end)
    assert len(said["output"]) <= limits.output
    assert one.document.exists() is made
    assert left == []
    assert list((tmp_path / "scratch").iterdir()) == []


GOOD = {"pages": 1, "digest": "0" * 64, "size": 9}


@pytest.mark.parametrize(
    "lie",
    [
        {"pages": 0}, {"pages": -1}, {"pages": True}, {"pages": "1"}, {"pages": 1.0},
        {"pages": 2**40}, {"pages": None}, {"size": []}, {"digest": "0" * 63},
        {"digest": "../../etc/passwd"}, {"digest": "0" * 64 + "\n"}, {"digest": 5},
        {"subject": "a\nBcc: x@example.com"}, {"subject": "x" * 1001}, {"subject": {}},
        {"message_id": "\x1b[2J"}, {"from_address": 7}, {"skipped": "a"}, {"skipped": ["\0"]},
        {"skipped": ["a"] * 401}, {"skipped": [["a"]]},
    ],
)  # fmt: skip
def test_lies_are_seen(lie: dict[str, Any]) -> None:
    assert prepared_of(GOOD).pages == 1
    with pytest.raises(ValueError):  # noqa: PT011 - any of its words will do
        prepared_of(GOOD | lie)
    with pytest.raises(ValueError):  # noqa: PT011
        inspected_of(GOOD | {"kind": "/etc/passwd"})


@given(st.text() | st.binary().map(lambda some: some.decode("latin-1")))
def test_any_output_is_read(output: str) -> None:
    deep = '{"a":' * 20_000
    assert answers_of(f'{output}\n{deep}\n[1]\n{{"done": {{}}}}\n')[-1] == {"done": {}}
