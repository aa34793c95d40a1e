"""A form where there are no widgets: what stands in it, as text and as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.notebook.display.bundles import Table, join, paragraph, table

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["static_form"]


def static_form(name: str, rows: Sequence[tuple[str, str, str]]) -> dict[str, str]:
    """The bundle of a form.

    Parameters
    ----------
    rows
        Node, field and value of each field.
    """
    seen: set[str] = set()
    shown = []
    for node, field, value in rows:
        shown.append(("" if node in seen else node, field, value))
        seen.add(node)
    head = paragraph(f"a form for {name}: execute this cell in a notebook to fill it in")
    return join(head, table(Table(("node", "field", "value"), shown)))
