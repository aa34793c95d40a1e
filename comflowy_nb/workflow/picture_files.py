"""`file:refs/*.jpg`: the pictures that a pattern names, as several values of a sweep."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import TYPE_CHECKING

from comflowy_nb.errors import LineError
from comflowy_nb.workflow.expansion import expand_text
from comflowy_nb.workflow.fields import FieldType
from comflowy_nb.workflow.ranges import LARGEST_AXIS
from comflowy_nb.workflow.written import Item, Several

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.written import Written

__all__ = ["has_pattern", "open_patterns"]

_FILE = "file:"
_DIGITS = re.compile(r"(\d+)")


def has_pattern(text: str) -> bool:
    """Whether a text is `file:` and a pattern; a file that is really called so is none."""
    path = text.removeprefix(_FILE)
    return path != text and glob.has_magic(path) and not Path(path).expanduser().exists()


def open_patterns(written: Written, one: Field, namespace: Mapping[str, Any] | None) -> Written:
    """The same with a value for each file in place of a pattern, in the order of their names, numbers as numbers.

    Raises
    ------
    LineError
        If no file has such a name. Where nothing describes the field, the text may be meant as it stands.
    """
    if one.type not in {FieldType.IMAGEUPLOAD, FieldType.UNKNOWN}:
        return written
    if isinstance(written, Several):
        opened = [open_patterns(item, one, namespace) for item in written.items]
        items = [part for item in opened for part in (item.items if isinstance(item, Several) else (item,))]
        return Several(tuple(items), written.text)
    if not isinstance(written, Item) or written.exact or not isinstance(written.value, str):
        return written
    text = expand_text(written.value, namespace)
    if not has_pattern(text):
        return written
    found = _files(text.removeprefix(_FILE))
    if found:
        if len(found) > LARGEST_AXIS:
            raise LineError(f"{text} names {len(found):,} files; an axis has at most {LARGEST_AXIS:,}")
        return Several(tuple(Item(f"{_FILE}{path}", quoted=True, typed=True, exact=True) for path in found))
    if one.type is FieldType.UNKNOWN:
        return written
    raise LineError(f"no file is called {text.removeprefix(_FILE)!r} here")


def _files(pattern: str) -> list[str]:
    found = glob.glob(str(Path(pattern).expanduser()), recursive=True)  # noqa: PTH207 - a pattern of a whole path
    return sorted((path for path in found if Path(path).is_file()), key=_by_number)


def _by_number(path: str) -> list[tuple[int, str]]:
    """Names as a person orders them: photo2 before photo10."""
    return [(int(part), "") if part.isdecimal() else (0, part.lower()) for part in _DIGITS.split(path)]
