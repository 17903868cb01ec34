"""HTTP to the provider: the only module that knows httpx.

Budget, deadlines, caps and the translation of foreign errors into what to do live here, once. No
redirects (the token would follow), no decompression, no proxies from the environment, and a
fresh connection for each upload: a reused one may be half closed, and then nobody knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
from aiolimiter import AsyncLimiter

from gateway.errors import Cause, PermanentError, TransientError, UncertainError
from gateway.provider.audian import read
from gateway.provider.audian.upload import BLOCK, REFUSED, Form, Upload, hint, judge

MOST_JSON = 32 << 20  # bytes of a reply that we are ready to hold
MOST_DOCUMENT = 100 << 20
SLOWEST = 32 << 10  # bytes/s: a transfer may take this much longer with its size
_UPLOADING = httpx.Timeout(90.0, connect=10.0)
DATES = 5  # answers whose Date tells the provider's clock
BIG = 256 << 10  # bytes of JSON from which on a thread parses them
MOST_WORDS = 64 << 10  # bytes of a refusal that are read for its reason
_WORDS_WAIT = 5.0  # s for them; the code alone says what to do
_LONGEST_PAUSE = 900.0  # s that a Retry-After may ask of us


@dataclass(frozen=True, slots=True)
class Access:
    """Where the provider is and who we are there."""

    url: str
    account: str
    token: str
    scheme: Literal["token", "bearer"] = "token"
    requests_per_second: float = 5.0

    def __repr__(self) -> str:
        return f"Access({self.url}, account {self.account})"


class Http:
    """One account's connection. Every method raises only the errors of `gateway.errors`."""

    def __init__(
        self,
        access: Access,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._access = access
        self._budget = AsyncLimiter(max(1.0, access.requests_per_second * 2), 2.0)
        self._pause_until = 0.0  # monotonic; a 429 stops every call of the account
        self._clock, self._steady = clock, steady
        self._offsets: deque[float] = deque(maxlen=DATES)  # from `steady`: no jump moves them
        common: dict[str, Any] = {
            "base_url": access.url,
            "headers": self._headers(),
            "follow_redirects": False,
            "trust_env": False,
            "timeout": httpx.Timeout(30.0, connect=10.0),
        }
        self._asking = httpx.AsyncClient(**common)
        self._sending = httpx.AsyncClient(
            **common, limits=httpx.Limits(max_keepalive_connections=0)
        )

    @property
    def clock_offset(self) -> float:
        """Seconds the provider's clock is ahead of ours: one wrong Date must not move its faxes."""
        if not self._offsets:
            return 0.0
        return statistics.median(self._offsets) + self._steady() - self._clock()

    async def close(self) -> None:
        await self._asking.aclose()
        await self._sending.aclose()

    async def get(self, path: str, **query: str | int) -> Any:  # noqa: ANN401
        """The JSON of a GET; None = 404."""
        return await self._ask("GET", path, params=query)

    async def change(self, method: str, path: str, body: Any = None) -> bool:  # noqa: ANN401
        """A call that may be repeated. False = the thing is gone or already so (404, 409, 410)."""
        answer = await self._ask(method, path, json=body, done=frozenset({404, 409, 410}))
        return answer is not None

    async def download(self, path: str, to: Path) -> int | None:
        """Write a document to `to`, durable is the caller's part; None = not there (yet)."""
        await self._turn()
        with _translated():
            async with (
                asyncio.timeout(60 + MOST_DOCUMENT / SLOWEST) as deadline,
                self._asking.stream("GET", path, headers={"Accept": "*/*"}) as reply,
            ):
                if reply.status_code in (404, 406):
                    return None
                self._judge(reply)
                size = int(reply.headers.get("content-length") or 0)
                _shorten(deadline, 60 + size / SLOWEST if size else None)
                return await _store(reply, to, size)

    async def upload(self, path: str, upload: Upload, request_id: str) -> Any:  # noqa: ANN401
        """PUT a form. Raises by what its answer proves: see `upload.judge`."""
        await self._budget.acquire()
        if (wait := self._pause()) > 0:  # its attempt is written down: it must not sleep here
            raise TransientError("the provider asked us to wait", after=wait)
        try:
            form = Form(upload)
        except OSError as error:
            raise TransientError(f"the document cannot be read: {error}") from error
        headers = form.headers | {"X-Request-ID": request_id}
        try:
            async with (
                asyncio.timeout(90 + form.size / SLOWEST),
                self._sending.stream(
                    "PUT", path, content=form.blocks(), headers=headers, timeout=_UPLOADING
                ) as reply,
            ):
                self._learn(reply)
                content = await (_capped(reply) if reply.is_success else _words(reply))
                return judge(reply.status_code, content, _asked(reply))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise TransientError(f"the provider cannot be reached: {error!r}") from error
        except (httpx.HTTPError, OSError) as error:  # TimeoutError is one; a disk error another
            raise UncertainError(f"the upload got no answer: {error!r}") from error

    async def _ask(
        self,
        method: str,
        path: str,
        done: frozenset[int] = frozenset({404}),
        **more: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        await self._turn()
        with _translated():
            async with (
                asyncio.timeout(60),
                self._asking.stream(method, path, **more) as reply,
            ):
                if reply.status_code in done:
                    return None
                self._judge(reply)
                content = await _capped(reply)
        if len(content) > BIG:
            return await asyncio.to_thread(read.parsed, content)
        return read.parsed(content) if content.strip() else {}

    async def _turn(self) -> None:
        """Wait for our share of the request budget, and out of a pause that was asked of us."""
        await self._budget.acquire()
        await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        """Seconds left of a pause that a 429 asked of the whole account."""
        return max(0.0, self._pause_until - time.monotonic())

    def _judge(self, reply: httpx.Response) -> None:
        """Raise what any answer but 2xx means to a call that may be repeated."""
        self._learn(reply)
        code = reply.status_code
        if reply.is_success:
            return
        if code in REFUSED:
            raise PermanentError(f"the provider refused the request ({code})", Cause.REJECTED)
        raise TransientError(f"the provider answered {code}{hint(code)}", after=_asked(reply))

    def _learn(self, reply: httpx.Response) -> None:
        if (at := read.http_date(reply.headers.get("date", ""))) is not None:
            self._offsets.append(at - self._steady())
        if reply.status_code == 429:
            self._pause_until = max(self._pause_until, time.monotonic() + _asked(reply))

    def _headers(self) -> dict[str, str]:
        token = self._access.token
        auth = {"X-Auth-Token": token}
        if self._access.scheme == "bearer":
            auth = {"Authorization": f"Bearer {token}"}
        host = urlsplit(self._access.url).netloc
        return auth | {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "fax-gateway",
            "Host": host,
        }


def _asked(reply: httpx.Response) -> float:
    """Seconds to wait after a 429: as asked within reason, else 5."""
    if reply.status_code != 429:
        return 0.0
    asked = read.retry_after(reply.headers.get("retry-after", ""), time.time())
    return 5.0 if asked is None else min(max(asked, 1.0), _LONGEST_PAUSE)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Foreign errors become ours at the border: a question that failed may be asked again."""
    try:
        yield
    except (httpx.HTTPError, TimeoutError) as error:
        raise TransientError(f"the provider did not answer: {error!r}") from error


async def _words(reply: httpx.Response) -> bytes:
    """What a refusal says, as far as it comes: its code is proof enough without."""
    content = bytearray()
    with contextlib.suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(_WORDS_WAIT):
            async for block in reply.aiter_raw():
                content += block
                if len(content) > MOST_WORDS:
                    break
    return bytes(content[:MOST_WORDS])


async def _capped(reply: httpx.Response) -> bytes:
    content = bytearray()
    async for block in reply.aiter_raw():
        content += block
        if len(content) > MOST_JSON:
            raise UncertainError("the provider's answer is too long")
    return bytes(content)


async def _store(reply: httpx.Response, to: Path, promised: int) -> int:
    """The body into a new file; its length must be what was promised."""
    size = 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(await asyncio.to_thread(os.open, to, flags, 0o600), "wb") as file:
        async for block in reply.aiter_raw(BLOCK):
            size += len(block)
            if size > MOST_DOCUMENT:
                raise TransientError("the document is larger than 100 MiB")
            await asyncio.to_thread(file.write, block)
    if promised and size != promised:
        raise TransientError(f"the download broke off after {size} of {promised} bytes")
    return size


def _shorten(deadline: asyncio.Timeout, seconds: float | None) -> None:
    if seconds is not None:
        deadline.reschedule(asyncio.get_running_loop().time() + seconds)
