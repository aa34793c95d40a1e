"""Hands over the pictures that a run takes in, each content once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import WorkflowError
from comflowy_nb.workflow.pictures import PictureInput

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from comflowy_nb.runs.tracker import Tracker

__all__ = ["Uploads"]


class Uploads:
    """What a service calls the pictures it was given by this client."""

    def __init__(self, tracker: Tracker, folder: Path) -> None:
        self._tracker = tracker
        self._folder = folder  # of pictures: a small copy of each is kept there
        self._known: dict[str, str] = {}  # sha256 -> the value to send

    def replace(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values as sent: every picture handed over, and what the service calls it in its place.

        Raises
        ------
        WorkflowError
            If the service takes no uploads.
        ServiceError
            If it refused one or gave no usable answer.
        """
        sent = dict(values)
        for field, value in values.items():
            if not isinstance(value, PictureInput):
                continue
            name = self._known.get(value.content_sha256)
            if name is None:
                name = self._tracker.call(partial(self._upload, value)).result()
            if name is None:
                label = self._tracker.service.label
                raise WorkflowError(f"{label} takes no uploads: give {field} the https address of a picture")
            self._known[value.content_sha256] = name
            sent[field] = name
        return sent

    def _upload(self, picture: PictureInput) -> str | None:
        from comflowy_nb.runs.input_pictures import keep_input  # noqa: PLC0415 - loads Pillow

        keep_input(self._folder, picture)
        return self._tracker.service.upload(picture.name, picture.load())
