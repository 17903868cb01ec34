"""How a notice looks: the same title, sentences, facts and picture as plain text and as HTML.

Mail programs know no stylesheets: every style stands at its element, and nothing is fetched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

from gateway.mail.compose import Attachment

_PAGE = (
    '<!doctype html><html><body style="margin:0;font-family:sans-serif;font-size:15px;color:#222">'
    '<div style="max-width:42em;padding:4px 16px;border-left:5px solid {color}">'
    '<h2 style="font-size:19px;margin:10px 0">{title}</h2>{body}</div></body></html>\n'
)
_NAME = '<td style="padding:2px 16px 2px 0;color:#666;vertical-align:top;white-space:nowrap">'
_VALUE = '<td style="padding:2px 0;vertical-align:top;word-break:break-word">'
_PICTURE = '<td style="padding:2px 0 2px 24px;vertical-align:top">'


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a notice says. `color` tells at a glance whether all is well."""

    title: str
    color: str
    say: list[str]
    facts: list[tuple[str, str]]
    left_out: list[str] = field(default_factory=list)
    picture: Attachment | None = None


def text(sheet: Sheet) -> str:
    facts = [(name, value) for name, value in sheet.facts if value]
    blocks = [
        "\n\n".join(sheet.say),
        "\n".join(f"{name + ':':<17} {value}" for name, value in facts),
    ]
    if sheet.left_out:
        blocks.append("Not on the fax:\n" + "\n".join(f"- {one}" for one in sheet.left_out))
    return "\n\n".join(blocks) + "\n"


def html(sheet: Sheet) -> str:
    say = "".join(f'<p style="margin:10px 0">{escape(one)}</p>' for one in sheet.say)
    rows = "".join(
        f"<tr>{_NAME}{escape(name)}</td>{_VALUE}{escape(value)}</td></tr>"
        for name, value in sheet.facts
        if value
    )
    table = f'<table style="font-size:14px;border-collapse:collapse">{rows}</table>'
    return _PAGE.format(
        color=sheet.color,
        title=escape(sheet.title),
        body=say + _beside(table + _left_out(sheet.left_out), sheet.picture),
    )


def _left_out(names: list[str]) -> str:
    items = "".join(f"<li>{escape(one)}</li>" for one in names)
    return f'<p style="margin:14px 0 4px">Not on the fax:</p><ul>{items}</ul>' if items else ""


def _beside(table: str, picture: Attachment | None) -> str:
    """The first page in small, at the right of the facts."""
    if picture is None:
        return table
    image = (
        f'<img src="cid:{escape(picture.content_id)}" alt="First page" width="150" '
        'style="border:1px solid #ccc">'
    )
    return (
        '<table style="border-collapse:collapse"><tr>'
        f'<td style="padding:0;vertical-align:top">{table}</td>{_PICTURE}{image}</td></tr></table>'
    )
