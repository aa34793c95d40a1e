"""Write ratings and scores as marks in grids and lists, in captions, and in sentences. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from comflowy_nb.layout.text import Paragraph, Part
from comflowy_nb.layout.value_text import add_part
from comflowy_nb.workflow.syntax.json_values import shown

if TYPE_CHECKING:
    from comflowy_nb.database.ratings import Rating, Review
    from comflowy_nb.database.scores import Score


STAR, CROSS = "\N{BLACK STAR}", "\N{MULTIPLICATION SIGN}"  # both are in DejaVu Sans, which matplotlib ships
_DIGITS = 3  # significant digits of a score
_MAX_WHOLE = 1e15  # a float represents all whole numbers up to this limit


@dataclass(frozen=True, slots=True)
class ReviewText:
    """The review of an image as text: the mark of its rating, its scores, and its note as typed."""

    mark: Part | None = None
    scores: tuple[str, ...] = ()
    note: str = ""

    def add_to(self, parts: list[Part]) -> None:
        """Append the mark and the scores to a caption, separated by dots."""
        if self.mark is not None:
            add_part(parts, "", self.mark.text, tone=self.mark.tone)
        for score in self.scores:
            add_part(parts, "", score, tone="muted")

    def note_paragraphs(self, *, max_lines: int) -> list[Paragraph]:
        """Return the note as a paragraph, if there is one."""
        return [Paragraph((Part(self.flat_note),), max_lines)] if self.note else []

    @property
    def flat_note(self) -> str:
        """The note in one line, in typographic quotes."""
        return f"\N{LEFT DOUBLE QUOTATION MARK}{' '.join(self.note.split())}\N{RIGHT DOUBLE QUOTATION MARK}"

    def __str__(self) -> str:
        mark = "" if self.mark is None else self.mark.text
        return ", ".join(filter(None, (mark, *self.scores, self.flat_note if self.note else "")))


NO_REVIEW = ReviewText()


def write_review(review: Review) -> ReviewText:
    """Convert the review of an image to text."""
    mark = mark_of(review.own)
    texts = tuple(describe_score(name, score) for name, score in review.scores.items())
    return ReviewText(
        Part(mark, "error" if review.own.rejected else "strong") if mark else None, texts, review.own.note
    )


def mark_of(rating: Rating) -> str:
    """Return the mark of a rating: a star and the rating, and a cross if it is rejected; else empty."""
    star = "" if rating.rating is None else f"{STAR}{rating.rating}"
    return " ".join(filter(None, (CROSS if rating.rejected else "", star)))


def describe_rating(rating: Rating) -> str:
    """Return a rating in words: `rated 4, rejected, note 'best sky'`; `not rated` for an empty rating."""
    parts = [] if rating.rating is None else [f"rated {rating.rating}"]
    parts += ["rejected"] if rating.rejected else []
    parts += [f"note {shown(rating.note)}"] if rating.note else []
    return ", ".join(parts) or "not rated"


def describe_score(name: str, score: Score) -> str:
    """Return a score as in captions: `sharpness 0.31`, or `sharpness failed` if the function raised.

    The value has three significant digits; a whole number has all digits.
    """
    if score.value is None:
        return f"{name} failed"
    is_whole = score.value == round(score.value) and abs(score.value) < _MAX_WHOLE
    return f"{name} {score.value:.0f}" if is_whole else f"{name} {score.value:.{_DIGITS}g}"
