"""Settings: every mistake is named at once, secrets stay secret, the example file is complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.config import Config, ConfigError, load
from gateway.config.values import Address

GOOD = {
    "AUDIAN_ACCOUNT_ID": "acc",
    "AUDIAN_AUTH_TOKEN": "s3cret",
    "FAX_FROM_NUMBER": "+14155550199",
    "INBOUND": "off",
}
EXAMPLE = Path(__file__).parent.parent / "config.example.env"


def problems(environ: dict[str, str], file: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(file, environ)
    return caught.value.problems


def test_the_example_names_every_setting_with_its_default() -> None:
    lines = re.findall(r"^#?([A-Z][A-Z_]+)=(.*)$", EXAMPLE.read_text("utf-8"), re.MULTILINE)
    assert [name for name, _ in lines] == list(dict(lines)), "a name stands twice"
    assert set(dict(lines)) == set(Config.model_fields)
    skipped = ("RULES_FILE", "INBOUND")
    optional = {name: value for name, value in lines if value and name not in skipped}
    config, _ = load(None, GOOD | optional)
    plain, _ = load(None, GOOD)
    assert config == plain


def test_all_problems_at_once(tmp_path: Path) -> None:
    file = tmp_path / "config.env"
    file.write_text(
        "AUDIAN_ACCOUNT_ID=acc\nFAX_FROM_NUMER=+14155550199\nFAX_QUEUE_LIFE=24\nnonsense here\n"
        "AUDIAN_URL=http://provider.example\nSMTP_LISTEN=2525\nINBOUND=webhook\n"
    )
    found = problems({}, file)
    for text in (
        f"{file}:4: 'nonsense here' is no NAME=value line",
        f"{file}:2: FAX_FROM_NUMER is not a setting: did you mean FAX_FROM_NUMBER?",
        "AUDIAN_AUTH_TOKEN is missing",
        f"{file}:3: FAX_QUEUE_LIFE=24: a number with its unit is wanted",
        f"{file}:5: AUDIAN_URL=http://provider.example: plain http is allowed to this machine only",
        f"{file}:6: SMTP_LISTEN=2525: host:port is wanted",
    ):
        assert any(text in problem for problem in found), text


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("FAX_FROM_NUMBER", "4155550199", "international form"),
        ("FAX_HOME_COUNTRY", "XX", "two-letter country"),
        ("FAX_ALLOWED_COUNTRIES", "US,Germany", "two-letter country"),
        ("FAX_DOMAINS", "fax local", "mail domain"),
        ("SMTP_TRUSTED_NETWORKS", "10.0.0.0/99", "networks such as"),
        ("SMTP_MAX_MESSAGE", "many", "25MB"),
        ("RELAY_URL", "mail.example", "smtp://host:25"),
        ("MAIL_FROM", "fax@", "mail address"),
        ("AUDIAN_MAX_DOWNLOADS", "11", "less than or equal to 10"),
        ("AUDIAN_ACCOUNT_ID", "../x", "pattern"),
        ("INBOUND_ARCHIVE", "perhaps", "boolean"),
        ("LOG_LEVEL", "loud", "allowed is 'debug', 'info'"),
        ("FAX_MAX_PAGES", "0", "allowed is greater than or equal to 1"),
        ("WEB_LISTEN", "127.0.0.1:99999", "host:port"),
    ],
)
def test_wrong_values(name: str, value: str, says: str) -> None:
    (problem,) = problems(GOOD | {name: value})
    assert problem.startswith(f"environment: {name}={value}: ")
    assert says in problem


def test_a_misspelt_environment_name() -> None:
    assert "did you mean AUDIAN_ACCOUNT_ID?" in problems(GOOD | {"AUDIAN_ACOUNT_ID": "x"})[0]


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.env"
    file.write_text("FAX_MAX_PAGES=10\nFAX_MAX_RECIPIENTS=3\nFAX_QUEUE_LIFE=9h\n")
    config, _ = load(file, GOOD | {"FAX_MAX_PAGES": "20"})
    assert (config.FAX_MAX_PAGES, config.FAX_MAX_RECIPIENTS) == (20, 3)
    (problem,) = problems(GOOD | {"FAX_QUEUE_LIFE": "24"}, file)
    assert problem.startswith("environment: FAX_QUEUE_LIFE=24"), "not where the good one stands"


def test_values(tmp_path: Path) -> None:
    config, _ = load(
        None,
        GOOD
        | {"FAX_QUEUE_LIFE": "90m", "SMTP_MAX_MESSAGE": "25MB", "SMTP_LISTEN": "[::1]:2525",
           "FAX_DOMAINS": "fax.local, FAX.example", "FAX_ALLOWED_COUNTRIES": "us,ca"},
    )  # fmt: skip
    assert (config.FAX_QUEUE_LIFE, config.SMTP_MAX_MESSAGE) == (5400.0, 25_000_000)
    assert Address("::1", 2525) == config.SMTP_LISTEN
    assert config.FAX_DOMAINS == ("fax.local", "fax.example")
    assert config.countries == {"US", "CA"}
    assert config.mail_from == "Fax Gateway <fax@fax.local>"


def test_secrets_by_file_and_credential(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("by-file-${x}\n")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "WEBHOOK_SECRET").write_text("by-credential")
    (credentials / "SOMETHING_ELSE").write_text("not ours")
    environ = {k: v for k, v in GOOD.items() if k != "AUDIAN_AUTH_TOKEN"}
    environ |= {
        "AUDIAN_AUTH_TOKEN_FILE": str(tmp_path / "token"),
        "CREDENTIALS_DIRECTORY": str(credentials),
    }
    config, _ = load(None, environ)
    assert config.AUDIAN_AUTH_TOKEN.get_secret_value() == "by-file-${x}"
    assert config.WEBHOOK_SECRET.get_secret_value() == "by-credential"
    assert config.secrets() == ["by-file-${x}", "by-credential"]
    assert "by-file" not in repr(config) + str(config.shown())


def test_a_password_is_not_expanded(tmp_path: Path) -> None:
    file = tmp_path / "config.env"
    file.write_text("AUDIAN_AUTH_TOKEN='a${HOME}#b'\n")
    environ = {k: v for k, v in GOOD.items() if k != "AUDIAN_AUTH_TOKEN"}
    config, _ = load(file, environ | {"HOME": "/x"})
    assert config.AUDIAN_AUTH_TOKEN.get_secret_value() == "a${HOME}#b"


def test_a_secrets_value_is_never_shown_in_a_problem() -> None:
    found = problems({"RELAY_PASSWORD": "hunter2", "AUDIAN_AUTH_TOKEN": "s3cret"})
    assert "hunter2" not in str(found)
    assert "s3cret" not in str(found)


def test_the_relays_password_is_never_shown() -> None:
    (problem,) = problems(GOOD | {"RELAY_URL": "smtps://u:hunter2@host"})
    assert problem == (
        "environment: RELAY_URL=smtps://u:…@host: the password does not belong in the URL: "
        "set RELAY_PASSWORD"
    )


@pytest.mark.parametrize(
    ("url", "password", "says"),
    [
        ("smtp://u@mail.example", "hunter2", "plain words"),
        ("smtp+starttls://u@mail.example", "", "set both or none"),
        ("smtp+starttls://mail.example", "hunter2", "set both or none"),
        ("smtp+starttls://u@mail.example", "hunter2", ""),
        ("smtp://u@127.0.0.1", "hunter2", ""),
        ("smtp://mail.example", "", ""),
    ],
)
def test_the_relays_login(url: str, password: str, says: str) -> None:
    environ = GOOD | {"RELAY_URL": url, "RELAY_PASSWORD": password}
    if not says:
        load(None, environ)
        return
    (problem,) = problems(environ)
    assert says in problem
    assert "hunter2" not in problem


def test_a_name_that_stands_twice(tmp_path: Path) -> None:
    file = tmp_path / "config.env"
    file.write_text("FAX_MAX_PAGES=10\n\nFAX_MAX_PAGES=20\n")
    assert problems(GOOD, file) == [f"{file}:3: FAX_MAX_PAGES stands twice"]


def test_wrong_alone_and_wrong_together_are_told_at_once() -> None:
    """But nothing is said of what only follows from another mistake."""
    found = problems({"WEBHOOK_SECRET": "short", "MAIL_ADMIN": "nobody", "LOG_LEVEL": "loud"})
    assert [problem.split()[0] for problem in found[:3]] == [
        "AUDIAN_ACCOUNT_ID", "AUDIAN_AUTH_TOKEN", "FAX_FROM_NUMBER",
    ]  # fmt: skip
    assert any("WEBHOOK_SECRET is wanted" in problem for problem in found)
    assert any("MAIL_ADMIN=nobody" in problem for problem in found)
    assert not any("nobody would get" in problem for problem in found)


@pytest.mark.parametrize(
    ("admin", "says"),
    [
        ("postmaster@fax.local", "comes back to this door"),
        ("Admin <Admin@FAX.local>", "comes back to this door"),
        ("ann@14155550100.fax.local", "comes back to this door"),
        ("admin@notfax.local", ""),
        ("admin@example.com", ""),
    ],
)
def test_the_admin_reads_mail_elsewhere(admin: str, says: str) -> None:
    """Else alarms and received faxes are refused as loops, where nobody sees it."""
    environ = GOOD | {"MAIL_ADMIN": admin}
    if says:
        (problem,) = problems(environ)
        assert says in problem
    else:
        load(None, environ)


def test_inbound_needs_a_secret_and_somebody_to_get_the_faxes() -> None:
    found = problems(GOOD | {"INBOUND": "both", "WEBHOOK_SECRET": "short"})
    assert len(found) == 2
    assert "WEBHOOK_SECRET is wanted" in found[0]
    assert "nobody would get the received faxes" in found[1]
