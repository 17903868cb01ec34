"""The demo: gateway, provider simulator and mailbox on loopback, and a mail on its way through.

Everything is the product's own: the mail goes in by SMTP, the fax is followed at the simulated
provider, the received fax comes by webhook, and both time lines are printed as they happen.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway import log
from gateway.app import Gateway
from gateway.config import load
from gateway.demo.mailbox import Mailbox
from gateway.demo.pictures import Pictures
from gateway.demo.props import letter, send
from gateway.demo.viewer import viewer
from gateway.document import InspectTask
from gateway.doors.smtp import Kind
from gateway.errors import PermanentError
from gateway.model import Fax, State
from gateway.provider.simulator import Settings, Simulator, Timing
from gateway.web import WebServer

NUMBER = "+14155550100"
LINE = "+14155550199"
PERSON = "ann@example.com"
OFFICE = "office@example.com"
PATIENCE = 55.0  # s for both roads together
# Fast enough for 200 pages within our patience.
TIMING = Timing(
    t_page=0.15, t_queue=1.0, t_index_lag=0.5, t_dial=1.0, t_negotiate=1.0, t_attach=1.0
)


@dataclass
class Stage:
    """What plays in the demo."""

    root: Path
    simulator: Simulator
    mailbox: Mailbox
    gateway: Gateway
    pages: str  # web address of the mailbox
    began: float

    def say(self, road: str, what: str) -> None:
        sys.stdout.write(f"{time.time() - self.began:6.1f} s  {road:<10}  {what}\n")
        sys.stdout.flush()


async def play(*, once: bool, document: Path | None, keep: Path | None) -> bool:
    """Run the demo; True = the fax and the mail both arrived with the right pages."""
    root = keep or Path(tempfile.mkdtemp(prefix="fax-demo-"))
    root.mkdir(parents=True, exist_ok=True)
    log.setup("error")
    try:
        async with contextlib.AsyncExitStack() as stack:
            stage = await _set(stack, root)
            arrived = await _act(stage, document)
            if not once:
                await _linger(stage)
        return arrived
    finally:
        if not keep:
            shutil.rmtree(root, ignore_errors=True)


async def _set(stack: contextlib.AsyncExitStack, root: Path) -> Stage:
    """Build the stage: provider, mailbox, gateway, viewer."""
    secret = secrets.token_urlsafe()
    mailbox = Mailbox()
    await mailbox.start()
    stack.push_async_callback(mailbox.stop)
    settings = Settings(timing=TIMING, time_scale=1.0, seed=secrets.randbits(32))
    simulator = await stack.enter_async_context(Simulator(settings))
    config, _ = load(None, _environ(root, simulator, mailbox, secret))
    gateway = Gateway(config)
    ready = asyncio.Event()
    running = asyncio.create_task(gateway.run(lambda _: ready.set()))

    async def end() -> None:
        gateway.stop.set()
        await running

    stack.push_async_callback(end)
    await asyncio.wait({running, asyncio.create_task(ready.wait())}, return_when="FIRST_COMPLETED")
    if running.done():
        running.result()
    host, port = gateway.web.address
    await gateway.provider.register_webhook(f"http://{host}:{port}/webhook/{secret}")
    web = WebServer("127.0.0.1", 0, viewer(mailbox, Pictures(gateway.workshop, gateway.spool)))
    await web.start()
    stack.push_async_callback(web.stop)
    return Stage(
        root, simulator, mailbox, gateway, f"http://127.0.0.1:{web.address[1]}/", time.time()
    )


def _environ(root: Path, simulator: Simulator, mailbox: Mailbox, secret: str) -> dict[str, str]:
    settings = simulator.settings
    (root / "rules.toml").write_text(f'[[route]]\nmail = "{OFFICE}"\n', "utf-8")
    return {
        "AUDIAN_URL": simulator.url,
        "AUDIAN_ACCOUNT_ID": settings.account_id,
        "AUDIAN_AUTH_TOKEN": settings.token,
        "AUDIAN_REQUESTS_PER_SECOND": "20",
        "FAX_FROM_NUMBER": LINE,
        "FAX_TRACK_INTERVAL": "1s",
        "SMTP_LISTEN": "127.0.0.1:0",
        "WEB_LISTEN": "127.0.0.1:0",
        "WEBHOOK_SECRET": secret,
        "RELAY_URL": "smtp://{}:{}".format(*mailbox.address),
        "MAIL_ADMIN": OFFICE,
        "RULES_FILE": str(root / "rules.toml"),
        "DATA_DIR": str(root / "data"),
    }


async def _act(stage: Stage, document: Path | None) -> bool:
    """Both roads at once; True = both arrived as they should."""
    out = document or letter(stage.root / "contract.pdf", "Contract", 2)
    stage.say("demo", f"the mailbox: {stage.pages}   (all files: {stage.root})")
    try:
        async with asyncio.timeout(PATIENCE):
            arrived = await asyncio.gather(_outbound(stage, out), _inbound(stage))
    except TimeoutError:
        stage.say("demo", f"not done after {PATIENCE:.0f} s")
        return False
    stage.say("demo", "both arrived" if all(arrived) else "NOT everything arrived")
    return all(arrived)


async def _outbound(stage: Stage, document: Path) -> bool:
    """A mail becomes a fax, and its sender is told."""
    wanted = await _count(stage, document)
    to = f"{NUMBER}@fax.local"
    reply = await asyncio.to_thread(
        send, stage.gateway.smtp.addresses[Kind.MAIN], PERSON, to, document
    )
    stage.say("mail → fax", f"{PERSON} sends {document.name} to {to}: {reply}")
    if not reply.startswith("250 "):
        stage.say("mail → fax", "FAILED: the gateway refused the mail")
        return False
    fax = await _follow(stage, "mail → fax", lambda fax: fax.id == reply.split()[-1])
    notice = await stage.mailbox.wait_for(lambda got: PERSON in got.recipients)
    stage.say("mail → fax", f"{PERSON} reads: {notice.mail['Subject']}")
    stored = [job for job in stage.simulator.ledger.stored if job.to_number == NUMBER]
    if len(stored) != 1 or fax.cause or not wanted:
        stage.say("mail → fax", f"FAILED: {fax.reason or 'not exactly one fax at the provider'}")
        return False
    counts = (wanted, fax.pages, stored[0].pages, fax.result_pages)
    stage.say(
        "mail → fax",
        "pages: {} in the file, {} prepared, {} received, {} confirmed".format(*counts),
    )
    return len(set(counts)) == 1


async def _inbound(stage: Stage) -> bool:
    """A fax becomes a mail and is archived."""
    path = letter(stage.root / "received.pdf", "Purchase order", 3)
    fax_id = await stage.simulator.inject("+12025551234", LINE, path.read_bytes(), "John Smith")
    stage.say("fax → mail", f"a fax arrives at the provider: {fax_id}")
    await _follow(stage, "fax → mail", lambda fax: fax.provider_id == fax_id)
    got = await stage.mailbox.wait_for(
        lambda got: OFFICE in got.recipients and any(file.pages for file in got.files)
    )
    stage.say("fax → mail", f"{OFFICE} reads: {got.mail['Subject']}")
    counts = (3, *(file.pages for file in got.files))
    stage.say("fax → mail", "pages: {} sent, {} in the mail".format(*counts))
    return counts == (3, 3)


async def _count(stage: Stage, document: Path) -> int:
    """Pages of the file that is faxed, counted in the limited child; a picture has one."""
    if document.suffix.lower() not in (".pdf", ".tif", ".tiff"):
        return 1
    parts = stage.gateway.spool.part(), stage.gateway.spool.part()
    try:
        return (await stage.gateway.workshop.inspect(InspectTask(document, *parts))).pages
    except PermanentError:
        return 0  # the road itself will say why


async def _follow(stage: Stage, road: str, ours: Callable[[Fax], bool]) -> Fax:
    """Print the time line of the road's fax as it grows, until it is closed."""
    shown = 0
    while True:
        for fax in filter(ours, await stage.gateway.store.latest(10)):
            history = await stage.gateway.store.history(fax.id)
            for event in history[shown:]:
                stage.say(road, f"{event.state}{': ' + event.note if event.note else ''}")
            shown = len(history)
            if fax.state is State.CLOSED or fax.held:
                return fax
        await asyncio.sleep(0.1)


async def _linger(stage: Stage) -> None:
    """Stay for as long as the visitor likes; more mails may be sent."""
    host, port = stage.gateway.smtp.addresses[Kind.MAIN]
    stage.say("demo", f"send more mail to {host}:{port}; look at {stage.pages}; Ctrl-C ends")
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
