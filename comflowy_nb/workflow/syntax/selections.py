"""Values of fields that take several of their options at once: each value is a list, written `[a, b]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.errors import FieldError, LineError
from comflowy_nb.workflow.fields import WRAPPED
from comflowy_nb.workflow.syntax.lists import Item, Labelled, MultipleValues, read_flow

if TYPE_CHECKING:
    from collections.abc import Callable

    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.syntax.lists import Written

__all__ = ["as_item", "read_selection", "selections"]


def read_selection(text: str) -> object:
    """Return the list that a text in brackets is, or the one in `{"__value__": [...]}`; else the text itself."""
    try:
        found = read_flow(text)
    except LineError:
        return text
    chosen = None if found is None else _chosen(found, lambda item: item.value)
    return text if chosen is None else chosen


def selections(one: Field, written: Written, value_of: Callable[[Item], object]) -> Written:
    """Return what a sweep's setting of such a field means: one selection is an Item, several are a list of them.

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
    """The items of one selection; None for a lone value."""
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
    """What stands in `{"__value__": ...}`, ComfyUI's own form of a list; None if it is another mapping."""
    labels = [label for label, _ in written.pairs]
    return written.pairs[0][1] if labels == [WRAPPED] else None
