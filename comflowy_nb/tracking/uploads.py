"""Uploads of input images: each content once, kept in the home folder."""

from __future__ import annotations

import contextlib
import re
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.connection import make_folder
from comflowy_nb.errors import HistoryError, WorkflowError
from comflowy_nb.workflow.files import write_file
from comflowy_nb.workflow.images import InputImage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from comflowy_nb.services.base import Service
    from comflowy_nb.tracking.tracker import Tracker

__all__ = ["Uploads", "kept_input"]

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Uploads:
    """The input images that this client has uploaded, and their names on the service.

    Parameters
    ----------
    folder
        Where their contents are kept, so that a sweep over them can be continued when the files are gone.
    """

    def __init__(self, tracker: Tracker, folder: Path) -> None:
        self._tracker = tracker
        self._folder = folder
        self._lock = threading.Lock()
        self._uploads: dict[str, _Upload] = {}  # by sha256

    def replace(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Upload every image among the values; return the values with the names of the images on the service.

        Raises
        ------
        WorkflowError
            If the service takes no uploads.
        ServiceError
            If it rejected one, or its response is unusable.
        """
        return {
            field: self._upload(value, field) if isinstance(value, InputImage) else value
            for field, value in values.items()
        }

    def kept(self, content_sha256: str) -> bytes | None:
        return kept_input(self._folder, content_sha256)

    def upload_all(self, many: Iterable[Mapping[str, Any]]) -> None:
        """Upload the images of several runs, before any of these is submitted.

        Raises
        ------
        WorkflowError, ServiceError
            As `replace`, at the first that can't be uploaded.
        """
        images = {
            value.content_sha256: (value, field)
            for values in many
            for field, value in values.items()
            if isinstance(value, InputImage)
        }
        for image, field in images.values():
            self._upload(image, field)

    def _upload(self, image: InputImage, field: str) -> str:
        with self._lock:
            upload = self._uploads.setdefault(image.content_sha256, _Upload())
        if upload.name is not None:
            return upload.name
        name = self._tracker.scheduler.run(partial(upload.upload_once, self._tracker.service, image))
        if name is None:
            label = self._tracker.service.label
            raise WorkflowError(f"{label} takes no uploads: give {field} the https address of an image")
        with contextlib.suppress(OSError, HistoryError):  # the run is submitted all the same
            _keep(self._folder, image)
            self._tracker.history.inputs.keep(self._tracker.service.identity, name, image.content_sha256)
        return name


class _Upload:
    """The upload of one content; of several threads that need it at once, one uploads it."""

    def __init__(self) -> None:
        self.name: str | None = None
        self._lock = threading.Lock()

    def upload_once(self, service: Service, image: InputImage) -> str | None:
        with self._lock:
            if self.name is None:
                self.name = service.upload(image.name, image.load())
            return self.name


def kept_input(folder: Path, content_sha256: str) -> bytes | None:
    """Return the content of an image that was uploaded once; None if it is not there."""
    path = _path(folder, content_sha256)
    try:
        return None if path is None else path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HistoryError(f"a kept image can't be read: {error.strerror}") from error


def _keep(folder: Path, image: InputImage) -> None:
    path = _path(folder, image.content_sha256)
    if path is None or path.exists():
        return
    make_folder(folder)
    write_file(path, image.load())


def _path(folder: Path, content_sha256: str) -> Path | None:
    return folder / content_sha256 if _SHA256.fullmatch(content_sha256) else None
