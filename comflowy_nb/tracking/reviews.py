"""Read and change the review of an image: its ratings and scores in the history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.database.ratings import MAX_NOTE_LENGTH, MAX_RATING, OWN, Rating, Review
from comflowy_nb.errors import HistoryError, RefError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from comflowy_nb.database.runs import History
    from comflowy_nb.tracking.run_images import RunImage


_EMPTY = Review()


class Reviews(dict[str, Review]):
    """The review of each image, by its token. It is empty for an image that arrived after the reviews were read."""

    def __missing__(self, token: str) -> Review:
        return _EMPTY


def read_reviews(images: Iterable[RunImage]) -> Reviews:
    """Return a mapping from the token of each image to its review. Two SQL statements read all runs.

    Each call reads the history, so that it returns the changes of other processes.
    """
    images = list(images)
    by_history: dict[int, tuple[History, dict[str, None]]] = {}
    for image in images:
        history = image.run.history
        if history is not None:
            by_history.setdefault(id(history), (history, {}))[1][image.run.token] = None
    reviews: dict[tuple[str, int], Review] = {}
    for history, runs in by_history.values():
        ratings, scores = history.ratings.of_runs(runs), history.scores.of_runs(runs)
        for key in {**ratings, **scores}:
            of_image = ratings.get(key, [])
            own = next((rating for rating in of_image if rating.source == OWN), Rating())
            others = tuple(rating for rating in of_image if rating.source != OWN)
            reviews[key] = Review(own, others, scores.get(key, {}))
    return Reviews({image.token: reviews.get((image.run.token, image.record.index), _EMPTY) for image in images})


def reviews_to_show(images: Iterable[RunImage]) -> Reviews:
    """Return the reviews. If the history can't be read, return empty reviews, so that the images are shown."""
    try:
        return read_reviews(images)
    except HistoryError:
        return Reviews()


def best_review(images: Iterable[RunImage], reviews: Mapping[str, Review]) -> Review:
    """Return the review of the best image, the first if several are equal. Without images, return an empty review."""
    return max((reviews[image.token] for image in images), key=lambda review: review.rank, default=_EMPTY)


def best_rating(images: Iterable[RunImage]) -> int | None:
    """Return the best rating of the images that are not rejected; None if none of them is rated."""
    ratings = [review.own.rating for review in read_reviews(images).values() if not review.own.rejected]
    return max((rating for rating in ratings if rating is not None), default=None)


def change_ratings(
    images: Sequence[RunImage], rating: int | None = None, *, rejected: bool | None = None, note: str | None = None
) -> list[tuple[Rating, Rating]]:
    """Change this user's ratings of images of one history, in one transaction; see `RunImage.rate`.

    Returns
    -------
    list of (Rating, Rating)
        The ratings of each image before and after.
    """
    _check(rating, rejected, note)
    if not images:
        return []
    history = images[0].run.history
    if history is None:
        raise RefError(f"{images[0].ref} does not belong to a history, so it can't be rated")
    keys = [(image.run.token, image.record.index) for image in images]
    return history.ratings.change(keys, rating, rejected=rejected, note=note)


def _check(rating: object, rejected: object, note: object) -> None:
    """Raise a SettingsError if an argument has a wrong type or range, or if all are None."""
    is_number = isinstance(rating, int) and not isinstance(rating, bool) and 0 <= rating <= MAX_RATING
    if rating is not None and not is_number:
        raise SettingsError(f"invalid rating {rating!r}: use a whole number from 1 to {MAX_RATING}, or 0 to remove it")
    if not isinstance(rejected, bool | None):
        raise SettingsError(f"invalid rejected={rejected!r}: use True or False")
    if not isinstance(note, str | None):
        raise SettingsError(f'invalid note {note!r}: use a text, as in note="best sky"')
    if note is not None and len(note) > MAX_NOTE_LENGTH:
        raise SettingsError(f"a note has at most {MAX_NOTE_LENGTH:,} characters, this one has {len(note):,}")
    if rating is None and rejected is None and note is None:
        raise SettingsError("nothing to change: use a rating from 0 to 5, note=... or rejected=...")
