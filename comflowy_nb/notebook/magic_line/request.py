"""A parsed line of `%comflowy`, and its execution."""

from __future__ import annotations

import inspect
import time
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from comflowy_nb.workflow.syntax.line import expand_ref, expand_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from comflowy_nb.notebook.magic_line.option_types import Command
    from comflowy_nb.notebook.session import Session
    from comflowy_nb.workflow.syntax.line import Word


@dataclass(frozen=True, slots=True)
class Request:
    """A parsed line, with the body of its cell and the Python variables for `{name}`."""

    command: Command
    words: tuple[Word, ...]
    fields: tuple[Word, ...]
    options: Mapping[str, Any]
    body: str | None
    namespace: Mapping[str, Any]

    @property
    def since(self) -> float | None:
        """The time that was `--since` ago, in UTC seconds since 1970; None without this option."""
        return time.time() - self.options["since"] if "since" in self.options else None

    def text(self, word: Word) -> str:
        """Return the text of a WORKFLOW, REF or DIR."""
        return expand_text(word.text, self.namespace)

    def ref(self, word: Word) -> Any:
        """Return the text of a reference; the Python object for exactly `{name}` or `{name.attribute}`."""
        return expand_ref(word.text, self.namespace)

    def items(self, word: Word) -> list[Any]:
        """Return the items of a reference that is a Python list, else the reference alone."""
        ref = self.ref(word)
        return list(ref) if isinstance(ref, list | tuple) else [ref]

    def refs(self) -> list[Any]:
        """Return the words as references. A Python list counts as its items.

        Raises
        ------
        UsageError
            If a list is empty.
        """
        found: list[Any] = []
        for word in self.words:
            items = self.items(word)
            if not items:
                raise UsageError(f"{word.raw} is an empty list, so it names no run")
            found += items
        return found

    def check_pairs(self, **needed: str) -> None:
        """Raise a UsageError if an option was typed without the option that it needs."""
        for name, other in needed.items():
            option = name.replace("_", "-")
            if option in self.options and other not in self.options:
                raise UsageError(f"--{option} needs --{other}")

    def arguments_for(self, function: Callable[..., object]) -> dict[str, Any]:
        """Return the typed options that are parameters of a function, as keyword arguments."""
        return self.arguments(*(name.replace("_", "-") for name in inspect.signature(function).parameters))

    def arguments(self, *options: str) -> dict[str, Any]:
        """Return the options with these names that were typed, as keyword arguments."""
        return {key.replace("-", "_"): self.options[key] for key in options if key in self.options}


def execute(session: Session, request: Request) -> Any:
    """Execute a command. Its module is imported here, so that the extension loads quickly."""
    module, _, function = request.command.handler.partition(":")
    return getattr(import_module(f"comflowy_nb.notebook.commands.{module}"), function)(session, request)
