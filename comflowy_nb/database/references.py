"""References: `r41`, `s3`, a name, a service's id, `last`, `last~1`; `s3.12`, a cell; `r41:9[0]`, an image of a run."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from typing import Literal

from comflowy_nb.errors import RefError

__all__ = ["Ref", "check_name", "parse_ref"]

_IMAGE = re.compile(r"(?P<rest>.*?)\[(?P<image>[0-9]{1,9})\]", re.DOTALL)
_NUMBER = re.compile(r"r([0-9]{1,18})")
_LAST = re.compile(r"last(?:~([0-9]{1,9}))?(?:\.([0-9]{1,9}))?")
_CELL = re.compile(r"([^.]+)\.([0-9]{1,9})")
_SWEEP = re.compile(r"s([0-9]{1,18})(?:\.([0-9]{1,9}))?")
_RESERVED = re.compile(r"last|[rs][0-9]+")
_HELP = (
    "a run is r41, a name, its id, last or last~1; a sweep s3 or a name, a cell of it s3.12 or NAME.12; "
    "a run's first image r41[0], the first of node 9 r41:9[0]"
)


@dataclass(frozen=True, slots=True)
class Ref:
    """What a reference says; whether there is such a run or sweep is another matter."""

    run: Literal["number", "name", "id", "last", "sweep"]
    text: str  # what stands for the run or the sweep, as typed
    number: int = 0  # of `r41`, and of `s3`
    cell: int | None = None  # of `s3.12` and `NAME.12`
    back: int = 0  # of `last~1`
    node: str | None = None
    image: int | None = None  # counted within the node if there is one, else within the run

    @property
    def whole(self) -> str:
        """The run or the sweep itself, without the number of a cell."""
        return self.text if self.cell is None else self.text.rpartition(".")[0]

    @property
    def is_image(self) -> bool:
        return self.image is not None


def parse_ref(text: str) -> Ref:
    """Read a reference.

    Raises
    ------
    RefError
        If it can't be one.
    """
    whole = text.strip()
    rest, image = whole, None
    found = _IMAGE.fullmatch(whole)
    if found:
        rest, image = found["rest"], int(found["image"])
    run, colon, node = rest.partition(":")
    if not run or any(mark in run for mark in "[] \t\n") or any(mark in node for mark in "[]") or (colon and not node):
        raise RefError(f"{whole!r} is no reference: {_HELP}")
    if node and image is None:
        raise RefError(f"{whole} names a node; its first image is {whole}[0]")
    return _of_run(run, node or None, image)


def _of_run(run: str, node: str | None, image: int | None) -> Ref:
    if number := _NUMBER.fullmatch(run):
        return Ref("number", run, number=int(number[1]), node=node, image=image)
    if last := _LAST.fullmatch(run):
        cell = None if last[2] is None else int(last[2])
        return Ref("last", run, cell=cell, back=int(last[1] or 0), node=node, image=image)
    if sweep := _SWEEP.fullmatch(run):
        cell = None if sweep[2] is None else int(sweep[2])
        return Ref("sweep", run, number=int(sweep[1]), cell=cell, node=node, image=image)
    if run.startswith("last~"):
        raise RefError(f"{run!r} is no reference: {_HELP}")
    if (named := _CELL.fullmatch(run)) and named[1].isidentifier() and not _RESERVED.fullmatch(named[1]):
        return Ref("name", run, cell=int(named[2]), node=node, image=image)
    return Ref("name" if run.isidentifier() else "id", run, node=node, image=image)


def check_name(name: str) -> None:
    """Whether `--as NAME` may stand.

    Raises
    ------
    RefError
        If it is no identifier, or means something else as a reference.
    """
    if _RESERVED.fullmatch(name):
        raise RefError(f"{name} can't be a name: it already means a run or a sweep; take another word")
    if not name.isidentifier() or keyword.iskeyword(name):
        raise RefError(f"{name!r} can't be a name: letters, digits and _ make one, not beginning with a digit")
