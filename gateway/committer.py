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
from typing import Generic, TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")

Commit = Callable[[list[Work]], Sequence[Result | BaseException]]
"""Commits a batch; one outcome for each work, in order. May raise: then all of it failed."""


class Committer(Generic[Work, Result]):
    """Awaiting it hands in one work and returns when that is durable, or raises its error.

    A caller that is cancelled leaves its work in the queue: it is committed all the same.
    """

    def __init__(self, name: str, commit: Commit[Work, Result], *, most: int = 256) -> None:
        self._commit = commit
        self._most = most
        self.loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[tuple[Work, asyncio.Future[Result]] | None] = (
            queue.SimpleQueue()
        )
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def __call__(self, work: Work) -> Result:
        if self._closed:  # nobody would ever answer
            raise RuntimeError(f"the {self._thread.name} is closed")
        done: asyncio.Future[Result] = self.loop.create_future()
        self._queue.put((work, done))
        return await done

    async def close(self) -> None:
        """Finish what was handed in, then end the thread."""
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while batch := self._batch():
            try:
                outcomes = self._commit([work for work, _ in batch])
            except BaseException as error:  # noqa: BLE001 - the waiters raise it
                outcomes = [error] * len(batch)
            waiters = [waiter for _, waiter in batch]
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
                self.loop.call_soon_threadsafe(_wake, waiters, outcomes)

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


def _wake(
    waiters: Sequence[asyncio.Future[Result]], outcomes: Sequence[Result | BaseException]
) -> None:
    for waiter, outcome in zip(waiters, outcomes, strict=True):
        if waiter.cancelled():
            continue
        if isinstance(outcome, BaseException):
            waiter.set_exception(outcome)
        else:
            waiter.set_result(outcome)
