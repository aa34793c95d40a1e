"""Images received while their run still goes on: the service said that they are there.

What it said is a hint. They wait in memory until its answer to a check lists them, and are dropped where it does not.
"""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from comflowy_nb.errors import ImageError
from comflowy_nb.images.atomic_files import hand_on
from comflowy_nb.images.decode import check_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from concurrent.futures import Future

    from comflowy_nb.images.decode import Checked
    from comflowy_nb.services.base import ImageStream, Output, Service
    from comflowy_nb.settings import Settings

__all__ = ["ImagePrefetch", "Received", "came"]

MOST = 4  # images of one run: the others come when it has ended
MOMENT_S = 0.02  # less than it takes to tell of an end twice
MAX_BYTES = 16 * 1024 * 1024  # of one; a larger one is received to the disk when the run has ended


@dataclass(frozen=True, slots=True)
class Received:
    """An image in memory, every byte of it counted, and checked."""

    content: bytes = field(repr=False)
    sha256: str
    checked: Checked

    @classmethod
    def of(cls, stream: ImageStream, settings: Settings) -> Received:
        """Receive and decode one.

        Raises
        ------
        ImageError
            If it is cut short, larger than what is received ahead, or no image.
        ServiceError
            If the connection breaks.
        """
        if stream.length is None:
            raise ImageError("nobody knows how large it will be")
        content = bytearray()
        sha256 = hand_on(stream, min(MAX_BYTES, settings.image_max_bytes), content.extend)
        return cls(bytes(content), sha256, check_image(bytes(content), max_px=settings.image_max_px))


class ImagePrefetch:
    """What is received ahead, for the runs of one client.

    Parameters
    ----------
    do
        Does one thing on another thread.
    """

    def __init__(
        self, service: Service, settings: Settings, do: Callable[[Callable[[], Received]], Future[Received]]
    ) -> None:
        self._service = service
        self._settings = settings
        self._do = do
        self._held: dict[str, dict[str, Future[Received]]] = {}  # token -> address of an image -> what comes of it
        self._lock = threading.Lock()

    def begin(self, token: str, outputs: Iterable[Output], *, is_live: Callable[[], bool]) -> None:
        """Receive the still images among these while the run goes on; each once, and only so many of a run."""
        with self._lock:
            if not is_live():
                return
            held = self._held.setdefault(token, {})
            for output in outputs:
                if output.ending is None and output.url not in held and len(held) < MOST:
                    held[output.url] = self._do(lambda output=output: self._receive(output))  # type: ignore[misc]

    def ready(self, token: str, url: str) -> Received | None:
        """One that is here, or will be in a moment; None if it is still on its way then, or did not come."""
        with self._lock:
            future = self._held.get(token, {}).get(url)
        return None if future is None else came(future, MOMENT_S)

    def take(self, token: str) -> Mapping[str, Future[Received]]:
        """Everything of a run, by address: what is here and what is on its way. It is not held any more."""
        with self._lock:
            return self._held.pop(token, {})

    def _receive(self, output: Output) -> Received:
        with self._service.open_image(output) as stream:
            return Received.of(stream, self._settings)


def came(future: Future[Received], timeout_s: float | None = None) -> Received | None:
    """What came of it within a time; None for nothing. Why not will show when it is fetched as any other."""
    with contextlib.suppress(CancelledError, Exception):
        return future.result(timeout_s)
    return None
