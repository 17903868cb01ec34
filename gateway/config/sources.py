"""Where settings come from: the env file, the environment over it, secrets from files of their own.

Secrets may come as `NAME_FILE=/path` or as a systemd credential.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from gateway.config.settings import Config

DEFAULT_FILE = Path("/etc/fax-gateway/config.env")
_NAMES = tuple(Config.model_fields)


@dataclass
class Given:
    """The text of each setting, where it stands, and what was wrong with its source."""

    file: Path | None
    values: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def place(self, name: str) -> str:
        """`file:line`, or that it is the environment."""
        return self.places.get(name, "environment")

    def take_secrets(self, credentials: str) -> None:
        """Replace NAME_FILE by the file's text, add systemd's credentials."""
        files = {
            name: Path(self.values.pop(name + "_FILE"))
            for name in _NAMES
            if name + "_FILE" in self.values and name + "_FILE" not in _NAMES
        }
        for name, path in (files | self._credentials(credentials)).items():
            try:
                self.values[name] = path.read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                self.problems.append(f"{name}: {path} cannot be read: {error}")

    def _credentials(self, directory: str) -> dict[str, Path]:
        if not directory:
            return {}
        try:
            present = list(Path(directory).iterdir())
        except OSError as error:
            why = f"CREDENTIALS_DIRECTORY={directory} cannot be read: {error.strerror}"
            self.problems.append(why)
            return {}
        return {path.name: path for path in present if path.name in _NAMES}

    def refuse_unknown(self, environ: Iterable[str]) -> None:
        """Names that are no setting. In the environment others live too: near misses alone."""
        near = [
            name
            for name in environ
            if name.isupper()
            and not _is_ours(name)
            and difflib.get_close_matches(name, _NAMES, 1, 0.9)
        ]
        unknown = [name for name in self.values if name not in _NAMES]
        for name in unknown:
            del self.values[name]
        self.problems += [self._no_setting(name) for name in (*near, *unknown)]

    def _no_setting(self, name: str) -> str:
        near = difflib.get_close_matches(name, _NAMES, 1, 0.6)
        hint = f": did you mean {near[0]}?" if near else "; config.example.env lists all names"
        return f"{self.place(name)}: {name} is not a setting{hint}"


def gather(env_file: Path | None, environ: Mapping[str, str]) -> Given:
    """The file (the given one, else a default one), and over it our names of the environment."""
    file = env_file or next((f for f in (DEFAULT_FILE, Path("config.env")) if f.exists()), None)
    given = Given(file)
    if file:
        _read(file, given)
    for name in filter(_is_ours, environ):
        given.values[name] = environ[name]
        given.places.pop(name, None)
    return given


def _read(file: Path, given: Given) -> None:
    try:
        with file.open(encoding="utf-8") as stream:
            bindings = list(parse_stream(stream))  # no ${} expansion: a password may hold one
    except (OSError, UnicodeDecodeError) as error:
        given.problems.append(f"{file} cannot be read: {error}")
        return
    given.values = {b.key: b.value or "" for b in bindings if b.key}
    given.places = {b.key: f"{file}:{_line(b)}" for b in bindings if b.key}
    given.problems += [
        f"{file}:{_line(b)}: {b.original.string.strip()[:40]!r} is no NAME=value line"
        for b in bindings
        if b.error
    ]
    lines = Counter(b.key for b in bindings if b.key)
    given.problems += [f"{given.places[n]}: {n} stands twice" for n in lines if lines[n] > 1]


def _line(binding: Binding) -> int:
    """Where it stands; blank lines before it are part of what the parser gives."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _is_ours(name: str) -> bool:
    return name in _NAMES or name.removesuffix("_FILE") in _NAMES
