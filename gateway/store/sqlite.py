"""SQLite: one writer connection with group commit, one reader; WAL and synchronous=FULL.

One thread at a time commits: the store's own, or the spool's for mails that have just become files.

FULL because an SMTP 250 stands on each commit (NORMAL loses the last ones in a power cut). One
writer connection, because before 3.51.3 two of them could damage the WAL.

A failed fsync is never tried again: nothing more is committed, and the process ends without closing
the database. The next one copies the whole of the log anew; this one might take what a failed
fsync has lost for written.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from gateway.committer import Committer, Next

T = TypeVar("T")

Row = dict[str, Any]
Statement = tuple[str, Mapping[str, Any]]
Unit = Generator[Statement, list[Row], T]
"""One transaction, free of any engine: yields statements, is sent their rows, returns a value."""

SAFE_VERSION = (3, 51, 3)  # WAL-reset bug fixed (sqlite.org/wal.html)
_BUSY = 5.0  # s; our own readers never block the writer, a person's sqlite3 shell may
LOG = 4 << 20  # bytes that the log (WAL) may have until it is copied into the database
_FSYNC = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC})


class StoreError(Exception):
    """The database did not take it: disk full, busy, damaged. Nothing was changed.

    In doubt, the commit itself failed: after a crash it may be found done all the same.
    """

    def __init__(self, why: str, *, in_doubt: bool = False) -> None:
        super().__init__(why)
        self.in_doubt = in_doubt


class SchemaError(Exception):
    """The database is of a newer gateway, or a migration is damaged."""


class Sqlite:
    """A database file. Units of many callers share one commit; each has its own savepoint."""

    def __init__(self, path: Path) -> None:
        self.broken = asyncio.Event()  # the process must end: a failed fsync, or no log
        self._fails = False  # an fsync did, for who commits
        self._path = path
        self._log = path.with_name(f"{path.name}-wal")

    async def open(self) -> None:
        await asyncio.to_thread(self._open_writer)
        self._reader = await asyncio.to_thread(_connect, self._path)
        self._reader.execute("PRAGMA query_only = ON")
        self._readers = ThreadPoolExecutor(1, "store-read")
        self._committer: Committer[Unit[Any], Any] = Committer("store", self._commit)

    def _open_writer(self) -> None:
        self._writer = _connect(self._path)
        migrate(self._writer)
        self._inode = self._log.stat().st_ino

    async def close(self) -> None:
        if self._fails:  # to close is to checkpoint: the committer's thread holds it to the end
            return
        await self._committer.close()
        self._readers.shutdown()
        self._reader.close()
        self._writer.close()

    async def write(self, unit: Unit[T]) -> T:
        """Run a unit; when this returns its changes are durable. Raises StoreError."""
        result: T = await self._committer(unit)
        return result

    def writing(self, unit: Unit[Any]) -> Next:
        """The same for who is in a committer's thread."""
        return Next(self._committer, unit)

    async def read(self, unit: Unit[T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._readers, run, self._reader, unit)
        except sqlite3.DatabaseError as error:
            if _is_ill(error):
                raise StoreError(str(error)) from error
            raise

    def _commit(self, batch: list[Unit[Any]]) -> list[Any]:
        if self._fails:
            raise StoreError("the disk failed an fsync before")
        commits = False
        try:
            self._checkpoint()
            self._writer.execute("BEGIN IMMEDIATE")
            outcomes = [self._alone(unit) for unit in batch]
            commits = True
            self._writer.execute("COMMIT")
        except BaseException as error:
            with suppress(sqlite3.Error):  # what came first is told
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
            if _is_ill(error):
                raise self._trouble(error, in_doubt=commits) from error
            raise
        return outcomes

    def _checkpoint(self) -> None:
        """A long log is copied into the database.

        SQLite's own checkpoints keep their errors to themselves; and where a reader let one do a
        part only, its pages are not synced yet, and after a failed fsync not copied again.
        """
        size = self._log_size()
        if 0 <= size <= LOG:  # see journal_size_limit
            return
        try:
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.OperationalError as error:
            if _is_lost(error):
                raise
            # on a full disk the log may still have room
        if size < 0:  # what we commit would be in no file; the closing keeps what we have committed
            self._end()
            raise StoreError(f"somebody has removed {self._log}")

    def _log_size(self) -> int:
        """-1 = it is no file any more: somebody has removed it, or put another in its place."""
        try:
            log = self._log.stat()
        except FileNotFoundError:
            return -1
        return log.st_size if log.st_ino == self._inode else -1

    def _end(self) -> None:
        self._committer.loop.call_soon_threadsafe(self.broken.set)

    def _trouble(self, error: BaseException, *, in_doubt: bool = False) -> StoreError:
        if _is_lost(error):
            self._fails = True
            self._end()
        return StoreError(str(error), in_doubt=in_doubt)

    def _alone(self, unit: Unit[Any]) -> Any:  # noqa: ANN401
        """One unit of a batch; its error undoes itself only."""
        self._writer.execute("SAVEPOINT unit")
        try:
            outcome = run(self._writer, unit)
        except Exception as error:  # it is the caller's outcome
            if not self._writer.in_transaction or _is_lost(error):
                raise  # SQLite gave up on the whole of it (disk full), or we do
            self._writer.execute("ROLLBACK TO unit")
            outcome = self._trouble(error) if _is_ill(error) else error
        self._writer.execute("RELEASE unit")
        return outcome


def _is_ill(error: BaseException) -> bool:
    """The database cannot: it is busy, full, damaged. Not so a mistake of who asks it."""
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError


def _is_lost(error: BaseException) -> bool:
    """The disk failed an fsync."""
    return getattr(error, "sqlite_errorcode", 0) in _FSYNC


def run(connection: sqlite3.Connection, unit: Unit[T]) -> T:
    """Drive a unit over a connection, statement by statement."""
    try:
        statement = next(unit)
        while True:
            try:
                rows = connection.execute(*statement).fetchall()
            except sqlite3.Error as error:
                statement = unit.throw(error)
            else:
                statement = unit.send(rows)
    except StopIteration as done:
        result: T = done.value
        return result


def open_read_only(path: Path) -> sqlite3.Connection:
    """For the commands that only look, beside a running daemon."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY)
    connection.row_factory = _row
    return connection


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date: every missing numbered file, each in one transaction."""
    version: int = connection.execute("PRAGMA user_version").fetchone()["user_version"]
    files = sorted(
        (int(file.name[:4]), file)
        for file in resources.files("gateway.store").joinpath("migrations").iterdir()
        if file.name.endswith(".sql")
    )
    newest = files[-1][0]
    if version > newest:
        raise SchemaError(
            f"the database has schema {version}, this gateway knows {newest}: "
            "start the newer gateway again, or restore a backup"
        )
    for number, file in files[version:]:
        script = file.read_text("utf-8")
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;"
            )
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise SchemaError(f"migration {file.name} failed: {error}") from error


def _connect(path: Path) -> sqlite3.Connection:
    path.touch(0o600)  # before SQLite makes it, and its -wal like it, for everybody to read
    connection = sqlite3.connect(
        path, timeout=_BUSY, isolation_level=None, check_same_thread=False, cached_statements=512
    )
    connection.row_factory = _row
    path.chmod(0o600)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")  # not every SQLite is built so
    connection.execute("PRAGMA wal_autocheckpoint = 0")  # see Sqlite._checkpoint
    connection.execute(f"PRAGMA journal_size_limit = {LOG}")
    return connection


def _row(cursor: sqlite3.Cursor, values: tuple[Any, ...]) -> Row:
    return {column[0]: value for column, value in zip(cursor.description, values, strict=True)}
