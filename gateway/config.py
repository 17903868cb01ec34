"""The env file and the environment → one frozen `Config`; the only reader of either.

All problems are found at once and told in a sysadmin's words: name, value, what is allowed, and
where it stands. Secrets may also come as `NAME_FILE=/path` or as a systemd credential, and are
never in a repr.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from email.utils import formataddr
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv.parser import parse_stream
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
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
)

DEFAULT_FILE = Path("/etc/fax-gateway/config.env")


class ConfigError(Exception):
    """Everything that is wrong, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


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

    @model_validator(mode="after")
    def _together(self) -> Config:
        problems = []
        secret = self.WEBHOOK_SECRET.get_secret_value()
        if self.INBOUND in ("both", "webhook") and not re.fullmatch(r"[\w-]{22,200}", secret):
            problems.append(
                "WEBHOOK_SECRET is wanted: at least 22 letters, digits, - or _ (128 bit); make one "
                "with: python3 -c 'import secrets; print(secrets.token_urlsafe())' "
                "- or set INBOUND=poll"
            )
        if self.INBOUND != "off" and not (self.RULES_FILE.exists() or self.MAIL_ADMIN):
            problems.append(
                f"RULES_FILE={self.RULES_FILE} is not there and MAIL_ADMIN is not set: "
                "nobody would get the received faxes"
            )
        if problems:
            raise ConfigError(problems)
        return self

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
    try:
        config = Config.model_validate({name: v for name, v in values.items() if v != ""})
    except ValidationError as error:
        problems += [_sentence(one, values, places) for one in error.errors(include_url=False)]
        raise ConfigError(problems) from None
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    return config, file


def data_dir(env_file: Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """DATA_DIR alone: who only looks at faxes needs no secrets, which only the service may have."""
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
    places = {b.key: f"{file}:{b.original.line}" for b in bindings if b.key}
    problems = [
        f"{file}:{b.original.line}: {b.original.string.strip()[:40]!r} is no NAME=value line"
        for b in bindings
        if b.error
    ]
    return values, places, problems


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
        present = (Path(credentials, name) for name in Config.model_fields)
        sources |= {path.name: path for path in present if path.exists()}
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


def _sentence(error: Any, values: Mapping[str, str], places: Mapping[str, str]) -> str:  # noqa: ANN401
    name = str(error["loc"][0]) if error["loc"] else ""
    said = re.sub(r"^(Value|Assertion) error, ", "", error["msg"])
    if error["type"] == "missing":
        return f"{name} is missing; config.example.env says what it means"
    secret = Config.model_fields[name].annotation is SecretStr if name else False
    shown = "…" if secret else values.get(name, "")
    return f"{places.get(name, 'environment')}: {name}={shown}: {said}"
