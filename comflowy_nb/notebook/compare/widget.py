"""Comparison: 2 to 9 images under a slider, blinking, side by side, or as their difference, in one widget.

The saved state of the widget holds words only. Previews, images in full size and heat maps go to the browser when it
asks for them, one at a time, and are kept nowhere here.
"""

from __future__ import annotations

import base64
import html
import io
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from comflowy_nb.comparison.inputs import read_images
from comflowy_nb.comparison.param_diff import find_differences
from comflowy_nb.errors import ComflowyError, FieldError, SettingsError
from comflowy_nb.images.browser_images import for_browser
from comflowy_nb.images.pixels import HEAT, canvas_of, find_difference, preview_of
from comflowy_nb.layout.html_text import html_text
from comflowy_nb.notebook.compare.text import (
    captions_of,
    describe_difference,
    for_page,
    html_table,
    remarks_of,
    shared_line,
    text_table,
)
from comflowy_nb.notebook.display.html import plain
from comflowy_nb.workflow.fields import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comflowy_nb.comparison.inputs import Compared
    from comflowy_nb.comparison.param_diff import Differences
    from comflowy_nb.notebook.compare.figure import Still
    from comflowy_nb.painter import Figure

__all__ = ["MODES", "Comparison", "compare", "comparison"]

MODES = ("slider", "blink", "side", "difference")
SCRIPT = (Path(__file__).parent / "compare.js").read_text("utf-8")
STYLE = (Path(__file__).parent / "compare.css").read_text("utf-8")


