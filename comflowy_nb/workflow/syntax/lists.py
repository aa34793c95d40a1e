"""Values as written, before their types are known: settings, lists, labelled values and selections."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from comflowy_nb.errors import FieldError, LineError
from comflowy_nb.workflow.fields import WRAPPED
from comflowy_nb.workflow.images import is_image
from comflowy_nb.workflow.syntax.expansion import is_name
from comflowy_nb.workflow.syntax.json_values import rounded, shown
from comflowy_nb.workflow.syntax.line import SPACE, flow_end, flow_quote_end
from comflowy_nb.workflow.syntax.ranges import LARGEST_AXIS

if TYPE_CHECKING:
    from collections.abc import Callable

    from comflowy_nb.workflow.fields import Field

__all__ = [
    "Item",
    "Labelled",
    "MultipleValues",
    "Setting",
    "Written",
    "as_item",
    "of_python",
    "read_flow",
    "read_selection",
    "selections",
]

_NAME = re.compile(r"\{\{?[^\W\d]\w*\}?\}")
_COLON = re.compile(rf"(?<!:):(?=[{SPACE}]|$)")


@dataclass(frozen=True, slots=True)
class Setting:
    """One field as the user set it.

    Attributes
    ----------
    value
        The text as typed, or, if `typed`, a JSON or Python value.
    quoted
        The text was in quotes.
    where, key_where
        Position of the value and of the key for errors (`line 3`); an empty `key_where` means the same position.
    typed
        The value is a JSON or Python value.
    plain
        In a body of lines: the text without comments, as types other than STRING read it, and whether it was quoted.
    is_list
        In a body of lines: the value is a list of lines that begin with `- `.
    block
        In a body of lines: the lines below the key, if there is no text beside it.
    computed
        The value comes from Python code: floats are rounded, unlike typed ones.
    """

    key: str
    value: object
    quoted: bool = False
    where: str = ""
    typed: bool = False
    plain: tuple[str, bool] | None = None
    is_list: bool = False
    block: tuple[str, ...] | None = None
    key_where: str = ""
    computed: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One value: a text as typed, without quotes, or (`typed`) a JSON or Python value.

    An `exact` value is the object of a `{name}`: it is never split, expanded or parsed. `where` is its line in a file.
    """

    value: object
    quoted: bool = False
    typed: bool = False
    exact: bool = False
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class MultipleValues:
    """A list. `text` is the text as typed if it was in brackets, because it may be meant as a text."""

    items: tuple[Written, ...]
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Labelled:
    """Pairs of label and value, with duplicates."""

    pairs: tuple[tuple[str, Written], ...]


Written: TypeAlias = Item | MultipleValues | Labelled


def read_flow(text: str) -> MultipleValues | Labelled | None:
    """Parse a text that is a list `[a, b]` or a mapping `{label: value}` as a whole; return None for any other text.

    Raises
    ------
    LineError
        If only some of the entries between braces have labels.
    """
    if text[:1] not in {"[", "{"} or _NAME.fullmatch(text) or flow_end(text, 0, spaces=True) != len(text):
        return None
    entries = _entries(text)
    if entries is None:
        return None
    if text[0] == "[":
        items = [_value(entry) for entry in entries]
        return None if None in items else MultipleValues(tuple(item for item in items if item is not None), text)
    return _labelled(text, entries)


def of_python(value: object, *, takes_images: bool, exact: bool = False, computed: bool = False) -> Written:
    """Convert a JSON or Python value: mappings have labels, other iterables are lists.

    Floats of a `computed` value, and of the object of a `{name}` (`exact`), are rounded to 12 digits.

    Raises
    ------
    ValueError
        If it has more items than an axis can have.
    """
    if isinstance(value, (Item, MultipleValues, Labelled)):
        return value

    def item(one: object) -> Item:
        return Item(rounded(one) if computed or exact else one, typed=True, exact=exact)

    if isinstance(value, Mapping):
        options = {"takes_images": takes_images, "exact": exact, "computed": computed}
        return Labelled(tuple((str(key), of_python(one, **options)) for key, one in value.items()))
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes)) or getattr(value, "shape", None) == ():
        return item(value)
    if takes_images and is_image(value):
        return item(value)
    kind = type(value).__name__
    count = len(value) if isinstance(value, Sized) else 0
    if count > LARGEST_AXIS:
        raise ValueError(f"a {kind} of {count:,} values; an axis has at most {LARGEST_AXIS:,}")
    items = list(islice(value, LARGEST_AXIS + 1))  # may be infinite
    if len(items) > LARGEST_AXIS:
        raise ValueError(f"a {kind} of more than {LARGEST_AXIS:,} values, the most that an axis has")
    return MultipleValues(tuple(map(item, items)))


