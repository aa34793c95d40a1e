"""Validate the docstrings of the public API with numpydoc; `make check` runs it.

The public API is `comflowy_nb.__all__`, the classes and functions that it returns, the errors, the settings and the
`Service` protocol. A class counts with its public methods and properties.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from typing import TYPE_CHECKING

from numpydoc.validate import ERROR_MSGS, validate

import comflowy_nb

if TYPE_CHECKING:
    from collections.abc import Iterator

# Public although `comflowy_nb.__all__` does not name them: what the public functions return, take or raise.
ALSO_PUBLIC = (
    "comflowy_nb.errors",
    "comflowy_nb.library.Library",
    "comflowy_nb.services.base.Service",
    "comflowy_nb.settings.Secret",
    "comflowy_nb.settings.Settings",
    "comflowy_nb.status.Status",
    "comflowy_nb.tracking.run.RunImage",
    "comflowy_nb.workflow.fields.Field",
    "comflowy_nb.workflow.workflow.Workflow",
)

# The checks of numpydoc that do not apply.
IGNORED = {
    "GL01",  # the summary begins on the line of the quotes, as pydocstyle D212 requires
    "GL03",  # pydocstyle checks blank lines
    "SS05",  # `Is`, `Has`: the check treats any word that ends with s as third person
    "SS06",  # a summary of one line; a line that wraps is caught by ruff's D205
    "ES01",  # an extended summary is optional
    "SA01",  # "See Also" is optional
    "YD01",  # no generators
    "PR06",  # `str`, not `string`: mypy knows the types
    "RT02",  # a single return value has a type and no name
    "RT03",  # the description of a returned value may be the summary
}
NO_EXAMPLE = "EX01"  # required for the names in `comflowy_nb.__all__` and the methods of their classes


def public_names() -> Iterator[str]:
    """Yield the dotted names of all public classes, functions, methods and properties."""
    for name in comflowy_nb.__all__:
        value = getattr(comflowy_nb, name)
        yield from _names_of(value, value.__name__ if inspect.ismodule(value) else f"{value.__module__}.{name}")
    for name in ALSO_PUBLIC:
        try:
            value = importlib.import_module(name)
        except ImportError:
            module, _, attribute = name.rpartition(".")
            value = getattr(importlib.import_module(module), attribute)
        yield from _names_of(value, name)


def _names_of(value: object, name: str) -> Iterator[str]:
    if inspect.ismodule(value):
        for exported in value.__all__:
            yield from _names_of(getattr(value, exported), f"{name}.{exported}")
        return
    yield name
    if not inspect.isclass(value):
        return
    for member, attribute in vars(value).items():
        if member.startswith("_"):
            continue
        if isinstance(attribute, property | staticmethod | classmethod) or inspect.isfunction(attribute):
            yield f"{name}.{member}"


def problems(name: str) -> list[str]:
    """Return the problems that numpydoc finds in one docstring, as `CODE text`."""
    return [f"{code} {text}" for code, text in validate(name)["errors"] if code not in IGNORED]


def main() -> int:
    """Print each problem; return 1 if there is one."""
    assert set(ERROR_MSGS) >= IGNORED
    found = 0
    names = sorted(set(public_names()))
    for name in names:
        for problem in problems(name):
            found += 1
            print(f"{name}: {problem}")
    print(f"{len(names)} public docstrings, {found} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
