"""SIGTERM in the middle of everything: what was begun is finished, the rest goes on next time."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from tests.journeys.house import House, house, letter, wait_for
from tests.make import pdf

ADDRESS = "+14155610000@fax.local"


def talk(home: House) -> tuple[socket.socket, list[str]]:
    """A client in the middle of DATA."""
    host, _, port = home.smtp.rpartition(":")
    client = socket.create_connection((host, int(port)), timeout=30)
    said = [read(client)]
    for line in ("EHLO x", "MAIL FROM:<ann@example.com>", f"RCPT TO:<{ADDRESS}>", "DATA"):
        client.sendall(f"{line}\r\n".encode())
        said.append(read(client))
    return client, said


def read(client: socket.socket) -> str:
    reply = ""
    while not reply.endswith("\n") or reply.splitlines()[-1][3:4] == "-":
        block = client.recv(4096).decode()
        if not block:
            break
        reply += block
    return reply


def test_a_mail_under_way_is_taken(tmp_path: Path) -> None:
    with house(tmp_path, settings={"INBOUND": "off"}) as home:
        client, said = talk(home)
        assert said[-1].startswith("354")
        mail = letter(ADDRESS, content=pdf(1))
        client.sendall(mail[:500])
        assert home.daemon.process
        home.daemon.process.send_signal(signal.SIGTERM)
        wait_for(lambda: refused(home) or None, "the door to close")
        client.sendall(mail[500:] + b"\r\n.\r\n")
        assert read(client).startswith("250 2.0.0 accepted as ")
        client.close()
        assert home.daemon.end() == 0
        home.start()
        home.all_closed(1)
        assert len(home.jobs()) == 1


def refused(home: House) -> bool:
    host, _, port = home.smtp.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=5) as late:
            late.settimeout(5)
            return late.recv(3) in (b"", b"421")
    except OSError:
        return True


def test_faxes_at_work_go_on_after_the_start(tmp_path: Path) -> None:
    with house(tmp_path, settings={"INBOUND": "off"}, time_scale="0.1") as home:
        numbers = [f"+1415561{i:02}00@fax.local" for i in range(20, 35)]
        home.send(*numbers, content=pdf(2))
        assert home.daemon.end() == 0
        home.start()
        home.all_closed(15)
        called = [job["to_number"] for job in home.jobs()]
        assert sorted(called) == sorted(n.partition("@")[0] for n in numbers)
