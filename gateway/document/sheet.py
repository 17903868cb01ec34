"""Where a picture lies on its sheet of paper. Points, 72 to the inch; the origin is below left."""

from __future__ import annotations

from dataclasses import dataclass

PAPERS = {"letter": (612.0, 792.0), "a4": (595.28, 841.89)}
TOP = 36.0  # above a picture that does not fill the sheet
FULL = 0.85  # of the height: what is taller is a scanned sheet itself


@dataclass(frozen=True, slots=True)
class Sheet:
    width: float
    height: float
    box: tuple[float, float, float, float]  # of the picture: left, bottom, width, height


def natural(width: float, height: float) -> Sheet:
    """The sheet is as big as what is on it."""
    return Sheet(width, height, (0.0, 0.0, width, height))


def on_paper(width: float, height: float, paper: str) -> Sheet:
    """On the paper, turned when a lying picture needs it; shrunk if too big, never blown up."""
    across, down = PAPERS[paper]
    if width > height and width > across * FULL:
        across, down = down, across
    scale = min(1.0, across / width, down / height)
    width, height = width * scale, height * scale
    bottom = (down - height) / 2 if height > down * FULL else down - height - TOP
    return Sheet(across, down, ((across - width) / 2, bottom, width, height))