class Comparison(anywidget.AnyWidget):  # type: ignore[misc]  # anywidget is not read by mypy here
    """Images to be compared with a mouse and a keyboard; `compare` and `comparison` make one.

    Parameters
    ----------
    images
        2 to 9 of them, as `read_images` gives them.
    mode
        How to begin: slider, blink, side or difference. Two images begin under the slider, more side by side.
    label
        Field ids for the captions instead of those that differ.
    """

    _esm = SCRIPT  # as text: a path would keep a signal that holds every instance (anywidget issue 929)
    _css = STYLE

    mode = traitlets.Enum(MODES, default_value="slider").tag(sync=True)
    """How the images are shown: slider, blink, side or difference."""
    position = traitlets.Float(50.0, min=0, max=100).tag(sync=True)
    """Position of the slider, in percent from the left of the visible part of the images."""
    left = traitlets.Int(0, min=0).tag(sync=True)
    """Which image is on the left of the slider, and first of the two that blink; from 0."""
    right = traitlets.Int(1, min=0).tag(sync=True)
    """Which image is on the right, and second; from 0."""
    pace_s = traitlets.Float(0.8, min=0.4, max=3).tag(sync=True)
    """Seconds for which each image is shown in blink mode. At least 0.4 s: faster flashing can harm."""

    _content = traitlets.Dict().tag(sync=True)

    def __init__(
        self, images: Sequence[Compared], *, mode: str | None = None, label: Sequence[str] | None = None
    ) -> None:
        if mode is not None and mode not in MODES:
            raise SettingsError(f"mode is {', '.join(MODES[:-1])} or {MODES[-1]}, not {mode!r}")
        self._images: list[Compared] = list(images)
        self._lock = threading.Lock()  # a kernel may bring messages on several threads
        self._still: Still | None = None
        self._is_closed = False
        self.differences: Differences = find_differences(
            [each.maker for each in images], sizes=[each.size for each in images]
        )
        self._canvas = canvas_of([each.size for each in images])
        self._label = None if label is None else _find_fields(label, images)
        super().__init__(mode=mode or ("slider" if len(images) == 2 else "side"), _content=self._describe())
        self.on_msg(self._answer)

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def token(self) -> str:
        """What an execution remembers of a comparison it has drawn."""
        return f"comparison {id(self)}"

    @property
    def names(self) -> list[str]:
        """The captions of the images, in order."""
        return [each.name for each in self._images]

    @property
    def paths(self) -> list[Path]:
        """The files of those images that are files."""
        return [each.source for each in self._images if isinstance(each.source, Path)]

    @property
    def figure(self) -> Figure:
        """The images side by side with captions, and of two the difference, as a matplotlib figure."""
        return self._drawn().figure

    @property
    def jpeg(self) -> bytes:
        """That figure as a JPEG, as a notebook without widgets shows it."""
        return self._drawn().jpeg

    @property
    def text(self) -> str:
        """The fields that differ as a table in text, with what one should know."""
        return "\n".join([text_table(self._images, self.differences), *self._content["remarks"]])

    @traitlets.validate("left", "right")  # type: ignore[untyped-decorator]  # traitlets is not read by mypy here
    def _check_index(self, proposal: Mapping[str, Any]) -> int:
        index, count = int(proposal["value"]), len(self._images)
        if index >= count:
            raise traitlets.TraitError(f"there are {count} images, from 0 to {count - 1}, so no {index}")
        return index

    def _captions(self) -> list[str]:
        return captions_of(self._images, self.differences, self._label)

    def _describe(self) -> dict[str, Any]:
        """All the words that the browser needs."""
        images = [
            {
                "name": plain(each.name),
                "also": plain(each.also),
                "caption": caption,
                "size": list(each.size),
            }
            for each, caption in zip(self._images, self._captions(), strict=True)
        ]
        return {
            "images": images,
            "canvas": list(self._canvas),
            "table": for_page(self.differences),
            "shared": plain(shared_line(self.differences)),
            "remarks": [plain(line) for line in remarks_of(self._images, self._canvas, self.differences)],
            "heat": [[stop, list(colour)] for stop, colour in HEAT],
        }

    # -- what the browser asks ----------------------------------------------------------------------------------

    def _answer(self, _: object, asked: Mapping[str, Any], __: object) -> None:
        """Send what a view asks for, to it alone: the others see that it isn't theirs."""
        if self._is_closed or not isinstance(asked, dict):
            return
        try:
            with self._lock:
                said, content = self.give(asked)
        except ComflowyError as error:
            said, content = {"problem": plain(str(error))}, b""
        except Exception as error:  # noqa: BLE001 - a callback's traceback would go to the log
            said, content = {"problem": f"the image can't be shown ({type(error).__name__})"}, b""
        self.send({"to": asked, **said}, [content] if content else None)

    def give(self, asked: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        """What a view asks for: `{"ask": "image", "index": 0}`, or `preview`, or `difference` with a `pair`.

        Raises
        ------
        ComflowyError
            If an image is not there any more, or nothing of the kind can be asked.
        """
        indices = set(range(len(self._images)))
        match asked:
            case {"ask": "preview", "index": int(index)} if index in indices:
                return {"kind": "image/jpeg"}, preview_of(self._images[index].open_small())
            case {"ask": "image", "index": int(index)} if index in indices:
                content, kind = for_browser(self._images[index].source, self._images[index].name)
                return {"kind": kind}, content
            case {"ask": "difference", "pair": [int(left), int(right)]} if {left, right} <= indices:
                return self._difference(self._images[left], self._images[right])
        raise SettingsError("the page asked for something that this version doesn't know; run the cell again")

    @staticmethod
    def _difference(one: Compared, other: Compared) -> tuple[dict[str, Any], bytes]:
        found = find_difference(one.open(), other.open())
        stream = io.BytesIO()
        found.heat.save(stream, "PNG")
        numbers, word = describe_difference(found, one, other)
        return {"kind": "image/png", "top": found.top, "numbers": numbers, "word": word}, stream.getvalue()

    # -- elsewhere than in the browser --------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write the same comparison as one HTML file that needs no network and no kernel; the path written.

        Images are in it in full size, without what else their files tell (graphs, where they were taken).

        Raises
        ------
        ImageError
            If an image is not there any more, or the file can't be written.
        """
        from comflowy_nb.notebook.compare.html_page import save_page  # noqa: PLC0415 - only when asked for

        return save_page(self, self._images, Path(path).expanduser())

    def close(self) -> None:
        """Free everything: the widget in the browser, and what is held here."""
        self._is_closed = True
        self.on_msg(self._answer, remove=True)
        super().close()
        self._still = None
        self._images = []

    def _drawn(self) -> Still:
        from comflowy_nb.notebook.compare.figure import draw_still  # noqa: PLC0415 - loads matplotlib

        with self._lock:
            if self._still is None:
                captions = None if self._label is None else self._captions()
                self._still = draw_still(self._images, self.differences, self._canvas, captions)
            return self._still

    _ipython_display_ = None  # that of ipywidgets 7 displays the widget without the text and HTML beside it

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        del include, exclude  # IPython asks with both; there is one way to show a comparison
        return self.bundle()

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return data and metadata for a notebook: the widget, and a static figure and table."""
        if self._is_closed:
            return {"text/plain": repr(self)}, {}
        parent = super()._repr_mimebundle_()
        data, metadata = parent if isinstance(parent, tuple) else (parent or {}, {})
        data = {**data, "text/plain": self.text}
        table = html_table(self._images, self.differences)
        remarks = "".join(f"<div>{html_text(line)}</div>" for line in self._content["remarks"])
        still = self._drawn()
        width, height = still.size_px
        jpeg = base64.b64encode(still.jpeg).decode("ascii")
        # Whoever takes HTML before images (nbconvert) would show the table alone: the figure is in it as well.
        figure = f'<img width="{width}" style="max-width:100%" alt="{self._alt()}" src="data:image/jpeg;base64,{jpeg}">'
        data["text/html"] = f"<div>{table}{remarks}{figure}</div>"
        data["image/jpeg"] = jpeg
        return data, {**metadata, "image/jpeg": {"width": width, "height": height}}

    def _alt(self) -> str:
        return html.escape(plain(f"{', '.join(self.names)} side by side"))

    def __repr__(self) -> str:
        return f"<Comparison of {', '.join(self.names)}>"


def comparison(items: Sequence[Any], *, mode: str | None = None, label: Sequence[str] | None = None) -> Comparison:
    """A comparison of these things; see `compare`, which takes them one by one."""
    return Comparison(read_images(items), mode=mode, label=label)


def compare(*items: Any, mode: str | None = None, label: Sequence[str] | None = None) -> Comparison:
    """Compare 2 to 9 images: slider, blink, side by side with one zoom, difference.

    Parameters
    ----------
    items
        Runs (one with several images means its first), `run.images[1]`, cells of sweeps, references as text, paths,
        PIL images, arrays.
    mode
        How to begin: `slider`, `blink`, `side` or `difference`.
    label
        Fields for the captions instead of those that differ.

    Raises
    ------
    RefError
        If there are too few or too many, or something has no image to compare.
    ImageError
        If a file is missing or no image.
    """
    return comparison(items, mode=mode, label=label)


def _find_fields(words: Sequence[str], images: Sequence[Compared]) -> list[str]:
    """The fields of the images that are called so."""
    words = [words] if isinstance(words, str) else words
    known = list(dict.fromkeys(key for each in images for key in each.maker.everything))
    found = []
    for word in words:
        keys = [key for key in known if word in {key, key.split("::", 1)[-1]}]
        if not keys:
            near = nearest(word, [*known, *(key.split("::", 1)[-1] for key in known)])
            tip = f"; nearest: {', '.join(near)}" if near else ""
            raise FieldError(f"no image here has a field {word!r}{tip}")
        found += keys
    return list(dict.fromkeys(found))
