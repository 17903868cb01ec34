"""What the far end sees: pixels of the produced pages against those of the source (M8, M11)."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pikepdf
import pypdfium2
import pytest
from PIL import Image, ImageChops, ImageStat

from gateway.document import Prepared, PrepareTask, Workshop
from gateway.errors import PermanentError
from tests.document import files

pytestmark = pytest.mark.anyio

Transpose = Image.Transpose
STORED = {
    2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE, 6: Transpose.ROTATE_90, 7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}  # fmt: skip
SMALL = files.sheet((850, 1100), "L")
FAX = files.sheet((1728, 2156))


async def faxed(workshop: Workshop, tmp_path: Path, content: bytes, **more: Any) -> Prepared:
    message = tmp_path / "message.eml"
    message.write_bytes(files.mail(files.part(content, "application/octet-stream", "a")))
    task = PrepareTask(message, tmp_path / "out.pdf", tmp_path / "first.png", **more)
    return await workshop.prepare(task)


def drawn(source: bytes | Path, number: int = 0) -> Image.Image:
    """A page as another program shows it, forms and all."""
    document = pypdfium2.PdfDocument(source)
    document.init_forms()
    page = document[number]
    scale = 600 / max(page.get_size())
    image: Image.Image = page.render(scale=scale, grayscale=True, may_draw_forms=True).to_pil()
    return image.convert("L")


def picture_on(path: Path, number: int = 0) -> tuple[Image.Image, float]:
    """What shows where the picture lies on its sheet, and its width to its height there."""
    with pikepdf.open(path) as document:
        page = document.pages[number]
        _, _, page_width, page_height = (float(x) for x in page.mediabox)
        drawing = page.Contents.read_bytes().decode()
    place = re.match(r"q (\S+) 0 0 (\S+) (\S+) (\S+) cm /P Do Q", drawing)
    assert place
    width, height, left, bottom = map(float, place.groups())
    assert min(left, bottom) > -0.01
    assert max(left + width - page_width, bottom + height - page_height) < 0.01
    sheet = drawn(path, number)
    scale = sheet.width / page_width
    box = (left, page_height - bottom - height, left + width, page_height - bottom)
    return sheet.crop(tuple(round(side * scale) for side in box)), width / height  # type: ignore[arg-type]


def unlike(one: Image.Image, other: Image.Image) -> float:
    """0: the same; 255: the one is the negative of the other."""
    size = (40, 50) if one.height >= one.width else (50, 40)
    small = [image.convert("L").resize(size, Image.Resampling.BOX) for image in (one, other)]
    return ImageStat.Stat(ImageChops.difference(*small)).rms[0]


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return files.encoded(SMALL.transpose(STORED[orientation]), "JPEG", exif=exif, quality=90)


def turned_tiff(orientation: int) -> bytes:
    stored = FAX.transpose(STORED[orientation])
    return files.tiff(stored, dpi=(200, 200), tags={274: orientation})


def glass(mode: str) -> Image.Image:
    """The sheet with its white made of nothing."""
    alpha = SMALL.point(lambda value: 255 - value)
    clear = Image.merge("LA", (SMALL.point(lambda _: 0), alpha))
    return clear.convert(mode)


def deep(most: int) -> bytes:
    """More than 8 bits, of which `most` is white."""
    grey = SMALL.convert("I").point(lambda value: value * (most / 255)).convert("I;16")
    return files.tiff(grey, compression=None)


COARSE = files.sheet((1728, 1078))
PICTURES: dict[str, tuple[Callable[[], bytes], float]] = {  # and its true width to height
    "G4": (lambda: files.tiff(FAX), 1728 / 204 / (2156 / 196)),
    "MH": (lambda: files.tiff(FAX, compression="group3"), 1728 / 204 / (2156 / 196)),
    "MR": (
        lambda: files.tiff(FAX, compression="group3", tags={292: 1}),
        1728 / 204 / (2156 / 196),
    ),
    "MH, 98 dpi": (
        lambda: files.tiff(COARSE, dpi=(204, 98), compression="group3"),
        1728 / 204 / (1078 / 98),
    ),
    "G4, 98 dpi": (lambda: files.tiff(COARSE, dpi=(204, 98)), 1728 / 204 / (1078 / 98)),
    "G4, fine, no dpi": (lambda: files.tiff(FAX, dpi=(0, 0)), 1728 / 204 / (2156 / 196)),
    "G4, coarse, no dpi": (lambda: files.tiff(COARSE, dpi=(0, 0)), 1728 / 204 / (1078 / 98)),
    "G4, fill order 2": (
        lambda: files.tiff(FAX, dpi=(200, 200), tags={266: 2}), 1728 / 2156,
    ),
    "G4, many strips": (
        lambda: files.tiff(FAX, dpi=(200, 200), tags={278: 64}), 1728 / 2156,
    ),
    "G4, 0 is white": (lambda: files.tiff(FAX, dpi=(200, 200), tags={262: 0}), 1728 / 2156),
    "G4, 1 is white": (lambda: files.tiff(FAX, dpi=(200, 200), tags={262: 1}), 1728 / 2156),
    "bits, 0 is white": (
        lambda: files.tiff(FAX, dpi=(200, 200), compression=None, tags={262: 0}), 1728 / 2156,
    ),
    "TIFF on its side": (lambda: turned_tiff(6), 1728 / 2156),
    "TIFF upside down": (lambda: turned_tiff(3), 1728 / 2156),
    "TIFF grey LZW": (lambda: files.tiff(SMALL, compression="tiff_lzw"), 850 / 204 / (1100 / 196)),
    "TIFF JPEG": (
        lambda: files.tiff(SMALL.convert("RGB"), dpi=(100, 100), compression="jpeg"), 850 / 1100,
    ),
    "TIFF CMYK": (
        lambda: files.tiff(SMALL.convert("RGB").convert("CMYK"), dpi=(100, 100),
                           compression="tiff_lzw"),
        850 / 1100,
    ),
    "TIFF 16 bits": (lambda: deep(65535), 850 / 204 / (1100 / 196)),
    "TIFF 12 of 16 bits": (lambda: deep(4095), 850 / 204 / (1100 / 196)),
    "PNG grey": (lambda: files.encoded(SMALL, "PNG"), 850 / 1100),
    "PNG bits": (lambda: files.encoded(SMALL.convert("1"), "PNG"), 850 / 1100),
    "PNG palette": (lambda: files.encoded(SMALL.convert("P"), "PNG"), 850 / 1100),
    "PNG 16 bits": (lambda: files.encoded(
        SMALL.convert("I").point(lambda value: value * 257.0).convert("I;16"), "PNG"), 850 / 1100),
    "PNG clear": (lambda: files.encoded(glass("RGBA"), "PNG"), 850 / 1100),
    "PNG clear grey": (lambda: files.encoded(glass("LA"), "PNG"), 850 / 1100),
    "PNG clear colour": (
        lambda: files.encoded(SMALL.convert("P"), "PNG", transparency=255), 850 / 1100,
    ),
    "PNG 300 dpi": (lambda: files.encoded(SMALL, "PNG", dpi=(300, 300)), 850 / 1100),
    "PNG absurd dpi": (lambda: files.encoded(SMALL, "PNG", dpi=(90000, 2)), 850 / 1100),
    "JPEG grey": (lambda: files.encoded(SMALL, "JPEG"), 850 / 1100),
    "JPEG progressive": (
        lambda: files.encoded(SMALL.convert("RGB"), "JPEG", progressive=True), 850 / 1100,
    ),
    "JPEG CMYK": (
        lambda: files.encoded(SMALL.convert("RGB").convert("CMYK"), "JPEG"), 850 / 1100,
    ),
    "JPEG 7,500 pixels": (
        lambda: files.encoded(SMALL.resize((5796, 7500)), "JPEG", quality=30), 850 / 1100,
    ),
} | {
    f"EXIF orientation {number}": ((lambda number=number: turned(number)), 850 / 1100)
    for number in STORED
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
async def test_pictures(workshop: Workshop, tmp_path: Path, name: str) -> None:
    """Upright, black on white, as wide as high as it was."""
    make, shape = PICTURES[name]
    assert (await faxed(workshop, tmp_path, make())).pages == 1
    shown, shape_shown = picture_on(tmp_path / "out.pdf")
    assert shape_shown == pytest.approx(shape, rel=0.01)
    assert unlike(shown, SMALL) < 12


async def test_sheets_of_one_file_may_differ(workshop: Workshop, tmp_path: Path) -> None:
    sheets = [files.sheet(size) for size in ((1728, 2156), (2432, 1500), (600, 300))]
    assert (await faxed(workshop, tmp_path, files.tiff(*sheets, dpi=(200, 200)))).pages == 3
    for number, sheet in enumerate(sheets):
        shown, shape = picture_on(tmp_path / "out.pdf", number)
        assert shape == pytest.approx(sheet.width / sheet.height, rel=0.01)
        assert unlike(shown, sheet) < 12


async def test_g4_goes_in_as_it_is(workshop: Workshop, tmp_path: Path) -> None:
    source = files.tiff(FAX)
    await faxed(workshop, tmp_path, source)
    with pikepdf.open(tmp_path / "out.pdf") as document:
        assert document.pages[0].Resources.XObject.P.read_raw_bytes() in source


# PDF


def changed(change: Callable[[pikepdf.Pdf], None]) -> bytes:
    mark = b"2 w 72 700 m 540 700 l S 72 600 100 80 re f BT /F 24 Tf 72 560 Td (Order 7) Tj ET"
    with pikepdf.open(io.BytesIO(files.pdf(1, mark))) as document:
        font = pikepdf.Dictionary(
            Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica
        )
        document.pages[0].Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F=font))
        change(document)
        return files.saved(document)


def page_key(name: str, value: Any) -> Callable[[pikepdf.Pdf], None]:
    return lambda document: document.pages[0].obj.__setitem__(name, value)


def stamp(document: pikepdf.Pdf, **more: Any) -> None:
    """An annotation that is a black box."""
    box = pikepdf.Dictionary(Type=pikepdf.Name.XObject, Subtype=pikepdf.Name.Form)
    box.BBox = pikepdf.Array([0, 0, 200, 100])
    look = document.make_stream(b"0 0 200 100 re f", box)
    note = pikepdf.Dictionary(
        Type=pikepdf.Name.Annot, Subtype=pikepdf.Name.Stamp, Rect=[300, 300, 500, 400],
        AP=pikepdf.Dictionary(N=look), F=4, **more,
    )  # fmt: skip
    document.pages[0].Annots = document.make_indirect(pikepdf.Array([note]))


def field(document: pikepdf.Pdf) -> None:
    """A filled-in field without an appearance: the reader has to draw it."""
    font = document.pages[0].Resources.Font.F
    entry = document.make_indirect(
        pikepdf.Dictionary(
            Type=pikepdf.Name.Annot, Subtype=pikepdf.Name.Widget, FT=pikepdf.Name.Tx,
            T="name", V="Jane Doe", Rect=[72, 400, 372, 450], F=4, DA="/F 30 Tf 0 g",
        )
    )  # fmt: skip
    document.pages[0].Annots = pikepdf.Array([entry])
    document.Root.AcroForm = pikepdf.Dictionary(
        Fields=[entry], NeedAppearances=True, DA="/F 30 Tf 0 g",
        DR=pikepdf.Dictionary(Font=pikepdf.Dictionary(F=font)),
    )  # fmt: skip


def layer(document: pikepdf.Pdf, **state: Any) -> None:
    group = document.make_indirect(pikepdf.Dictionary(Type=pikepdf.Name.OCG, Name="draft"))
    page = document.pages[0]
    page.Resources.Properties = pikepdf.Dictionary(L=group)
    page.contents_add(b"/OC /L BDC 300 100 200 200 re f EMC")
    default = pikepdf.Dictionary()
    for name, value in state.items():
        default[f"/{name}"] = pikepdf.Array([group]) if value == "it" else value
    document.Root.OCProperties = pikepdf.Dictionary(OCGs=[group], D=default)


PDFS: dict[str, tuple[Callable[[pikepdf.Pdf], None], tuple[float, float], tuple[int, int] | None]]
PDFS = {  # what is done to a page, its shape, and where its black must (or must not) be, at 72 dpi
    "plain": (lambda _: None, (612, 792), None),
    **{
        f"turned by {angle}": (page_key("/Rotate", angle), shape, None)
        for angle, shape in ((90, (792, 612)), (180, (612, 792)), (270, (792, 612)))
    },
    "cropped": (page_key("/CropBox", [50, 500, 400, 792]), (350, 292), None),
    "user unit": (page_key("/UserUnit", 2), (612, 792), None),
    "box not at zero": (page_key("/MediaBox", [-100, -100, 512, 692]), (612, 792), None),
    "box upside down": (page_key("/MediaBox", [612, 792, 0, 0]), (612, 792), None),
    "stamp": (stamp, (612, 792), (400, 442)),
    "field": (field, (612, 792), None),
    "layer on": (layer, (612, 792), (400, 592)),
    "layer off": (lambda document: layer(document, OFF="it"), (612, 792), (-400, -592)),
    "layers off but this": (
        lambda document: layer(document, BaseState=pikepdf.Name.OFF, ON="it"), (612, 792),
        (400, 592),
    ),
    "layers off": (
        lambda document: layer(document, BaseState=pikepdf.Name.OFF), (612, 792), (-400, -592),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PDFS)
async def test_pdfs(workshop: Workshop, tmp_path: Path, name: str) -> None:
    change, (width, height), black = PDFS[name]
    source = changed(change)
    await faxed(workshop, tmp_path, source)
    shown, before = drawn(tmp_path / "out.pdf"), drawn(source)
    assert shown.width / shown.height == pytest.approx(width / height, rel=0.01)
    assert unlike(shown, before) < 3
    if black:
        across, down = (round(abs(side) * shown.height / height) for side in black)
        assert shown.getpixel((across, down)) == (0 if black[0] > 0 else 255)


async def test_a_filled_in_field_is_read(workshop: Workshop, tmp_path: Path) -> None:
    await faxed(workshop, tmp_path, changed(field))
    page = pypdfium2.PdfDocument(tmp_path / "out.pdf")[0]
    assert "Jane Doe" in page.get_textpage().get_text_bounded()


@pytest.mark.parametrize(
    "blank",
    [
        files.pdf(1, b"1 g 0 0 612 792 re f"),
        files.encoded(Image.new("L", (850, 1100), 255), "JPEG"),
        files.encoded(Image.new("RGBA", (850, 1100)), "PNG"),
        files.tiff(Image.new("1", (1728, 2156), 1)),
        files.pdf(1, b"BT 1 g /F 24 Tf 72 560 Td (Order 7) Tj ET"),
    ],
    ids=["vector", "JPEG", "PNG", "G4", "text"],
)
async def test_white_on_white_is_refused(workshop: Workshop, tmp_path: Path, blank: bytes) -> None:
    with pytest.raises(PermanentError, match="nothing but white"):
        await faxed(workshop, tmp_path, blank)


@pytest.mark.parametrize(
    "content",
    [
        files.pdf(1, b"q 0.1 w 72 700 m 74 700 l S Q"),
        files.encoded(ImageChops.offset(SMALL, 0).point(lambda x: 235 if x < 128 else 255), "PNG"),
        changed(lambda document: document.pages[0].contents_coalesce()),
    ],
    ids=["a thin line", "pale grey", "text"],
)
async def test_little_ink_is_ink(workshop: Workshop, tmp_path: Path, content: bytes) -> None:
    assert (await faxed(workshop, tmp_path, content)).pages == 1


async def test_the_same_mail_is_the_same_document(tmp_path: Path) -> None:
    """Of every kind, in another process, at another time: what was faxed can be made again."""
    parts = [
        files.text("Grüße, see below"),
        *(files.part(make(), "application/octet-stream", "a") for make in (
            PICTURES["MH"][0], PICTURES["PNG clear"][0], PICTURES["JPEG CMYK"][0])),
        *(files.part(changed(change), "application/pdf", "a") for change in (stamp, field)),
    ]  # fmt: skip
    message = tmp_path / "message.eml"
    message.write_bytes(files.mail(*parts))
    seen = set()
    for name in ("one", "two"):
        task = PrepareTask(message, tmp_path / name, tmp_path / f"{name}.png", body="page")
        async with Workshop(scratch=tmp_path) as workshop:
            prepared = await workshop.prepare(task)
        seen.add((prepared.digest, prepared.size, prepared.pages, task.document.read_bytes()))
        with pikepdf.open(task.document) as document:
            assert "/Info" not in document.trailer  # and with it no dates
            assert document.Root.keys() <= {"/Type", "/Pages", "/OCProperties"}
    assert len(seen) == 1


@pytest.mark.parametrize("angle", [0, 90])
async def test_too_big_is_drawn_anew(workshop: Workshop, tmp_path: Path, angle: int) -> None:
    """As a fax machine would: fewer bytes, the same pages the same way up."""

    def fat(document: pikepdf.Pdf) -> None:
        page_key("/Rotate", angle)(document)
        document.pages[0].contents_add(b"%" + random.Random(7).randbytes(40_000).hex().encode())

    source = changed(fat)
    whole = await faxed(workshop, tmp_path, source)
    before = drawn(tmp_path / "out.pdf")
    small = await faxed(workshop, tmp_path, source, max_bytes=whole.size - 1)
    assert small.digest != whole.digest
    with pikepdf.open(tmp_path / "out.pdf") as document:
        assert document.pages[0].Resources.XObject.P.Filter == pikepdf.Name.CCITTFaxDecode
    after = drawn(tmp_path / "out.pdf")
    assert after.width / after.height == pytest.approx(before.width / before.height, rel=0.01)
    assert unlike(after, before) < 6
    with pytest.raises(PermanentError, match="too big for a fax"):
        await faxed(workshop, tmp_path, source, max_bytes=100)
