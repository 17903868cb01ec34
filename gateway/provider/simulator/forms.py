"""multipart/form-data as it arrives: fields are kept small, documents go to disk (RFC 7578)."""

from __future__ import annotations

import re
from enum import Enum, auto

from gateway.provider.simulator.documents import Shelf, Upload
from gateway.provider.simulator.replies import RefusedError

MOST_HEAD = 16 * 1024
MOST_FIELD = 64 * 1024
MOST_PARTS = 50
BOUNDARY = re.compile(r'boundary\s*=\s*(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
PARAMETER = re.compile(
    r';\s*(name|filename)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))', re.IGNORECASE
)
ESCAPES = {"%22": '"', "%0D": "\r", "%0A": "\n"}  # what browsers and httpx escape


class Place(Enum):
    PREAMBLE = auto()
    AFTER_BOUNDARY = auto()
    HEAD = auto()
    CONTENT = auto()
    EPILOGUE = auto()


class Form:
    """Fed with the body's pieces; complete after `finish`."""

    def __init__(self, content_type: str, shelf: Shelf) -> None:
        found = BOUNDARY.search(content_type)
        if not found:
            raise RefusedError(400, "the multipart body has no boundary")
        self.fields: dict[str, str] = {}
        self.uploads: dict[str, Upload] = {}
        self._mark = b"\r\n--" + (found[1] or found[2]).encode()
        self._shelf = shelf
        self._buffer = bytearray(b"\r\n")  # so that the first boundary looks like the others
        self._place = Place.PREAMBLE
        self._name = ""
        self._text = bytearray()
        self._parts = 0

    def feed(self, piece: bytes) -> None:
        self._buffer += piece
        while self._step():
            pass

    def finish(self) -> None:
        if self._place is not Place.EPILOGUE:
            raise RefusedError(400, "the multipart body ends before its last boundary")

    def discard(self) -> None:
        for upload in self.uploads.values():
            upload.discard()

    def _step(self) -> bool:
        """One stretch of the buffer; False = more must come first."""
        match self._place:
            case Place.AFTER_BOUNDARY:
                return self._after_boundary()
            case Place.HEAD:
                return self._head()
            case Place.EPILOGUE:
                self._buffer.clear()
                return False
            case _:
                return self._content()

    def _content(self) -> bool:
        end = self._buffer.find(self._mark)
        found = end >= 0
        keep = len(self._mark) - 1  # the boundary may have begun
        self._take(self._cut(end if found else max(len(self._buffer) - keep, 0)))
        if found:
            self._end_part()
            self._cut(len(self._mark))
            self._place = Place.AFTER_BOUNDARY
        return found

    def _after_boundary(self) -> bool:
        if len(self._buffer) < 2:
            return False
        match self._cut(2):
            case b"\r\n":
                self._place = Place.HEAD
            case b"--":
                self._place = Place.EPILOGUE
            case _:
                raise RefusedError(400, "the multipart body has a broken boundary")
        return True

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 and len(self._buffer) > MOST_HEAD:
            raise RefusedError(400, "a part of the multipart body has too long a head")
        if end >= 0:
            self._begin_part(self._cut(end + 4).decode(errors="replace"))
            self._place = Place.CONTENT
        return end >= 0

    def _begin_part(self, head: str) -> None:
        lines = dict(line.partition(":")[::2] for line in head.split("\r\n"))
        headers = {name.strip().lower(): text.strip() for name, text in lines.items()}
        said = {
            name.lower(): _unescaped(quoted or plain)
            for name, quoted, plain in PARAMETER.findall(headers.get("content-disposition", ""))
        }
        self._parts += 1
        self._name = said.get("name", "")
        if not self._name or self._parts > MOST_PARTS:
            raise RefusedError(400, "a part of the multipart body has no name, or one too many")
        if self._name in self.fields or self._name in self.uploads:
            raise RefusedError(400, f"{self._name} is given twice", self._name)
        if "filename" in said or self._name == "document":
            declared = headers.get("content-type", "")
            self.uploads[self._name] = self._shelf.upload(said.get("filename", ""), declared)

    def _take(self, content: bytes) -> None:
        if self._place is not Place.CONTENT:
            return
        if self._name in self.uploads:
            self.uploads[self._name].write(content)
            return
        self._text += content
        if len(self._text) > MOST_FIELD:
            raise RefusedError(400, f"{self._name} is too long", self._name)

    def _end_part(self) -> None:
        if self._place is Place.CONTENT and self._name not in self.uploads:
            self.fields[self._name] = self._text.decode(errors="replace").strip()
        self._text.clear()

    def _cut(self, length: int) -> bytes:
        piece = bytes(self._buffer[:length])
        del self._buffer[:length]
        return piece


def _unescaped(text: str) -> str:
    for written, meant in ESCAPES.items():
        text = text.replace(written, meant)
    return re.sub(r"\\(.)", r"\1", text)
