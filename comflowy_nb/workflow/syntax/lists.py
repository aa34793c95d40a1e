"""Settings as typed, before their types are known: lists, labelled values and selections."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from comflowy_nb.errors import FieldError, LineError
from comflowy_nb.workflow.images import is_image
from comflowy_nb.workflow.syntax.json_values import WRAPPED, round_computed, shown, unwrap
from comflowy_nb.workflow.syntax.line import BRACED_NAME, SPACE, flow_quote_end, is_name, scan_flow
from comflowy_nb.workflow.syntax.ranges import LARGEST_AXIS

if TYPE_CHECKING:
    from collections.abc import Callable

    from comflowy_nb.workflow.fields import Field


_COLON = re.compile(rf"(?<!:):(?=[{SPACE}]|$)")


@dataclass(frozen=True, slots=True)
class Setting:
    """The value that the user sets for one key.

    Attributes
    ----------
    value
        The text as typed; or a JSON or Python value if `is_python_value` is true.
    quoted
        Whether the text was in quotes.
    where, key_where
        The position of the value and of the key, for errors (`line 3`). An empty `key_where` is the same position.
    is_python_value
        Whether the value is a JSON or Python value.
    plain
        In a body of lines: the text without comments, for types other than STRING, and whether it was quoted.
    is_list
        In a body of lines: whether all lines below the key begin with `- `.
    block
        In a body of lines: the lines below the key, if there is no text beside it.
    computed
        Whether the value was computed by Python code, so that its floats are rounded.
    """

    key: str
    value: object
    quoted: bool = False
    where: str = ""
    is_python_value: bool = False
    plain: tuple[str, bool] | None = None
    is_list: bool = False
    block: tuple[str, ...] | None = None
    key_where: str = ""
    computed: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One value: a text as typed, without quotes; or a JSON or Python value if `is_python_value` is true.

    An `exact` value is the object of a `{name}`, and is never split, expanded or parsed. `where` is the line in a
    file.
    """

    value: object
    quoted: bool = False
    is_python_value: bool = False
    exact: bool = False
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class MultipleValues:
    """A list of values. `text` is the text of a list in brackets, which may also be one value; else None."""

    items: tuple[ParsedValue, ...]
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Labelled:
    """Pairs of label and value. Labels may occur more than once."""

    pairs: tuple[tuple[str, ParsedValue], ...]


ParsedValue: TypeAlias = Item | MultipleValues | Labelled


def read_flow(text: str) -> MultipleValues | Labelled | None:
    """Parse a text that is a list `[a, b]` or a mapping `{label: value}`. Return None for any other text.

    Raises
    ------
    LineError
        If only some of the entries between braces have labels.
    """
    flow = scan_flow(text, 0, spaces=True) if text[:1] in {"[", "{"} and not BRACED_NAME.fullmatch(text) else None
    if flow is None or flow[0] != len(text):
        return None
    entries = flow[1]
    if text[0] == "{":
        return _read_mapping(text, entries)
    items = [item for item in map(_read_entry, entries) if item is not None]
    return MultipleValues(tuple(items), text) if len(items) == len(entries) else None


def _read_mapping(text: str, entries: list[str]) -> Labelled | None:
    pairs: list[tuple[str, ParsedValue]] = []
    unlabelled = []
    for entry in entries:
        label, rest = _split_label(entry)
        if label is None:
            unlabelled.append(entry)
            continue
        value = _read_entry(rest)
        if value is None:
            raise LineError(f"{shown(rest)}: unexpected text after the closing quote")
        pairs.append((label, value))
    if pairs and unlabelled:
        raise LineError(
            f"{shown(text)}: {shown(unlabelled[0])} has no label: write {{low: 4, high: 8}}; "
            "quote a value with a comma or braces"
        )
    return Labelled(tuple(pairs)) if pairs else None


def _split_label(entry: str) -> tuple[str | None, str]:
    """Split an entry into label and value. The label is None if there is none."""
    if entry[:1] in {'"', "'"}:
        close = flow_quote_end(entry, 0)
        rest = entry[close + 1 :].lstrip(SPACE) if close is not None else ""
        return (entry[1:close], rest[1:].strip(SPACE)) if rest.startswith(":") else (None, entry)
    colon = _COLON.search(entry)
    label = entry[: colon.start()].strip(SPACE) if colon is not None else ""
    return (label, entry[colon.end() :].strip(SPACE)) if colon is not None and label else (None, entry)


