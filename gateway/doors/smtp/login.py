"""AUTH in a session: the exchange of lines, then the password, which others check."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from gateway.doors.smtp import replies
from gateway.doors.smtp.auth import Challenge, Credentials, Exchange
from gateway.doors.smtp.grammar import Hangup, Refused
from gateway.doors.smtp.settings import MOST_LOGIN_FAILURES
from gateway.doors.smtp.users import Users, Verdict

if TYPE_CHECKING:
    from gateway.doors.smtp.session import SmtpSession

log = structlog.get_logger()


class Login:
    """Who the client says it is. `name` is "" until that is proven."""

    def __init__(self, session: SmtpSession, users: Users) -> None:
        self.name = ""
        self._session = session
        self._users = users
        self._exchange: Exchange | None = None
        self._failures = 0

    @property
    def asked(self) -> bool:
        """The client's next line is no command."""
        return self._exchange is not None

    def begin(self, argument: str) -> None:
        exchange = Exchange(argument)
        self._go_on(exchange, exchange.begin())

    def give_up(self) -> None:
        """A line came that no mechanism can read (RFC 4954 §4)."""
        self._exchange = None

    def answer(self, line: bytes) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange:
            self._go_on(exchange, exchange.step(line.decode("latin-1")))

    def _go_on(self, exchange: Exchange, step: Challenge | Credentials) -> None:
        if isinstance(step, Challenge):
            self._exchange = exchange
            self._session.say(step.reply)
        else:
            self._session.later(self._prove(step))

    async def _prove(self, given: Credentials) -> None:
        try:
            verdict = await self._users.verify(given.name, given.password, self._session.peer)
        except Exception as error:  # noqa: BLE001 - no memory, no thread: ours, not the client's
            log.error("login_not_checked", error=repr(error))  # noqa: TRY400 - named
            raise Refused(replies.LOGIN_BUSY, "auth_busy") from None
        match verdict:
            case Verdict.OK:
                self.name = given.name
                self._session.logged_in()
                self._session.say(replies.LOGGED_IN)
                return
            case Verdict.BUSY:
                raise Refused(replies.LOGIN_BUSY, "auth_busy")
        self._failures += 1
        if self._failures >= MOST_LOGIN_FAILURES:
            raise Hangup(replies.TOO_MANY_FAILURES, "auth_fail")
        if verdict is Verdict.LOCKED:  # a right password must not look like a wrong one
            raise Refused(replies.LOCKED_OUT, "auth_locked")
        raise Refused(replies.BAD_LOGIN, "auth_fail")
