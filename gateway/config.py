"""The env file and the environment → one frozen `Config`; the only reader of either.

All problems are found at once and told in a sysadmin's words: name, value, what is allowed, and
where it stands. Secrets may also come as `NAME_FILE=/path` or as a systemd credential, and are
never in a repr.
"""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email.utils import formataddr
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv.parser import Binding, parse_stream
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)

from gateway.values import (
    Address,
    Countries,
    Country,
    Domains,
    Duration,
    Listen,
    Mailbox,
    Networks,
    Number,
    ProviderUrl,
    RelayUrl,
    Size,
    is_local,
)

_IN_PLACE = {  # of missing ones, so that the others can be judged
    "AUDIAN_ACCOUNT_ID": "missing",
    "AUDIAN_AUTH_TOKEN": "missing",
    "FAX_FROM_NUMBER": "+14155550100",
}
Problem = Mapping[str, Any]  # pydantic's ErrorDetails
DEFAULT_FILE = Path("/etc/fax-gateway/config.env")


class ConfigError(Exception):
    """Everything that is wrong, one sentence each. `rest` is what can be made of the right ones."""

    def __init__(self, problems: list[str], rest: Config | None = None) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.rest = rest


class Config(BaseModel):
    """Every setting, by its environment name. Durations in seconds, sizes in bytes."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True
    )

    AUDIAN_URL: ProviderUrl = "https://api.audian.com:8443"
    AUDIAN_ACCOUNT_ID: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    AUDIAN_AUTH_TOKEN: SecretStr
    AUDIAN_AUTH: Literal["token", "bearer"] = "token"
    AUDIAN_PROFILE: Literal["auto", "documented"] = "auto"
    AUDIAN_MAX_DOWNLOADS: Annotated[int, Field(ge=1, le=10)] = 10
    AUDIAN_REQUESTS_PER_SECOND: Annotated[float, Field(gt=0, le=1000)] = 5.0

    FAX_DOMAINS: Domains = ("fax.local",)
    FAX_FROM_NUMBER: Number
    FAX_HOME_COUNTRY: Country = "US"
    FAX_ALLOWED_COUNTRIES: Countries = ()
    FAX_MAX_PAGES: Annotated[int, Field(ge=1, le=1000)] = 200
    FAX_MAX_RECIPIENTS: Annotated[int, Field(ge=1, le=100)] = 20
    FAX_QUEUE_LIFE: Duration = 86400.0
    FAX_TRACK_INTERVAL: Duration = 15.0
    FAX_ABSENT_AFTER: Duration = 600.0
    FAX_RETENTION_SENT: Duration = 7 * 86400.0
    FAX_RETENTION_FAILED: Duration = 30 * 86400.0
    FAX_RETENTION_RECEIVED: Duration = 30 * 86400.0

    SMTP_LISTEN: Listen = Address("127.0.0.1", 2525)
    SMTP_TRUSTED_NETWORKS: Networks = (
        ip_network("127.0.0.0/8"),
        ip_network("::1"),
    )
    SMTP_MAX_MESSAGE: Annotated[Size, Field(ge=65536, le=200_000_000)] = 35_000_000

    RELAY_URL: RelayUrl = "smtp://localhost:25"
    RELAY_PASSWORD: SecretStr = SecretStr("")
    MAIL_FROM: Mailbox = ""
    MAIL_ADMIN: Mailbox = ""

    INBOUND: Literal["both", "webhook", "poll", "off"] = "both"
    INBOUND_POLL_INTERVAL: Duration = 60.0
    INBOUND_ARCHIVE: bool = True
    WEB_LISTEN: Listen = Address("127.0.0.1", 8025)
    WEBHOOK_SECRET: SecretStr = SecretStr("")
    WEBHOOK_HMAC_SECRET: SecretStr = SecretStr("")

    RULES_FILE: Path = Path("rules.toml")
    DATA_DIR: Path = Path("/var/lib/fax-gateway")

    LOG_LEVEL: Literal["debug", "info", "warning", "error"] = "info"
    LOG_FORMAT: Literal["auto", "console", "json"] = "auto"
    LOG_NUMBERS: Literal["masked", "full"] = "masked"

    @property
    def mail_from(self) -> str:
        return self.MAIL_FROM or formataddr(("Fax Gateway", f"fax@{self.FAX_DOMAINS[0]}"))

    @property
    def countries(self) -> frozenset[str]:
        return frozenset(self.FAX_ALLOWED_COUNTRIES or (self.FAX_HOME_COUNTRY,))

    def secrets(self) -> list[str]:
        """Every secret's text, for the log to keep out."""
        texts = (getattr(self, name).get_secret_value() for name in self.secret_names())
        return [text for text in texts if text]

    def secret_names(self) -> list[str]:
        fields = type(self).model_fields
        return [name for name in fields if isinstance(getattr(self, name), SecretStr)]

    def shown(self) -> dict[str, str]:
        """Each setting as text, secrets hidden; for `check`."""
        return {name: _shown(getattr(self, name)) for name in type(self).model_fields}

    @property
    def paper(self) -> Literal["letter", "a4"]:
        """Letter where people use it (CLDR measurement and paper data), A4 elsewhere."""
        letter = {"US", "CA", "MX", "PH", "PR", "CL", "CO", "CR", "GT", "NI", "PA", "SV", "VE"}
        return "letter" if self.FAX_HOME_COUNTRY in letter else "a4"


