"""`%comflowy rate`: rate images, reject them, and write notes about them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from comflowy_nb.errors import RefError
from comflowy_nb.layout.review_text import describe_rating
from comflowy_nb.notebook.display.html import paragraph
from comflowy_nb.tracking.reviews import change_ratings
from comflowy_nb.workflow.syntax.line import BRACED_NAME, unquote
from comflowy_nb.workflow.syntax.ranges import is_number

if TYPE_CHECKING:
    from comflowy_nb.database.ratings import Rating
    from comflowy_nb.notebook.magic_line.request import Request
    from comflowy_nb.notebook.session import Session
    from comflowy_nb.tracking.run import RunImage


_LISTED = 4  # images of a run that an error lists
_WHOLE = re.compile(r"[+-]?[0-9]{1,9}")


def rate(session: Session, request: Request) -> None:
    """Change the ratings of images, and print the commands that undo it. An invalid reference changes nothing."""
    options = request.options
    words = list(request.words)
    last = request.ref(words[-1])
    rating = None
    if isinstance(last, int | float) or (isinstance(last, str) and is_number(last)):
        rating, words = _read_rating(last), words[:-1]
    if not words:
        raise UsageError(f"rate needs the reference of an image: %comflowy rate r41[0] {last}")
    if rating is None and not options:
        raise UsageError(f"rate needs a rating from 1 to 5, --note or --reject: %comflowy {request.command.usage}")
    refs = [ref for word in words for ref in request.items(word)]
    images = [_image_of(session, ref) for ref in refs]
    changes = change_ratings(images, rating, note=options.get("note"), rejected=True if "reject" in options else None)
    shown = zip(refs, images, changes, strict=True)
    session.say(paragraph(*(_line(_shown_ref(ref, image), *change) for ref, image, change in shown)))


def _read_rating(value: float | str) -> int:
    text = str(value)
    if not _WHOLE.fullmatch(text) or not 0 <= int(text) <= 5:
        raise UsageError(f"invalid rating {text}: use a whole number from 1 to 5, or 0 to remove it")
    return int(text)


def _shown_ref(ref: Any, image: RunImage) -> str:
    return ref if isinstance(ref, str) else image.ref


def _image_of(session: Session, ref: Any) -> RunImage:
    """Return the image of a reference to an image, or to a run or a cell with one image."""
    found = session.find(ref)
    text = ref if isinstance(ref, str) else getattr(ref, "ref", str(ref))
    if found.image is not None:
        return found.image
    if found.sweep is not None:
        first = f"%comflowy rate {found.sweep.ref}.1 4"
        raise RefError(f"{text} is a sweep, and ratings belong to images; rate the image of a cell: {first}")
    images = found.run.images
    if len(images) == 1:
        return images[0]
    if not images:
        raise RefError(f"{text} has no image to rate: its status is {found.run.status}")
    names = [f"{text}[{index}]" for index in range(len(images))]
    more = " ..." if len(names) > _LISTED else ""
    raise RefError(f"{text} has {len(images)} images; name the one to rate: {', '.join(names[:_LISTED])}{more}")


def _line(ref: str, before: Rating, after: Rating) -> str:
    """Return the new rating of an image, and the command that restores the old one."""
    undo = _undo(ref, before, with_note=before.note != after.note)
    return f"{ref}: {describe_rating(after)}; undo: {undo}"


def _undo(ref: str, before: Rating, *, with_note: bool) -> str:
    """Return the command that restores a rating, in Python if the note can't be typed on a line."""
    parts = ["%comflowy rate", ref, str(before.rating or 0), *(["--reject"] if before.rejected else [])]
    if not with_note:
        return " ".join(parts)
    note = BRACED_NAME.sub(lambda found: "{" + found[0] + "}", before.note)
    quoted = next((f"{mark}{note}{mark}" for mark in "\"'" if unquote(f"{mark}{note}{mark}") == (note, True)), None)
    if quoted is None or "\n" in note or "\r" in note:
        image = "image" if "[" in ref else "run.images[0]"
        values = f"{before.rating or 0}, rejected={before.rejected}, note={before.note!r}"
        return f'comflowy_nb.history.find("{ref}").{image}.rate({values})'
    return " ".join([*parts, "--note", quoted])
