"""May a mail be faxed for its sender, as the SMTP door asks: permitted, and heard of. Pure."""

from __future__ import annotations

from collections.abc import Collection

from gateway.address import Destination, Kind, concerns, destination
from gateway.mail.compose import ADDRESS
from gateway.outbound.permit import Denied, Permit, Policy, Who

FAX_SENDER = "550 5.7.1 The sender is an address of ours: nobody could be told; set a mailbox"
NOT_TOLD = "553 5.1.7 Nobody could be told: the sender must be a mailbox such as ann@example.com"
AUTOMATIC = "550 5.7.1 Automatic mail is not faxed"
TOO_MANY_NUMBERS = "550 5.5.3 Too many numbers for one mail: send several"
NO_POSTMASTER = "550 5.1.1 Nobody reads this here: MAIL_ADMIN is not set"
BOUNCE = Denied(AUTOMATIC, "it is a bounce", "auto_mail")


def judge(policy: Policy, who: Who, domains: Collection[str], *, tolerant: bool) -> Permit | Denied:
    """`tolerant`: for copiers, which leave out the domain."""
    verdict = policy.sender(who)
    if isinstance(verdict, Denied):
        return BOUNCE if who.is_proven and not who.sender else verdict
    sender, heard = verdict.sender, bool(verdict.tell)
    if concerns(sender, domains):
        away = heard or _is_postmaster(sender, domains)  # or its notices would be refused here
        if policy.is_fax(sender, domains) or not away:
            return Denied(FAX_SENDER, f"{verdict.rule}, but a notice would come here", "fax_sender")
    if not (heard or tolerant or _is_mailbox(sender)):
        return Denied(NOT_TOLD, f"{verdict.rule}, but no notice would arrive", "fax_sender")
    return verdict


def _is_postmaster(sender: str, domains: Collection[str]) -> bool:
    found = destination(sender, domains)
    return isinstance(found, Destination) and found.kind is Kind.POSTMASTER


def _is_mailbox(sender: str) -> bool:
    """Can a notice be addressed to it? In other scripts that is for the smarthost to say."""
    return ADDRESS.fullmatch(sender) is not None or not sender.isascii()
