"""Answer the requests of an explorer's views: document, images, ratings and submits of cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import ComflowyError, ImageError, SettingsError, spelled
from comflowy_nb.exploration.exploration import image_review
from comflowy_nb.exploration.images import read_full, read_thumbnail
from comflowy_nb.images.thumbnail_sizes import SMALL_THUMBNAIL_PX, THUMBNAIL_SIZES_PX
from comflowy_nb.notebook.display.html import plain
from comflowy_nb.notebook.explore.submits import plan_cells, start_cells

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from comflowy_nb.client import Client
    from comflowy_nb.exploration.exploration import Exploration
    from comflowy_nb.notebook.explore.submits import Action, CellPlan
    from comflowy_nb.tracking.run import RunImage

    Reply: TypeAlias = tuple[dict[str, Any], list[bytes]]


MAX_THUMBNAILS = 32  # in one request
_UNKNOWN = "the page sent a request that this version does not know; run the cell again"


def is_write(request: Mapping[str, Any]) -> bool:
    """Return whether a request changes ratings. Such requests run in order, on their own thread."""
    return "rate" in request


def is_submit(request: Mapping[str, Any]) -> bool:
    """Return whether a request plans or submits runs. Such requests are slow and run on their own thread."""
    return "do" in request or request.get("ask") == "plan"


class Answers:
    """Answer the requests of an explorer's views. All methods are thread-safe.

    Parameters
    ----------
    client
        Returns the connected client, or raises an error that shows how to connect.
    max_runs
        The number of submits that the user permits; None for the default limit.
    """

    def __init__(self, exploration: Exploration, *, client: Callable[[], Client], max_runs: int | None) -> None:
        self._exploration = exploration
        self._client = client
        self._max_runs = max_runs

    def answer(self, request: Mapping[str, Any]) -> Reply:
        """Return the reply to a request, and its buffers. If the request fails, `problem` is the reason."""
        try:
            with spelled("magic"):
                return self._answer(request)
        except ComflowyError as error:
            return {"problem": plain(str(error))}, []
        except Exception as error:  # noqa: BLE001 - Jupyter writes the traceback of a callback to a log
            return {"problem": f"internal error: {type(error).__name__}"}, []

    def _answer(self, request: Mapping[str, Any]) -> Reply:
        match request:
            case {"ask": "document"}:
                return {"document": self._exploration.document()}, []
            case {"ask": "thumbs", "images": [*keys]} if len(keys) <= MAX_THUMBNAILS:
                return self._thumbnails([str(key) for key in keys], request.get("side", SMALL_THUMBNAIL_PX))
            case {"ask": "full", "image": str(key)}:
                return self._full(key)
            case {"rate": {"image": str(key)}}:
                return self._rate(key, request["rate"]), []
            case {"ask": "plan", "action": "missing" | "retry" as action}:
                plan = self._plan(action, request.get("items"))
                return {"plan": plan.text, "submits": plan.submits, "problem": plan.problem}, []
            case {"do": "missing" | "retry" as action, "submits": int(confirmed)}:
                plan = self._plan(action, request.get("items"))
                started = start_cells(plan, self._client(), confirmed=confirmed, max_runs=self._max_runs)
                return {"started": started}, []
        raise SettingsError(_UNKNOWN)

    def _thumbnails(self, keys: Sequence[str], side_px: object) -> Reply:
        if side_px not in THUMBNAIL_SIZES_PX or not isinstance(side_px, int):
            raise SettingsError(_UNKNOWN)
        images = self._exploration.images(keys)
        found: list[bytes] = []
        missing = []
        for key in keys:
            try:
                found.append(read_thumbnail(images[key], side_px))
            except (KeyError, ComflowyError):
                missing.append(key)
        return {"kinds": ["image/jpeg"] * len(found), "missing": missing}, found

    def _full(self, key: str) -> Reply:
        content, kind, note = read_full(self._image(key))
        return {"kind": kind, **({"note": note} if note else {})}, [content]

    def _rate(self, key: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        image = self._image(key)
        image.rate(changes.get("rating"), rejected=changes.get("rejected"), note=changes.get("note"))
        return {"saved": changes.get("number"), "image": {"key": key, **image_review(image.review)}}

    def _image(self, key: str) -> RunImage:
        image = self._exploration.images([key]).get(key)
        if image is None:
            raise ImageError(f"{key} is not an image of this exploration")
        return image

    def _plan(self, action: Action, items: object) -> CellPlan:
        only = None if items is None else {int(item) for item in items} if isinstance(items, Sequence) else set()
        entries = self._exploration.entries
        return plan_cells(entries, self._client(), action, only=only, max_runs=self._max_runs)
