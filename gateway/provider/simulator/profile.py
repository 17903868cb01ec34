"""What a simulated provider is like: the switches of its profile, its knobs, its account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from gateway.provider.simulator.faults import Rule

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Profile:
    """Where readings of the provider's documents differ; a profile is a preset of switches."""

    name: str = "documented"
    submit_code: int = 202  # the reply to an accepted fax: 200, 201 or 202
    delete_code: int = 204  # 204, or 200 with the deleted fax
    archive_twice: int = 200  # the reply to the second archive: 200 or 409
    page_default: int = 25  # rows of a family A list unless paginate=false
    page_max: int = 100


PROFILES: Mapping[str, Profile] = MappingProxyType({"documented": Profile()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds before scaling. "At most": drawn for each fax between 0 and that."""

    t_accept: float = 0.2  # the submission is stored, its answer still under way
    t_index_lag: float = 3.0  # at most: a new fax has details but is in no list yet
    t_queue: float = 5.0  # at most: pending
    t_convert: float = 2.0  # processing
    t_dial: float = 8.0  # sending begins
    t_negotiate: float = 10.0
    t_page: float = 30.0
    retry_after: float = 300.0  # pending again between two calls of one fax
    t_list: float = 0.0  # inbound: before it is listed
    t_attach: float = 10.0  # inbound, at most: listed, but its document still answers 404
    t_hook: float = 1.0  # inbound: before the webhook fires
    hook_tries: tuple[float, ...] = (0.0, 300.0, 1800.0, 14400.0, 86400.0)  # after the first


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    account_id: str = "acct_sandbox"
    token: str = "sandbox-token"  # noqa: S105 - a sandbox's well-known credential
    api_key: str = "sandbox-key"
    profile: Profile = PROFILES["documented"]
    timing: Timing = field(default_factory=Timing)
    time_scale: float = 1.0  # 0 = all at once; dates stay near the truth whatever the scale
    seed: int = 0
    calls: int = 1  # how often the provider itself dials one fax; the documents: the client retries
    max_outbound: int = 10  # calls at the same time; 0 = no limit
    max_downloads: int = 10
    max_numbers: int = 100
    max_body: int = 100 * MIB
    token_ttl: float = 3600.0  # of tokens from api_auth, seconds, not scaled
    hooks: tuple[str, ...] = ()  # told of every received fax, besides those registered later
    remote_hooks: bool = False  # a sandbox does not shoot at strangers unless told to
    faults: tuple[Rule, ...] = ()


def profile(name: str) -> Profile:
    """The preset of that name.

    Raises:
        ValueError: a sentence with the names there are.
    """
    if name not in PROFILES:
        raise ValueError(f"no profile {name!r}; there is: {', '.join(PROFILES)}")
    return PROFILES[name]
