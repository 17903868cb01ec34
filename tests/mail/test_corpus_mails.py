"""Every mail of the corpus comes to a verdict, and no document of it is lost on the way."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from gateway.errors import PermanentError
from gateway.mail.letter import Letter, read_letter
from gateway.mail.prescan import scan

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"
pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"the corpus is not at {CORPUS}")
REPORTED = "part of a delivery report"


def rows() -> dict[str, dict[str, str]]:
    """What common libraries make of each mail: `attach`, `payloads`, `body` and more."""
    with (CORPUS / "expectations.tsv").open(encoding="utf-8", newline="") as file:
        lines = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {
            line["path"]: dict(word.split("=", 1) for word in line["detail"].split() if "=" in word)
            for line in lines
            if line["path"].startswith("mail/")
        }


def counted(row: dict[str, str]) -> dict[str, int]:
    """`pdf:1,png:2`"""
    pairs = [one.rpartition(":") for one in row.get("attach", "-").split(",") if ":" in one]
    return {kind: int(count) for kind, _, count in pairs}


def verdict(path: Path, work: Path) -> Letter | str:
    try:
        return read_letter(path, work)
    except PermanentError as refused:
        return str(refused)


def lost(letter: Letter, row: dict[str, str]) -> str:
    """Documents that are neither pages nor listed as left out."""
    kinds = [str(one.kind) for one in letter.parts]
    pictures = sum("picture" in line for line in letter.skipped)
    reported = sum(REPORTED in line for line in letter.skipped)
    want = counted(row)
    paged = sum(want.get(kind, 0) for kind in ("pdf", "tiff"))
    drawn = sum(want.get(kind, 0) for kind in ("png", "jpeg"))
    if kinds.count("pdf") + kinds.count("tiff") < paged:
        return f"{paged} documents, found {kinds}"
    if kinds.count("png") + kinds.count("jpeg") + pictures + reported < drawn:
        return f"{drawn} pictures, found {kinds} and {letter.skipped}"
    return ""


def mute(letter: Letter, row: dict[str, str]) -> str:
    """A body that common libraries see, and we do not."""
    is_said = letter.text or letter.parts or REPORTED in " ".join(letter.skipped)
    return "no text" if row.get("body", "none") != "none" and not is_said else ""


NO_TEXT = {  # HTML with nothing in it but a picture
    "mail/mikel-mail__attachment_emails__attachment_message_rfc822_inline_image.eml",
}


def test_verdicts(tmp_path: Path) -> None:
    faults = {}
    refused = 0
    for name, row in rows().items():
        path = CORPUS / name
        facts = scan(path.read_bytes())
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", facts.subject + facts.message_id), name
        found = verdict(path, tmp_path)
        if isinstance(found, str):
            refused += 1
            assert found.endswith("."), name
            assert found.isprintable(), name
        elif fault := lost(found, row) or mute(found, row):
            faults[name] = fault
    assert faults.keys() == NO_TEXT
    assert refused == 94  # encrypted, split, Office, web pages, of an unknown kind, damaged
