"""mail → fax, as its people see it: real processes, real sockets, real documents."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.journeys.house import House, house, wait_for
from tests.make import pdf

OK = "+14155550000"  # the simulator delivers to this number


def picture(form: str, pages: int = 1) -> bytes:
    sheets = []
    for number in range(pages):
        sheet = Image.new("1", (1728, 2200), 1)
        ImageDraw.Draw(sheet).rectangle((200, 300 + number * 50, 1500, 900), fill=0)
        sheets.append(sheet if form == "TIFF" else sheet.convert("RGB"))
    out = io.BytesIO()
    if form == "TIFF":
        sheets[0].save(
            out, form, compression="group4", save_all=True, append_images=sheets[1:], dpi=(204, 196)
        )
    else:
        sheets[0].save(out, form)
    return out.getvalue()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("house"), settings={"INBOUND": "off"}) as home:
        yield home


def job_to(home: House, number: str) -> dict[str, object]:
    return wait_for(
        lambda: next((j for j in home.jobs() if j["to_number"] == number), None), f"job {number}"
    )


def fax_to(home: House, number: str, state: str = "closed") -> dict[str, object]:
    def look() -> dict[str, object] | None:
        faxes = [f for f in home.faxes() if f["number"] == number]
        return faxes[0] if faxes and faxes[0]["state"] == state else None

    return wait_for(look, f"{number} to be {state}")


def notice_about(home: House, number: str) -> dict[str, object]:
    nice = f"+1 {number[2:5]} {number[5:8]} {number[8:]}"
    return wait_for(
        lambda: next((m for m in home.mails() if nice in m["subject"]), None), f"notice on {number}"
    )


@pytest.mark.parametrize(
    ("number", "kind", "name", "content", "pages"),
    [
        ("+14155610000", "application/pdf", "a.pdf", pdf(3), 3),
        ("+14155620000", "image/tiff", "scan.tif", picture("TIFF", 2), 2),
        ("+14155630000", "image/png", "a.png", picture("PNG"), 1),
        ("+14155640000", "image/jpeg", "a.jpg", picture("JPEG"), 1),
        ("+14155650000", "application/octet-stream", "SCAN.PDF", pdf(1), 1),
        ("+14155660000", "", "", b"", 1),
    ],
)
def test_every_kind_of_document(
    home: House, number: str, kind: str, name: str, content: bytes, pages: int
) -> None:
    reply = home.send(
        f"{number}@fax.local", content=content, kind=kind, name=name, subject=f"Für {number}"
    )
    assert reply.startswith("250 2.0.0 ")
    fax = fax_to(home, number)
    job = job_to(home, number)
    assert (fax["pages"], job["pages"], fax["result_pages"]) == (pages, pages, pages)
    assert job["sha256"] == fax["digest"], "what was uploaded is what was prepared"
    assert job["from_number"] == "+14155550199"
    notice = notice_about(home, number)
    assert notice["in_reply_to"] == fax["message_id"]
    assert notice["auto_submitted"].startswith("auto-")  # type: ignore[attr-defined]
    assert notice["sender"] == ""
    assert f"Für {number}" in str(notice["subject"])


def test_several_numbers_are_several_faxes(home: House) -> None:
    numbers = [f"+1415{exchange}0000" for exchange in (591, 592, 593)]
    home.send(*(f"{n}@fax.local" for n in numbers), content=pdf(1))
    ids = {fax_to(home, n)["id"] for n in numbers}
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("ending", "state", "words"),
    [
        ("0002", "failed", "busy"),
        ("0003", "failed", "answer"),
        ("0004", "failed", ""),
        ("0012", "failed", "refused"),
        ("0014", "failed", "no reason"),
        ("0015", "delivered", ""),
        ("0008", "delivered", ""),
    ],
)
def test_every_end_is_told(home: House, ending: str, state: str, words: str) -> None:
    number = f"+1415568{ending}"
    home.send(f"{number}@fax.local", content=pdf(2), sender=f"s{ending}@example.com")
    fax = fax_to(home, number)
    assert bool(fax["cause"]) is (state == "failed")
    assert words in str(fax["reason"]).lower()
    notice = home.notice(f"s{ending}@example.com")
    assert ("FAILED" in str(notice["subject"])) is (state == "failed")


def test_an_identical_mail_is_one_fax(home: House) -> None:
    mail = b"From: a@example.com\r\nSubject: twice\r\n\r\nThe same text.\r\n"
    first = home.send_bytes(mail, "+14155690000@fax.local")
    second = home.send_bytes(mail, "+1.415.569.0000@fax.local")
    fax = fax_to(home, "+14155690000")
    assert str(fax["id"]) in first
    assert f"duplicate of {fax['id']}" in second
    assert len([j for j in home.jobs() if j["to_number"] == "+14155690000"]) == 1


@pytest.mark.parametrize(
    ("number", "name", "content", "words"),
    [
        ("+14155710000", "letter.docx", b"PK\x03\x04" + bytes(200), "letter.docx"),
        ("+14155720000", "broken.pdf", b"%PDF-1.7\n" + b"x" * 500, "broken.pdf"),
        ("+14155730000", "empty.pdf", b"", "empty.pdf"),
        ("+14155740000", "tool.pdf", b"MZ" + bytes(500), "tool.pdf"),
    ],
)
def test_what_cannot_be_faxed_is_named(
    home: House, number: str, name: str, content: bytes, words: str
) -> None:
    home.send(f"{number}@fax.local", content=content or b" ", name=name, sender=f"{name}@x.example")
    fax = fax_to(home, number)
    assert fax["cause"]
    assert words in str(fax["reason"])
    assert not [j for j in home.jobs() if j["to_number"] == number], "nothing was faxed in part"
    assert home.notice(f"{name}@x.example")


def test_open_faxes_cost_one_list_pass(tmp_path: Path) -> None:
    """Twenty open faxes are followed by lists, not by a request for each."""
    with house(tmp_path, settings={"INBOUND": "off"}, time_scale="0.05") as home:
        home.send(*(f"+1415557{i:02}00@fax.local" for i in range(10, 30)), content=pdf(1))
        wait_for(lambda: len(home.jobs()) == 20, "twenty jobs")
        home.all_closed(20)
        requests = home.control("ledger")["requests"]
        details = [r["path"] for r in requests if r["method"] == "GET" and "/faxes/" in r["path"]]
        assert len(details) == len(set(details)), "details once at most, at the end of a fax"