def _conflicts(config: Config) -> Iterator[str]:
    """What is wrong only together."""
    secret = config.WEBHOOK_SECRET.get_secret_value()
    if config.INBOUND in ("both", "webhook") and not re.fullmatch(r"[\w-]{22,200}", secret):
        yield (
            "WEBHOOK_SECRET is wanted: at least 22 letters, digits, - or _ (128 bit); make one "
            "with: python3 -c 'import secrets; print(secrets.token_urlsafe())' "
            "- or set INBOUND=poll"
        )
    if config.INBOUND != "off" and not (config.RULES_FILE.exists() or config.MAIL_ADMIN):
        yield (
            f"RULES_FILE={config.RULES_FILE} is not there and MAIL_ADMIN is not set: "
            "nobody would get the received faxes"
        )
    relay = urlsplit(config.RELAY_URL)
    if bool(relay.username) != bool(config.RELAY_PASSWORD):
        yield "RELAY_URL names the user and RELAY_PASSWORD is theirs: set both or none"
    if relay.username and relay.scheme == "smtp" and not is_local(relay.hostname):
        yield (
            "RELAY_URL sends RELAY_PASSWORD in plain words: smtp+starttls:// or smtps:// is wanted"
        )


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "(set)" if value else ""
    if isinstance(value, Address):
        return f"{value.host}:{value.port}"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)


def load(
    env_file: Path | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Config, Path | None]:
    """Read the env file (see `DEFAULT_FILE`), then the environment over it.

    Returns the settings and the file they came from, None = none. Raises ConfigError.
    """
    environ = os.environ if environ is None else environ
    file, values, places, problems = _gather(env_file, environ)
    problems += _misspelt(environ)
    problems += _secrets(values, environ.get("CREDENTIALS_DIRECTORY", ""))
    if file and "RULES_FILE" not in values:
        values["RULES_FILE"] = str(file.parent / "rules.toml")
    for name in [name for name in values if name not in Config.model_fields]:
        problems.append(_unknown(name, places))
        del values[name]
    config, wrong = _validated({name: value for name, value in values.items() if value != ""})
    problems += [_sentence(one, values, places) for one in wrong]
    names = {_name(one) for one in wrong}
    problems += [one for one in _conflicts(config) if not names & set(re.findall(r"\w+", one))]
    if problems:
        raise ConfigError(problems, config)
    return config, file


def _validated(values: dict[str, str]) -> tuple[Config, Sequence[Problem]]:
    """The settings, and what is wrong with some: these then have their defaults."""
    try:
        return Config.model_validate(values), []
    except ValidationError as error:
        wrong = error.errors(include_url=False)
    right = {name: value for name, value in values.items() if name not in map(_name, wrong)}
    return Config.model_validate(_IN_PLACE | right), wrong


