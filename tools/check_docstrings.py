"""Validate the docstrings of the public API with numpydoc; `make check` runs it.

The public API is `comflowy_nb.__all__`, the classes and functions that it returns, the errors, the settings and the
`Service` protocol. A class counts with its public methods and properties. The functions of `comflowy_nb.__all__`, its
classes and their methods need an example.
"""

from __future__ import annotations

import inspect
import sys
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from numpydoc.validate import ERROR_MSGS, validate

import comflowy_nb

if TYPE_CHECKING:
    from collections.abc import Iterator

# Public although `comflowy_nb.__all__` does not name them: what the public functions return, take or raise.
ALSO_PUBLIC = (
    "comflowy_nb.errors",
    "comflowy_nb.database.ratings.Rating",
    "comflowy_nb.images.delete.Deleted",
    "comflowy_nb.images.disk_usage.DiskUsage",
    "comflowy_nb.images.disk_usage.Usage",
    "comflowy_nb.images.prune.Pruned",
    "comflowy_nb.library.Found",
    "comflowy_nb.services.base.Service",
    "comflowy_nb.services.types.RunEvent",
    "comflowy_nb.settings.Secret",
    "comflowy_nb.settings.Settings",
    "comflowy_nb.status.Status",
    "comflowy_nb.tracking.run.RunImage",
    "comflowy_nb.tracking.scoring.ImageScores",
    "comflowy_nb.tracking.submit.Submitted",
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
NO_EXAMPLE = "EX01"
NO_PARAMETERS = "PR01"

# What the tracker, the sender and the views call: documented, without an example for users.
INTERNAL = {
    "Run": {"clear_reported", "note_event", "report", "timeout_error", "update", "with_unwritten"},
    "Sweep": {"attach", "confirm_ends", "await_end_count", "notify", "timeout_error"},
}


def public_names() -> dict[str, bool]:
    """Return the dotted name of each public class, function, method and property -> whether it needs an example."""
    names = {found: False for path in ALSO_PUBLIC for found, _ in _names_of(resolve_name(path), path)}
    for name in comflowy_nb.__all__:
        value = getattr(comflowy_nb, name)
        path = value.__name__ if inspect.ismodule(value) else f"{value.__module__}.{name}"
        for found, attribute in _names_of(value, path):
            names[found] = not isinstance(attribute, property) and attribute.__name__ not in INTERNAL.get(name, ())
    return names


def _names_of(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the name and the value of each public function and class, and of their methods and properties."""
    if inspect.ismodule(value):
        for exported in value.__all__:
            yield from _names_of(getattr(value, exported), f"{name}.{exported}")
        return
    yield name, value
    for member, attribute in _members(value).items() if inspect.isclass(value) else ():
        is_documented = isinstance(attribute, property | staticmethod | classmethod) or inspect.isfunction(attribute)
        if is_documented and not member.startswith("_"):
            yield f"{name}.{member}", attribute


def _members(value: type) -> dict[str, Any]:
    """Return the attributes of a class, with those that it inherits from classes of this package."""
    own = [base for base in reversed(value.__mro__) if base.__module__.startswith("comflowy_nb.")]
    return {member: attribute for base in own for member, attribute in vars(base).items()}


def has_own_parameters(name: str) -> bool:
    """Return False for a protocol, and for a class whose parameters are those of its base: an enum, most errors."""
    value = resolve_name(name)
    return not inspect.isclass(value) or ("__init__" in vars(value) and not getattr(value, "_is_protocol", False))


def problems(name: str, *, needs_example: bool) -> list[str]:
    """Return the problems that numpydoc finds in one docstring, as `CODE text`."""
    ignored = set(IGNORED)
    if not needs_example:
        ignored.add(NO_EXAMPLE)
    if not has_own_parameters(name):
        ignored.add(NO_PARAMETERS)
    return [f"{code} {text}" for code, text in validate(name)["errors"] if code not in ignored]


def main() -> int:
    """Print each problem; return 1 if there is one."""
    assert set(ERROR_MSGS) >= IGNORED
    names = public_names()
    found = [f"{name}: {one}" for name in sorted(names) for one in problems(name, needs_example=names[name])]
    print("\n".join([*found, f"{len(names)} public docstrings, {len(found)} problems"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