def _entries(text: str) -> list[str] | None:
    """Return the entries between the commas of a list or mapping; None if the text is neither."""
    inner = text[1:-1]
    if not inner.strip(SPACE):
        return []
    found, start, at, opens = [], 0, 0, True
    while at < len(inner):
        char = inner[at]
        if opens and char in "\"'":
            close = flow_quote_end(text, at + 1)
            if close is not None:
                at = close  # one more, since the text has the bracket
                opens = False
                continue
        elif char in "[{":
            end = flow_end(text, at + 1, spaces=True)
            if end is None:
                return None
            at = end - 1
            opens = False
            continue
        elif char == ",":
            found.append(inner[start:at].strip(SPACE))
            start = at + 1
        opens = char in ",:" or (opens and char in SPACE)
        at += 1
    last = inner[start:].strip(SPACE)
    return [*found, last] if last else found  # a comma at the end closes the last entry


def _value(entry: str) -> Written | None:
    """Return the value that an entry is; None if a quote opens it and closes before its end."""
    if entry[:1] in {'"', "'"}:
        close = flow_quote_end(entry, 0)
        if close is not None:
            return Item(entry[1:close], quoted=True) if close == len(entry) - 1 else None
    if is_name(entry):
        return Item(entry)
    if entry[:1] == "{" and not entry[1:-1].strip(SPACE):
        return Labelled(())
    return read_flow(entry) or Item(entry)


def _labelled(text: str, entries: list[str]) -> Labelled | None:
    pairs: list[tuple[str, Written]] = []
    for entry in entries:
        divided = _divide(entry)
        if divided is None:
            continue
        label, rest = divided
        value = _value(rest)
        if value is None:
            raise LineError(f"{shown(rest)}: unexpected text after the closing quote")
        pairs.append((label, value))
    if not pairs:
        return None
    if len(pairs) < len(entries):
        bare = next(entry for entry in entries if _divide(entry) is None)
        raise LineError(
            f"{shown(text)}: {shown(bare)} has no label; labelled values are {{a: VALUE, b: VALUE}}, "
            'and a value with a comma or a text in braces is quoted: "..."'
        )
    return Labelled(tuple(pairs))


def _divide(entry: str) -> tuple[str, str] | None:
    """Return label and value of an entry."""
    if entry[:1] in {'"', "'"}:
        close = flow_quote_end(entry, 0)
        rest = entry[close + 1 :].lstrip(SPACE) if close is not None else ""
        return (entry[1:close], rest[1:].strip(SPACE)) if rest.startswith(":") else None
    colon = _COLON.search(entry)
    label = entry[: colon.start()].strip(SPACE) if colon is not None else ""
    return (label, entry[colon.end() :].strip(SPACE)) if colon is not None and label else None


def read_selection(text: str) -> object:
    """Return the list that a text in brackets is, or the one in `{"__value__": [...]}`; else the text itself."""
    try:
        found = read_flow(text)
    except LineError:
        return text
    chosen = None if found is None else _chosen(found, lambda item: item.value)
    return text if chosen is None else chosen


def selections(one: Field, written: Written, value_of: Callable[[Item], object]) -> Written:
    """Return one selection as an Item, several selections as a list of them.

    Parameters
    ----------
    value_of
        The value of an item of a list, with `{name}` expanded.

    Raises
    ------
    FieldError
        If it is a plain list, which may be one selection or an axis; the text shows both spellings.
    """
    if isinstance(written, MultipleValues):
        if any(_chosen(item, value_of) is None for item in written.items):
            words = [str(item.value) if isinstance(item, Item) else "..." for item in written.items]
            listed, each = ", ".join(words), ", ".join(f"[{word}]" for word in words)
            raise FieldError(
                f"{one.where}: [{listed}] may be one value of several options or several values: "
                f"write [[{listed}]] for the one value, [{each}] for the others"
            )
        return written
    return as_item(written, value_of)


def as_item(written: Written, value_of: Callable[[Item], object]) -> Written:
    """Return one selection as an Item that holds a list; anything else as it is."""
    chosen = _chosen(written, value_of)
    return written if chosen is None else Item(chosen, typed=True, exact=True)


def _chosen(written: Written, value_of: Callable[[Item], object]) -> list[object] | None:
    """Return the items of one selection; None for a lone value."""
    if isinstance(written, Item):
        value = written.value
        if isinstance(value, str) and not (written.quoted or written.typed or written.exact):
            value = read_selection(value)
        if isinstance(value, dict) and set(value) == {WRAPPED}:
            value = value[WRAPPED]
        return list(value) if isinstance(value, (list, tuple)) else None
    if isinstance(written, Labelled):
        inner = _wrapped(written)
        return None if inner is None else _chosen(inner, value_of)
    return [value_of(item) if isinstance(item, Item) else item for item in written.items]


def _wrapped(written: Labelled) -> Written | None:
    """Return the list in `{"__value__": ...}`, ComfyUI's form of a list; None for another mapping."""
    labels = [label for label, _ in written.pairs]
    return written.pairs[0][1] if labels == [WRAPPED] else None
