"""Documents of the sandbox: kept on disk as they arrive, hashed, their pages counted."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pikepdf
from PIL import Image

MEDIA_TYPES = {
    "pdf": "application/pdf",
    "tiff": "image/tiff",
    "png": "image/png",
    "jpg": "image/jpeg",
    "": "application/octet-stream",
}
MAGIC = (
    (b"%PDF-", "pdf"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpg"),
)


@dataclass(frozen=True, slots=True)
class Document:
    path: Path
    name: str
    sha256: str
    size: int
    format: str  # pdf, tiff, png, jpg; "" = none of them
    pages: int  # 0 = it cannot be read

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[self.format]

    def read(self) -> bytes:
        return self.path.read_bytes()


class Opened:
    """An open document that reads like bytes, piece by piece: a big one never fills the memory."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._size = os.fstat(self._file.fileno()).st_size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, piece: slice) -> bytes:
        start, stop, _ = piece.indices(self._size)
        self._file.seek(start)
        return self._file.read(max(stop - start, 0))

    def close(self) -> None:
        self._file.close()


class Upload:
    """One document as it arrives. It is thrown away unless someone keeps it."""

    def __init__(self, directory: Path, name: str = "", declared: str = "") -> None:
        number, path = tempfile.mkstemp(dir=directory)
        self.name = name
        self.declared = declared  # the media type its sender wrote
        self.size = 0
        self._path = Path(path)
        self._file = os.fdopen(number, "wb")
        self._digest = hashlib.sha256()
        self._kept = False

    def write(self, piece: bytes) -> None:
        self._file.write(piece)
        self._digest.update(piece)
        self.size += len(piece)

    async def keep(self) -> Document:
        self._file.close()
        self._kept = True
        found = await asyncio.to_thread(sniff, self._path)
        pages = await asyncio.to_thread(count_pages, self._path, found)
        digest = self._digest.hexdigest()
        return Document(self._path, self.name, digest, self.size, found, pages)

    def discard(self) -> None:
        self._file.close()
        if not self._kept:
            self._path.unlink(missing_ok=True)

    def sniff(self) -> str:
        self._file.flush()
        return sniff(self._path)


class Shelf:
    """Where the documents of one account lie; made when first needed."""

    def __init__(self) -> None:
        self._directory = Path()

    def upload(self, name: str = "", declared: str = "") -> Upload:
        if self._directory == Path():
            self._directory = Path(tempfile.mkdtemp(prefix="fax-simulator-"))
        return Upload(self._directory, name, declared)

    async def store(self, content: bytes, name: str = "") -> Document:
        upload = self.upload(name)
        upload.write(content)
        return await upload.keep()

    def clear(self) -> None:
        if self._directory != Path():
            shutil.rmtree(self._directory, ignore_errors=True)


def sniff(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(16)
    return next((name for magic, name in MAGIC if head.startswith(magic)), "")


def count_pages(path: Path, found: str) -> int:
    """How many pages a fax of it would have; 0 = nobody can tell."""
    try:
        if found == "pdf":
            with pikepdf.open(path) as pdf:
                return len(pdf.pages)
        if found:
            with Image.open(path) as image:
                return int(getattr(image, "n_frames", 1)) if found == "tiff" else 1
    except Exception:  # noqa: BLE001 - parsers of strangers' files raise whatever they like
        return 0
    return 0


@cache
def sample() -> bytes:
    """One page that says what it is, for whoever has no document at hand."""
    pdf = pikepdf.new()
    page = pdf.add_blank_page(page_size=(612, 792))
    font = pikepdf.Dictionary(
        Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica
    )
    page.Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F1=font))
    page.Contents = pdf.make_stream(b"BT /F1 24 Tf 72 700 Td (A fax from the sandbox) Tj ET")
    out = io.BytesIO()
    pdf.save(out, deterministic_id=True)
    return out.getvalue()
