"""A scripted IMAP server: a real socket with TLS, one small mailbox, and every fault on demand."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

FAULTS = ("hang", "drop", "bye", "no", "bad", "garbage", "late drop", "wrong tag")
ALL = "IMAP4rev1 IDLE MOVE UIDPLUS"
_WORDS = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')


@dataclass
class Server:
    """Its mailbox and its manners. `heard` has every command, `faults` what goes wrong next."""

    context: ssl.SSLContext
    mails: dict[int, bytes] = field(default_factory=dict)
    flags: dict[int, set[str]] = field(default_factory=dict)
    folders: dict[str, list[bytes]] = field(default_factory=dict)
    validity: int = 1
    next: int = 1
    capabilities: str = ALL
    greeting: bytes = b"* OK ready\r\n"
    keywords: bool = True
    password: str = ""  # "" = any
    arrived: str = "25-Nov-2026 10:00:00 +0000"  # every mail
    select: str = "[READ-WRITE] done"
    faults: list[tuple[str, str, int]] = field(default_factory=list)  # command, fault, how often
    heard: list[str] = field(default_factory=list)
    connections: int = 0
    before: Callable[[str], None] | None = None  # called with each command
    bodies: dict[int, bytes] = field(default_factory=dict)  # raw answers to a fetch of the whole
    port: int = 0
    nobody: asyncio.Event = field(default_factory=asyncio.Event)  # is connected
    _sessions: set[Session] = field(default_factory=set)

    def put(self, *mails: bytes) -> None:
        for mail in mails:
            self.mails[self.next] = mail
            self.flags[self.next] = set()
            self.next += 1
        for session in self._sessions:
            if session.waits:
                session.say(f"* {len(self.mails)} EXISTS")

    def count(self) -> dict[str, int]:
        inbox = {"INBOX": len(self.mails)} if self.mails else {}
        return inbox | {name: len(mails) for name, mails in self.folders.items() if mails}

    def has(self, **folders: int) -> bool:
        return self.count() == folders

    def times(self, command: str) -> int:
        return Counter(re.match(command, heard) is not None for heard in self.heard)[True]

    def hang_up(self) -> None:
        """BYE to everybody, as a server that restarts."""
        for session in list(self._sessions):
            session.say("* BYE restarting")
            session.writer.close()

    def fault(self, command: str) -> str:
        for place, (name, fault, often) in enumerate(self.faults):
            if re.match(name, command):
                self.faults[place : place + 1] = [(name, fault, often - 1)] if often > 1 else []
                return fault
        return ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        session = Session(self, reader, writer)
        self._sessions.add(session)
        self.nobody.clear()
        try:
            await session.run()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            self._sessions.discard(session)
            writer.close()
            if not self._sessions:
                self.nobody.set()


@dataclass(eq=False)
class Session:
    server: Server
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    waits: bool = False  # in IDLE
    _tag: str = ""

    def say(self, line: str) -> None:
        self.writer.write(line.encode() + b"\r\n")

    async def run(self) -> None:
        self.writer.write(self.server.greeting)
        while line := (await self.reader.readuntil(b"\r\n")).decode().strip():
            tag, _, command = line.partition(" ")
            command = command or tag  # DONE has no tag
            self.server.heard.append(command)
            if self.server.before:
                self.server.before(command)
            fault = self.server.fault(command)
            if not await self._wrong(tag, fault):
                answer = self._do(tag, command)
                if fault == "late drop":
                    raise ConnectionError
                if answer:
                    self.say(answer)
            await self.writer.drain()
            if command.startswith("LOGOUT"):
                return

    async def _wrong(self, tag: str, fault: str) -> bool:
        match fault:
            case "hang":
                await self.reader.read()
                raise ConnectionError
            case "drop":
                raise ConnectionError
            case "bye":
                self.say("* BYE no more")
                raise ConnectionError
            case "no" | "bad":
                self.say(f"{tag} {fault.upper()} not now")
            case "garbage":
                self.writer.write(b"\0\xff* {9 (\r\n)) }\r\n* FETCH {}\r\n")
                self.say(f"{tag} OK (\u00e9")
            case "wrong tag":
                self.say("ZZZ999 OK not yours")
            case _:
                return False
        return True

    def _do(self, tag: str, command: str) -> str:
        """Carry it out; what follows the tag of the last line, "" = there is none yet."""
        name, *words = [a or b for a, b in _WORDS.findall(command)]
        if name == "UID":
            name, *words = f"{name}_{words[0]}", *words[1:]
        do: Callable[[list[str]], str | None] = getattr(self, name.lower(), lambda _: None)
        self._tag = tag if name != "DONE" else self._tag
        answer = do(words)
        if answer == "":
            return ""
        return f"{self._tag} {answer or 'OK done'}"

    def capability(self, _words: list[str]) -> None:
        self.say(f"* CAPABILITY {self.server.capabilities}")

    def login(self, words: list[str]) -> str | None:
        """It repeats what it did not like."""
        given = words[1].replace('\\"', '"').replace("\\\\", "\\")
        return None if self.server.password in ("", given) else f"NO LOGIN {words}: {given}"

    def logout(self, _words: list[str]) -> None:
        self.say("* BYE bye")

    def select(self, _words: list[str]) -> str:
        self.say(f"* {len(self.server.mails)} EXISTS")
        self.say(f"* OK [UIDVALIDITY {self.server.validity}] valid")
        return f"OK {self.server.select}"

    def idle(self, _words: list[str]) -> str:
        self.waits = True
        self.say("+ idling")
        return ""

    def done(self, _words: list[str]) -> None:
        self.waits = False

    def create(self, words: list[str]) -> str | None:
        if words[0] in self.server.folders:
            return "NO [ALREADYEXISTS]"
        self.server.folders[words[0]] = []
        return None

    def uid_search(self, words: list[str]) -> None:
        flags = self.server.flags
        found = [uid for uid in self.server.mails if "\\Deleted" not in flags[uid]]
        if "KEYWORD" in words:
            found = [uid for uid in found if words[-1] in flags[uid]]
        self.say(" ".join(["* SEARCH", *map(str, found)]))

    def uid_store(self, words: list[str]) -> str | None:
        if "$" in words[-1] and not self.server.keywords:
            return "NO no keywords here"
        for uid in self._uids(words[0]):
            self.server.flags[uid] |= set(" ".join(words[2:]).strip("()").split())
        return None

    def uid_copy(self, words: list[str]) -> str | None:
        folder = self.server.folders.get(words[1])
        if folder is None:
            return "NO [TRYCREATE] no such mailbox"
        folder += [self.server.mails[uid] for uid in self._uids(words[0])]
        return None

    def uid_move(self, words: list[str]) -> str | None:
        refused = self.uid_copy(words)
        for uid in self._uids(words[0]) if not refused else ():
            self._remove(uid)
        return refused

    def uid_expunge(self, words: list[str]) -> None:
        for uid in self._uids(words[0]):
            if "\\Deleted" in self.server.flags[uid]:
                self._remove(uid)

    def _uids(self, text: str) -> list[int]:
        return [uid for uid in map(int, text.split(",")) if uid in self.server.mails]

    def uid_fetch(self, words: list[str]) -> None:
        for uid in self._uids(words[0]):
            mail = self.server.mails[uid]
            if "RFC822.SIZE" in words[2]:
                date = f'INTERNALDATE "{self.server.arrived}"'
                self.say(f"* {uid} FETCH (UID {uid} RFC822.SIZE {len(mail)} {date})")
                continue
            head = "HEADER" in words[2]
            if raw := self.server.bodies.get(uid) if not head else None:
                self.writer.write(raw)
                continue
            part = mail.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if head else mail
            self.writer.write(f"* {uid} FETCH (UID {uid} BODY[] {{{len(part)}}}\r\n".encode())
            self.writer.write(part + b")\r\n")

    def _remove(self, uid: int) -> None:
        del self.server.mails[uid]
        self.say(f"* {uid} EXPUNGE")


@asynccontextmanager
async def scripted(context: ssl.SSLContext) -> AsyncIterator[Server]:
    server = Server(context)
    server.nobody.set()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context, limit=1 << 20)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for session in list(server._sessions):
            session.writer.transport.abort()
        await server.nobody.wait()
