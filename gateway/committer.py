"""Group commit: one thread takes all work that waits, commits it at once, wakes all waiters.

A disk makes ten things durable in nearly the time of one. Under load every batch fills by
itself; alone, a caller waits for nobody. The spool and the SQLite store both stand on this.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")

Commit = Callable[[list[Work]], Sequence[Any]]
"""Commits a batch; for each work, in order, its result, its error, or the `Next` that goes on with
it. May raise: then all of it failed."""


@dataclass(frozen=True, slots=True)
class Next:
    """The rest is another committer's: it commits all of a batch at once, in the same thread.

    One thread after the other would hand each work over twice, and commit smaller batches.
    """

    committer: Committer[Any, Any]
    work: object


class Committer(Generic[Work, Result]):
    """Awaiting it hands in one work and returns when that is durable, or raises its error.

    A caller that is cancelled leaves its work in the queue: it is committed all the same.
    """

    def __init__(self, name: str, commit: Commit[Work], *, most: int = 256) -> None:
        self._commit = commit
        self._most = most
        self.loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[tuple[Work, asyncio.Future[Result]] | None] = (
            queue.SimpleQueue()
        )
        self._closed = False
        self._ended = False
        self._lock = threading.Lock()  # who commits just now: our thread, or one before us
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def __call__(self, work: Work) -> Result:
        if self._closed:  # nobody would ever answer
            raise self._is_closed()
        done: asyncio.Future[Result] = self.loop.create_future()
        self._queue.put((work, done))
        return await done

    async def close(self) -> None:
        """Finish what was handed in, then end the thread. What comes in by `now` is refused."""
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        self._thread.join()
        with self._lock:  # what is committed into may be closed when we return
            self._ended = True

    def _is_closed(self) -> RuntimeError:
        return RuntimeError(f"the {self._thread.name} is closed")

    def _run(self) -> None:
        while batch := self._batch():
            works, waiters = [work for work, _ in batch], [waiter for _, waiter in batch]
            self._tell(list(zip(waiters, _finished(self.now(works)), strict=True)))

    def now(self, works: list[Work]) -> Sequence[Any]:
        """Commit in the thread of the caller, which may be another committer's."""
        with self._lock:
            if self._ended:
                return [self._is_closed()] * len(works)
            try:
                return self._commit(works)
            except BaseException as error:  # noqa: BLE001 - the waiters raise it
                return [error] * len(works)

    def _tell(self, done: Sequence[tuple[asyncio.Future[Result], object]]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
            self.loop.call_soon_threadsafe(_wake, done)

    def _batch(self) -> list[tuple[Work, asyncio.Future[Result]]]:
        """Whatever waits now, at least one; empty at the end."""
        first = self._queue.get()
        batch = []
        while first is not None:
            batch.append(first)
            if len(batch) == self._most:
                break
            try:
                first = self._queue.get_nowait()
            except queue.Empty:
                break
        else:
            if batch:
                self._queue.put(None)  # the end was asked for behind this batch
        return batch


def _finished(outcomes: Sequence[Any]) -> list[Any]:
    """With the rest done for those that have one."""
    finished = list(outcomes)
    rests: dict[Committer[Any, Any], list[int]] = {}
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, Next):
            rests.setdefault(outcome.committer, []).append(index)
    for committer, indexes in rests.items():
        done = committer.now([outcomes[index].work for index in indexes])
        for index, outcome in zip(indexes, done, strict=True):
            finished[index] = outcome
    return finished


def _wake(done: Sequence[tuple[asyncio.Future[Any], object]]) -> None:
    for waiter, outcome in done:
        if waiter.cancelled():
            continue
        if isinstance(outcome, BaseException):
            waiter.set_exception(outcome)
        else:
            waiter.set_result(outcome)