def data_dir(env_file: Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """DATA_DIR alone: who only looks at faxes needs no secrets, which only the service may have."""
    if env_file and not os.access(env_file, os.R_OK):
        raise ConfigError([f"{env_file} cannot be read"])
    _, values, _, _ = _gather(env_file, os.environ if environ is None else environ)
    return Path(values.get("DATA_DIR") or Config.model_fields["DATA_DIR"].default)


def _gather(
    env_file: Path | None, environ: Mapping[str, str]
) -> tuple[Path | None, dict[str, str], dict[str, str], list[str]]:
    """The file, the values of it and of the environment, their places, what was unreadable."""
    file = env_file or next((f for f in (DEFAULT_FILE, Path("config.env")) if f.exists()), None)
    values, places, problems = _read(file)
    values |= {name: value for name, value in environ.items() if _is_ours(name)}
    return file, values, places, problems


def _read(file: Path | None) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Values of the file, `file:line` of each, and what could not be read."""
    if file is None:
        return {}, {}, []
    try:
        with file.open(encoding="utf-8") as stream:
            bindings = list(parse_stream(stream))  # no ${} expansion: a password may hold one
    except (OSError, UnicodeDecodeError) as error:
        return {}, {}, [f"{file} cannot be read: {error}"]
    values = {b.key: b.value or "" for b in bindings if b.key}
    places = {b.key: f"{file}:{_line(b)}" for b in bindings if b.key}
    problems = [
        f"{file}:{_line(b)}: {b.original.string.strip()[:40]!r} is no NAME=value line"
        for b in bindings
        if b.error
    ]
    lines = Counter(b.key for b in bindings if b.key)
    problems += [f"{places[name]}: {name} stands twice" for name in lines if lines[name] > 1]
    return values, places, problems


def _line(binding: Binding) -> int:
    """Where it stands; blank lines before it are part of what the parser gives."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _is_ours(name: str) -> bool:
    return name in Config.model_fields or name.removesuffix("_FILE") in Config.model_fields


def _misspelt(names: Iterable[str]) -> list[str]:
    """In the environment others live too: only a near miss of one of our names is a mistake."""
    return [
        _unknown(name, {})
        for name in names
        if name.isupper()
        and not _is_ours(name)
        and difflib.get_close_matches(name, Config.model_fields, 1, 0.9)
    ]


def _secrets(values: dict[str, str], credentials: str) -> list[str]:
    """Replace NAME_FILE by the file's text, add systemd credentials; returns problems."""
    problems = []
    sources = {
        name: Path(values.pop(name + "_FILE"))
        for name in Config.model_fields
        if name + "_FILE" in values and name + "_FILE" not in Config.model_fields
    }
    if credentials:
        try:
            present = list(Path(credentials).iterdir())
        except OSError as error:
            present = []
            problems.append(f"CREDENTIALS_DIRECTORY={credentials} cannot be read: {error.strerror}")
        sources |= {path.name: path for path in present if path.name in Config.model_fields}
    for name, path in sources.items():
        try:
            values[name] = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{name}: {path} cannot be read: {error}")
    return problems


def _unknown(name: str, places: Mapping[str, str]) -> str:
    near = difflib.get_close_matches(name, Config.model_fields, 1, 0.6)
    hint = f": did you mean {near[0]}?" if near else "; config.example.env lists all names"
    return f"{places.get(name, 'environment')}: {name} is not a setting{hint}"


def _name(error: Problem) -> str:
    return str(error["loc"][0])


def _sentence(error: Problem, values: Mapping[str, str], places: Mapping[str, str]) -> str:
    name = _name(error)
    said = re.sub(r"^(Value|Assertion) error, ", "", error["msg"])
    said = re.sub(r"^Input should be ", "allowed is ", said)
    if error["type"] == "missing":
        return f"{name} is missing; config.example.env says what it means"
    secret = Config.model_fields[name].annotation is SecretStr
    shown = "…" if secret else re.sub(r"(://[^/@]*:)[^/]*@", r"\1…@", values.get(name, ""))
    return f"{places.get(name, 'environment')}: {name}={shown}: {said}"
