"""Parse references: runs (`r41`, a name, an id, `last~1`), sweeps (`s3`), cells (`s3.12`), images (`r41:9[0]`)."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from typing import Literal

from comflowy_nb.errors import RefError

_IMAGE = re.compile(r"(?P<rest>.*?)\[(?P<image>[0-9]{1,9})\]", re.DOTALL)
_NUMBER = re.compile(r"r([0-9]{1,18})")
_LAST = re.compile(r"last(?:~([0-9]{1,9}))?(?:\.([0-9]{1,9}))?")
_CELL = re.compile(r"([^.]+)\.([0-9]{1,9})")
_SWEEP = re.compile(r"s([0-9]{1,18})(?:\.([0-9]{1,9}))?")
_NOT_IN_A_RUN = re.compile(r"[\[\] \t\n\ud800-\udfff]")  # SQLite can't compare half of a surrogate pair
_RESERVED = re.compile(r"last|[rs][0-9]+")
_HELP = (
    "for a run use r41, a name, an id, last or last~1; for a sweep s3 or a name; for a cell s3.12; "
    "for an image r41[0] or r41:9[0]"
)


@dataclass(frozen=True, slots=True)
class Ref:
    """A parsed reference. The run or the sweep need not exist."""

    run: Literal["number", "name", "id", "last", "sweep"]
    text: str  # the part for the run, the sweep or the cell, as typed
    number: int = 0  # of `r41` and `s3`
    cell: int | None = None  # of `s3.12` and `NAME.12`
    back: int = 0  # of `last~1`
    node: str | None = None
    image: int | None = None  # index within the node if there is one, else within the run

    @property
    def whole(self) -> str:
        """The text without the number of a cell."""
        return self.text if self.cell is None else self.text.rpartition(".")[0]


def parse_ref(text: str) -> Ref:
    """Parse a reference.

    Raises
    ------
    RefError
        If the text is not a reference.
    """
    if not isinstance(text, str):
        raise RefError(f"invalid reference {text!r}: {_HELP}")
    reference = text.strip()
    match = _IMAGE.fullmatch(reference)
    rest, image = (match["rest"], int(match["image"])) if match else (reference, None)
    run, colon, node = rest.partition(":")
    if not run or _NOT_IN_A_RUN.search(run) or any(mark in node for mark in "[]") or (colon and not node):
        raise RefError(f"invalid reference {reference!r}: {_HELP}")
    if node and image is None:
        raise RefError(f"{reference} is a node, not an image; its first image is {reference}[0]")
    return _parse_run(run, node or None, image)


def _parse_run(run: str, node: str | None, image: int | None) -> Ref:
    if number := _NUMBER.fullmatch(run):
        return Ref("number", run, number=int(number[1]), node=node, image=image)
    if last := _LAST.fullmatch(run):
        return Ref("last", run, cell=_int(last[2]), back=int(last[1] or 0), node=node, image=image)
    if sweep := _SWEEP.fullmatch(run):
        return Ref("sweep", run, number=int(sweep[1]), cell=_int(sweep[2]), node=node, image=image)
    if run.startswith("last~"):
        raise RefError(f"invalid reference {run!r}: {_HELP}")
    if (cell := _CELL.fullmatch(run)) and cell[1].isidentifier() and not _RESERVED.fullmatch(cell[1]):
        return Ref("name", run, cell=int(cell[2]), node=node, image=image)
    return Ref("name" if run.isidentifier() else "id", run, node=node, image=image)


def _int(digits: str | None) -> int | None:
    return None if digits is None else int(digits)


def check_name(name: str) -> None:
    """Check a name given with `--as`.

    Raises
    ------
    RefError
        If it is not an identifier, or is a reference of another kind, such as `r1` or `last`.
    """
    if _RESERVED.fullmatch(name):
        raise RefError(f"{name} can't be a name: it is reserved; use another name")
    if not name.isidentifier() or keyword.iskeyword(name):
        raise RefError(f"{name!r} can't be a name: use letters, digits and _, not beginning with a digit")
