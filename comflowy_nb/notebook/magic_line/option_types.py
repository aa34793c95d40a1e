"""An option and a command of `%comflowy`, and how the values of options are parsed."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from IPython.core.error import UsageError

from comflowy_nb.errors import SettingsError
from comflowy_nb.images.save_target import check_before_submit
from comflowy_nb.settings import expand_home
from comflowy_nb.workflow.syntax.line import expand_ref, expand_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)([smhd]?)")
_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION_FORMS = "30, 30s, 5m, 2h or 30d"
# IPython calls `get_ipython` in every magic line, and stores cells in `In` and results in `Out`.
_RESERVED_NAME = re.compile(r"last|[rs]\d+|get_ipython|In|Out")

# What the value of an option names, which completion offers.
Named: TypeAlias = Literal[
    "axes", "axis", "condition", "fields", "file", "folder", "lines", "parts", "ref", "sweep axis", "table", "workflow"
]  # fmt: skip


def duration_s(text: str) -> float:
    """Parse a duration such as `30`, `30s`, `5m`, `2h` or `30d`; return seconds.

    Raises
    ------
    ValueError
        If the text is not a duration. The message lists the accepted forms.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"use {DURATION_FORMS}")
    return float(found[1]) * _UNIT_S[found[2]]


def whole_from(minimum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < minimum:
            raise ValueError(f"use a whole number, {minimum} or greater")
        return int(text)

    return parse


def identifier(text: str) -> str:
    if _RESERVED_NAME.fullmatch(text) or keyword.iskeyword(text):
        raise ValueError("it is reserved; use another name")
    if not text.isidentifier():
        raise ValueError("use a Python identifier, such as cats2 (not last, r1 or s1)")
    return text


def save_target(text: str) -> str:
    check_before_submit(expand_home(text))
    return text


def names_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def field_file(text: str) -> tuple[str, str]:
    key, sign, path = text.partition("=")
    if not (sign and key and path):
        raise ValueError("use FIELD=FILE, as in 6::text=prompts.txt")
    return key, path


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a command, such as `--as NAME`. An option without `value` is a flag.

    `names` is the kind of names that completion offers as value. For references and tables, `{name}` passes the Python
    object itself. An option with `repeats` may be typed several times; its value is a list.
    """

    name: str
    value: str | None
    help: str
    parse: Callable[[str], Any] = str
    choices: tuple[str, ...] = ()
    names: Named | None = None
    repeats: bool = False

    @property
    def key(self) -> str:
        return self.name.removeprefix("--")

    @property
    def accepted(self) -> str:
        """The choices as text: `failed, unknown, all or none`."""
        return " or ".join([", ".join(self.choices[:-1]), *self.choices[-1:]])

    def read(self, text: str, namespace: Mapping[str, Any]) -> Any:
        """Return the value of the option.

        Raises
        ------
        UsageError
            If the text is invalid. The message lists the accepted values.
        """
        if self.names in {"ref", "table"}:
            return expand_ref(text, namespace)
        expanded = expand_text(text, namespace)
        if self.choices and expanded not in self.choices:
            raise UsageError(f"invalid {self.name} {text!r}: use {self.accepted}")
        try:
            return self.parse(expanded)
        except (ValueError, SettingsError) as error:
            raise UsageError(f"invalid {self.name} {text!r}: {error}") from None


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its usage, its options, and the function that executes it."""

    name: str
    usage: str
    summary: str
    handler: str  # module:function within comflowy_nb.notebook.commands
    options: tuple[Option, ...] = ()
    words: tuple[int, int | None] = (0, 0)  # minimum and maximum number of words besides options and FIELD=VALUE
    has_fields: bool = False
    has_body: bool = False

    def option(self, name: str) -> Option | None:
        return next((option for option in self.options if option.name == name), None)
