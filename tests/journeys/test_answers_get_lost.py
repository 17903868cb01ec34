"""The provider takes a fax and its answer is lost: found in the list, bound, never sent twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.house import house, wait_for
from tests.make import pdf

pytestmark = pytest.mark.slow

NUMBER = "+14155610000"


def fault(
    action: str, *, after_accept: bool = False, times: int = 1, **params: Any
) -> dict[str, Any]:
    return {
        "action": action, "params": params, "times": times,
        "match": {"method": "PUT", "path_regex": "/faxes$", "after_accept": after_accept},
    }  # fmt: skip


@pytest.mark.parametrize(
    "rule",
    [
        fault("drop_after_accept", reset=True),
        fault("drop_after_accept", reset=False),
        fault("status", after_accept=True, code=500, body="html"),
        fault("status", after_accept=True, code=503, body="empty"),
        fault("garbage", after_accept=True, kind="html"),
        fault("garbage", after_accept=True, kind="empty"),
    ],
    ids=str,
)
def test_taken_but_not_told(tmp_path: Path, rule: dict[str, Any]) -> None:
    with house(tmp_path, settings={"INBOUND": "off"}) as home:
        home.control("faults", rule)
        home.send(f"{NUMBER}@fax.local", content=pdf(2))
        (fax,) = home.all_closed(1)
        assert (fax["cause"], fax["result_pages"]) == ("", 2)
        assert Counter(job["to_number"] for job in home.jobs()) == {NUMBER: 1}
        assert "delivered" in home.notice()["subject"]


@pytest.mark.parametrize(
    "rule",
    [
        fault("status", code=429, headers={"Retry-After": "1"}),
        fault("status", code=401),
        fault("status", code=402),
        fault("status", code=404),
    ],
    ids=str,
)
def test_refused_now_and_taken_later(tmp_path: Path, rule: dict[str, Any]) -> None:
    with house(tmp_path, settings={"INBOUND": "off"}) as home:
        home.control("faults", rule)
        home.send(f"{NUMBER}@fax.local", content=pdf(1))
        (fax,) = home.all_closed(1)
        assert fax["cause"] == ""
        assert len(home.jobs()) == 1


def test_nothing_is_known_so_a_person_decides(tmp_path: Path) -> None:
    """Lost on the way, and no list ever showed a fax at work: held, and both are told."""
    settings = {"INBOUND": "off", "FAX_ABSENT_AFTER": "1s"}
    with house(tmp_path, settings=settings) as home:
        home.control("faults", fault("drop_before"))
        home.send(f"{NUMBER}@fax.local", content=pdf(1))
        wait_for(lambda: any(f["told"] for f in home.faxes()) or None, "the hold to be told", 60)
        (fax,) = home.faxes()
        assert "may have been sent" in fax["held"]
        assert home.jobs() == []
        told = {recipient: m["subject"] for m in home.mails() for recipient in m["recipients"]}
        assert "not known whether it was sent" in told["ann@example.com"]
        assert "needs you" in told["admin@example.com"]