def _read_entry(entry: str) -> ParsedValue | None:
    """Parse the value of an entry; return None if text follows its closing quote."""
    close = flow_quote_end(entry, 0) if entry[:1] in {'"', "'"} else None
    if close is not None:
        return Item(entry[1:close], quoted=True) if close == len(entry) - 1 else None
    if is_name(entry):
        return Item(entry)
    if entry[:1] == "{" and not entry[1:-1].strip(SPACE):
        return Labelled(())
    return read_flow(entry) or Item(entry)


def from_python(value: object, *, takes_images: bool, exact: bool = False, computed: bool = False) -> ParsedValue:
    """Convert a JSON or Python value. A mapping becomes labelled values, any other iterable a list.

    Floats are rounded to 12 digits if the value was `computed` by Python code, or is the object of a `{name}`
    (`exact`).

    Raises
    ------
    ValueError
        If the value has more items than an axis can have.
    """
    if isinstance(value, (Item, MultipleValues, Labelled)):
        return value

    def item(content: object) -> Item:
        return Item(round_computed(content) if computed or exact else content, is_python_value=True, exact=exact)

    if isinstance(value, Mapping):
        options = {"takes_images": takes_images, "exact": exact, "computed": computed}
        return Labelled(tuple((str(key), from_python(item_value, **options)) for key, item_value in value.items()))
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes)) or getattr(value, "shape", None) == ():
        return item(value)
    if takes_images and is_image(value):
        return item(value)
    items = list(islice(value, LARGEST_AXIS + 1))  # may be infinite
    if len(items) > LARGEST_AXIS:
        count = f"{len(value):,}" if isinstance(value, Sized) else f"more than {LARGEST_AXIS:,}"
        raise ValueError(f"a {type(value).__name__} of {count} values; an axis has at most {LARGEST_AXIS:,}")
    return MultipleValues(tuple(map(item, items)))


# -- selections of fields that take several options at once --------------------------------------------------------


def selections(field: Field, value: ParsedValue, value_of: Callable[[Item], object]) -> ParsedValue:
    """Parse the value of a field that takes several options: return an Item for one selection, a list for several.

    Parameters
    ----------
    value_of
        Returns the value of an item of a list, with `{name}` expanded.

    Raises
    ------
    FieldError
        If the value is a plain list, which may be one selection or an axis. The message shows how to write both.
    """
    if not isinstance(value, MultipleValues):
        return as_item(value, value_of)
    if all(_chosen(item, value_of) is not None for item in value.items):
        return value
    options = [str(item.value) if isinstance(item, Item) else "..." for item in value.items]
    listed, separate = ", ".join(options), ", ".join(f"[{option}]" for option in options)
    raise FieldError(
        f"{field.where}: [{listed}] may be one value of several options or several values: "
        f"write [[{listed}]] for the one value, [{separate}] for the others"
    )


def as_item(value: ParsedValue, value_of: Callable[[Item], object]) -> ParsedValue:
    """Convert one selection to an Item that contains a list. Return other values unchanged."""
    chosen = _chosen(value, value_of)
    return value if chosen is None else Item(chosen, is_python_value=True, exact=True)


def _chosen(parsed: ParsedValue, value_of: Callable[[Item], object]) -> list[object] | None:
    """Return the options of one selection; None for a value that is not a selection."""
    if isinstance(parsed, MultipleValues):
        return [value_of(item) if isinstance(item, Item) else item for item in parsed.items]
    if isinstance(parsed, Labelled):  # ComfyUI's form of a list, {"__value__": [...]}
        return _chosen(parsed.pairs[0][1], value_of) if [key for key, _ in parsed.pairs] == [WRAPPED] else None
    value = parsed.value
    if isinstance(value, str) and not (parsed.quoted or parsed.is_python_value or parsed.exact):
        try:
            flow = read_flow(value)
        except LineError:  # a value in braces, not a list
            return None
        return None if flow is None else _chosen(flow, value_of)
    value = unwrap(value)
    return list(value) if isinstance(value, (list, tuple)) else None
