"""Score images with a function of the user, and store the scores in the history."""

from __future__ import annotations

import math
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.queries.field_filters import REVIEW_NAMES
from comflowy_nb.database.scores import Score
from comflowy_nb.errors import ComflowyError, RefError, SettingsError, counted
from comflowy_nb.workflow.syntax.json_values import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL import Image

    from comflowy_nb.tracking.run_images import RunImage


_STORE_S = 1.0  # between two writes to the history
_PROGRESS_AFTER_S, _PROGRESS_S = 2.0, 0.5
_MAX_ERROR_CHARS = 300
_MAX_NAME_CHARS = 60
_NAMED_ERRORS = 3


class ImageScores(dict[str, float]):
    """Scores of a run or a sweep: a dict of image reference -> score, in image order.

    Parameters
    ----------
    name : str
        Name of the scores.
    values : dict of str to float
        The scores by the reference of the image: `r41[0]`, `s1.7`, or `s1.7[1]` if a cell has several images.
    errors : dict of str to str
        The exceptions of the function by the reference of the image.

    Examples
    --------
    >>> scores = run.score(lambda image: image.width, name="width")
    >>> scores.best, list(scores.values()), scores.errors
    (['r...[0]'], [64.0], {})
    """

    def __init__(self, name: str, values: dict[str, float], errors: dict[str, str]) -> None:
        super().__init__(values)
        self.name = name
        self.errors = errors

    @property
    def best(self) -> list[str]:
        """The references, the highest score first."""
        return sorted(self, key=self.__getitem__, reverse=True)

    def __repr__(self) -> str:
        parts = [counted(len(self), "image")]
        if self:
            parts[0] += f", {min(self.values()):.3g} to {max(self.values()):.3g}, highest {self.best[0]}"
        if self.errors:
            parts.append(f"{len(self.errors)} failed")
        return f"<Scores {self.name}: {'; '.join(parts)}>"


class Scorable:
    """Mixin of `Run` and `Sweep` that scores their images with a function."""

    def score(
        self, function: Callable[[Image.Image], float], name: str | None = None, *, progress: bool = True
    ) -> ImageScores:
        """Score each image with a function, and store the scores in the history.

        Captions show the scores, `to_dataframe` has a column with their name, and
        `%comflowy runs --where "NAME > 0.3"` searches them. New scores replace scores of the same name. After an
        interrupt, the history keeps the scores computed until then.

        Parameters
        ----------
        function : callable
            Called with each downloaded image, as a decoded PIL image in the mode of its file; returns a number. If it
            raises for an image, the exception is stored as the error of that image.
        name : str, optional
            The name of the scores: letters, digits and `_`. By default the name of the function.
        progress : bool, default True
            Whether to print the progress of a function that takes more than two seconds for all images.

        Returns
        -------
        ImageScores
            A dict of the reference of each image -> score, with `best` and `errors`.

        Raises
        ------
        SettingsError
            If `function` can't be called, or the name is not accepted.
        RefError
            If the images do not belong to a history.
        HistoryError
            If the history can't be written.

        Examples
        --------
        >>> run.score(lambda image: image.convert("L").getextrema()[1], name="brightest")
        <Scores brightest: 1 image, ... to ..., highest r...[0]>
        """
        chosen = _check_name(function, name)
        return _score(self._named_images(), function, chosen, progress=progress)

    def _named_images(self) -> list[tuple[str, RunImage]]:
        """Return the images, each with its reference."""
        raise NotImplementedError


def _check_name(function: object, name: object) -> str:
    """Return the name of the scores."""
    if not callable(function):
        raise SettingsError(f"{shown(function)} can't be called: use score(function, name='sharpness')")
    if name is None:
        name = getattr(function, "__name__", None)
    if not isinstance(name, str) or not name.isidentifier() or len(name) > _MAX_NAME_CHARS:
        raise SettingsError(
            f"invalid name {shown(name)} of a score: use letters, digits and _, as in score(function, name='sharpness')"
        )
    if name in REVIEW_NAMES:
        raise SettingsError(f"{name} can't be the name of a score: it is reserved for ratings; use another name")
    return name


def _score(
    named: Sequence[tuple[str, RunImage]], function: Callable[[Any], Any], name: str, *, progress: bool
) -> ImageScores:
    """Score images of one history, and store the results every second and at the end."""
    by_token = {image.token: (ref, image) for ref, image in reversed(named) if image.record.state == "kept"}
    images = list(by_token.values())[::-1]
    if any(image.run.history is None for _, image in images):
        raise RefError("the images do not belong to a history, so their scores can't be stored")
    results: dict[str, Score] = {}
    pending: dict[tuple[str, int], Score] = {}

    def store() -> None:
        history = images[0][1].run.history if images else None
        if history is not None and pending:
            history.scores.put(name, pending)
            pending.clear()

    line = _ProgressLine(name, len(images), after_s=_PROGRESS_AFTER_S if progress else math.inf)
    stored_s = time.monotonic()
    try:
        for ref, image in images:
            results[ref] = pending[image.run.token, image.record.index] = _call(function, image)
            if time.monotonic() - stored_s > _STORE_S:
                store()
                stored_s = time.monotonic()
            line.show(len(results))
    finally:
        store()
        line.end()
    errors = {ref: score.error for ref, score in results.items() if score.error is not None}
    if errors:
        _warn(name, errors, len(images))
    values = {ref: score.value for ref, score in results.items() if score.value is not None}
    return ImageScores(name, values, errors)


def _call(function: Callable[[Any], Any], image: RunImage) -> Score:
    """Return the score of an image. If the function raises, the score has an error."""
    try:
        result = function(image.pil())
    except Exception as error:  # noqa: BLE001 - the function is the user's
        text = " ".join(str(error).split())
        named = text if isinstance(error, ComflowyError) else f"{type(error).__name__}: {text}".rstrip(": ")
        return Score(error=named[:_MAX_ERROR_CHARS])
    try:
        value = float(result)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return Score(error=f"the function returned {shown(result)}, which is not a number")
    if not math.isfinite(value):
        return Score(error=f"the function returned {value}, which is not a finite number")
    return Score(value)


def _warn(name: str, errors: dict[str, str], count: int) -> None:
    named = "; ".join(f"{ref}: {error}" for ref, error in list(errors.items())[:_NAMED_ERRORS])
    more = " ..." if len(errors) > _NAMED_ERRORS else ""
    # `warnings.warn` would show a file path
    warnings.warn_explicit(f"{name} failed for {len(errors)} of {count} images: {named}{more}", UserWarning, "score", 1)


class _ProgressLine:
    """Progress line that is rewritten while a function runs, and appears after `after_s` seconds."""

    def __init__(self, name: str, count: int, after_s: float) -> None:
        self._name = name
        self._count = count
        self._due_s = time.monotonic() + after_s
        self._is_shown = False

    def show(self, done: int) -> None:
        if time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + _PROGRESS_S
            self._is_shown = True
            sys.stdout.write(f"\r{self._name}: {done:,} of {self._count:,} images ")
            sys.stdout.flush()

    def end(self) -> None:
        if self._is_shown:
            sys.stdout.write("\n")
            sys.stdout.flush()
