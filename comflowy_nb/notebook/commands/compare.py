"""`%comflowy compare`: the comparison in the cell; in a terminal what differs, and where the images are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.comparison.inputs import read_images
from comflowy_nb.notebook.compare.widget import Comparison
from comflowy_nb.notebook.display.html import paragraph
from comflowy_nb.notebook.display.show import show_comparison

if TYPE_CHECKING:
    from comflowy_nb.notebook.commands.table import Request
    from comflowy_nb.notebook.session import Session

__all__ = ["compare"]


def compare(session: Session, request: Request) -> Comparison:
    """Show the comparison, and save it where that is asked for."""
    options = request.options
    images = read_images([request.ref(word) for word in request.words], find=session.find)
    made = Comparison(images, mode=options.get("mode"), label=options.get("label"))
    session.drawn.add(made.token)  # as the value of the cell it is not shown once more
    show_comparison(made, in_kernel=session.in_kernel)
    if "save" in options:
        session.say(paragraph(f"saved: {made.save(options['save']).name}"))
    return made
