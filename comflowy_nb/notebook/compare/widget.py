"""The widget of a comparison: 2 to 9 images under a slider, blinking, side by side, or as their difference.

The saved state of the widget contains only text. The browser requests previews, full-size images and heat maps one at a
time, and the widget does not store them.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from comflowy_nb.comparison.differences import find_differences
from comflowy_nb.comparison.inputs import read_images
from comflowy_nb.comparison.pixels import HEAT, PREVIEW_PX, canvas_size, find_difference, for_browser, preview_of
from comflowy_nb.errors import ComflowyError, FieldError, SettingsError, nearest_tip
from comflowy_nb.layout.scripts import widget_script, widget_style
from comflowy_nb.layout.text import html_text
from comflowy_nb.notebook.compare.text import (
    captions_of,
    describe_difference,
    html_table,
    shared_line,
    text_table,
    warnings_of,
    widget_table,
)
from comflowy_nb.notebook.display.html import plain, widget_bundle
from comflowy_nb.notebook.magic_line.command_table import MODES
from comflowy_nb.settings import expand_home

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comflowy_nb.comparison.inputs import ComparedImage
    from comflowy_nb.painting.pages import DrawnPage, Figure


def compare(*items: Any, mode: str | None = None, label: Sequence[str] | None = None) -> Comparison:
    """Compare 2 to 9 images: under a slider, blinking, side by side with one zoom, or as their difference.

    Parameters
    ----------
    *items : Run, RunImage, SweepCell, str, path, PIL image, array or list of these
        Two to nine images. For a run or a cell with several images, the first one is compared. A text is a reference
        such as `r41` or `r41[1]`, or a path.
    mode : {"slider", "blink", "side", "difference"}, optional
        The initial mode. By default the slider for two images, and side by side for more.
    label : sequence of str, optional
        Field ids or names for the captions, instead of the fields that differ.

    Returns
    -------
    Comparison
        The widget. It is displayed if it is the last value of a cell; `Comparison.save` writes it to an HTML file.

    Raises
    ------
    RefError
        If there are too few or too many images, or an item has no image to compare.
    ImageError
        If a file is missing or not an image.
    SettingsError
        If there is no such mode.
    FieldError
        If none of the images has a field of `label`.

    Examples
    --------
    >>> comflowy_nb.compare(sweep.cell(1), sweep.cell(2), mode="side")
    <Comparison of ...>
    """
    return Comparison(read_images(items), mode=mode, label=label)


class Comparison(anywidget.AnyWidget):  # type: ignore[misc]  # anywidget is not read by mypy here
    """Images to compare with mouse and keyboard, as `compare` returns them.

    Parameters
    ----------
    images : sequence of ComparedImage
        2 to 9 images, as `read_images` returns them.
    mode : {"slider", "blink", "side", "difference"}, optional
        The initial mode. By default the slider for two images, and side by side for more.
    label : sequence of str, optional
        Field ids or names for the captions, instead of the fields that differ.

    Raises
    ------
    SettingsError
        If there is no such mode.
    FieldError
        If none of the images has a field of `label`.

    Examples
    --------
    >>> comparison = comflowy_nb.compare(sweep.cell(1), sweep.cell(2))
    >>> comparison.position = 30
    >>> comparison.mode
    'slider'
    """

    # As text: for a path, anywidget keeps a signal that holds every instance (anywidget issue 929).
    _esm = widget_script("compare/compare.js")
    _css = widget_style("compare/compare.css")

    mode = traitlets.Enum(MODES, default_value="slider").tag(sync=True)
    """How the images are shown: slider, blink, side or difference."""
    position = traitlets.Float(50.0, min=0, max=100).tag(sync=True)
    """Position of the slider, in percent from the left of the visible part of the images."""
    left = traitlets.Int(0, min=0).tag(sync=True)
    """Index of the image on the left of the slider, and of the first that blinks; from 0."""
    right = traitlets.Int(1, min=0).tag(sync=True)
    """Index of the image on the right, and of the second that blinks; from 0."""
    pace_s = traitlets.Float(0.8, min=0.4, max=3).tag(sync=True)
    """Seconds for which each image is shown in blink mode. At least 0.4 s, because faster flashing can be harmful."""

    _content = traitlets.Dict().tag(sync=True)

    def __init__(
        self, images: Sequence[ComparedImage], *, mode: str | None = None, label: Sequence[str] | None = None
    ) -> None:
        if mode is not None and mode not in MODES:
            raise SettingsError(f"invalid mode {mode!r}: use {', '.join(MODES[:-1])} or {MODES[-1]}")
        self._images = list(images)
        self._still: DrawnPage | None = None
        self._is_closed = False
        sizes = [image.size for image in images]
        self._canvas = canvas_size(sizes)
        self._differences = find_differences([image.known_fields for image in images], sizes=sizes)
        captions = captions_of(images, self._differences, None if label is None else _find_fields(label, images))
        self._chosen_captions = None if label is None else captions
        content = {
            "images": [
                {"name": plain(image.name), "also": plain(image.also), "caption": caption, "size": list(image.size)}
                for image, caption in zip(images, captions, strict=True)
            ],
            "canvas": list(self._canvas),
            "preview_px": PREVIEW_PX,
            "table": widget_table(self._differences),
            "shared": shared_line(self._differences),
            "warnings": warnings_of(images, self._canvas, self._differences),
            "heat": [[stop, list(colour)] for stop, colour in HEAT],
        }
        super().__init__(mode=mode or ("slider" if len(images) == 2 else "side"), _content=content)
        self.on_msg(self._send_reply)

    @property
    def names(self) -> list[str]:
        """The captions of the images, in order."""
        return [image.name for image in self._images]

    @property
    def paths(self) -> list[Path]:
        """The paths of the images that are files."""
        return [image.source for image in self._images if isinstance(image.source, Path)]

    @property
    def figure(self) -> Figure:
        """The images side by side with captions, and the difference of two images, as a matplotlib figure."""
        return self._draw().figure

    @property
    def jpeg(self) -> bytes:
        """The figure as a JPEG, for front ends without widgets."""
        return self._draw().jpeg

    @property
    def text(self) -> str:
        """The table of differing fields as text, and the warnings."""
        return "\n".join([text_table(self._images, self._differences), *self._content["warnings"]])

    @traitlets.validate("left", "right")  # type: ignore[untyped-decorator]  # traitlets is not read by mypy here
    def _check_index(self, proposal: Mapping[str, Any]) -> int:
        index, count = int(proposal["value"]), len(self._images)
        if index >= count:
            raise traitlets.TraitError(f"invalid index {index}: the images of this comparison are 0 to {count - 1}")
        return index

    # -- requests of the browser --------------------------------------------------------------------------------

    def _send_reply(self, _: object, request: Mapping[str, Any], __: object) -> None:
        """Send the requested content together with the request, so that other views of the widget can ignore it."""
        if self._is_closed or not isinstance(request, dict):
            return
        try:
            reply, content = self.reply_to(request)
        except ComflowyError as error:
            reply, content = {"problem": plain(str(error))}, b""
        except Exception as error:  # noqa: BLE001 - a callback's traceback would go to the log
            reply, content = {"problem": f"the image can't be shown ({type(error).__name__})"}, b""
        self.send({"to": request, **reply}, [content] if content else None)

    def reply_to(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Return the reply to a request of a view in the browser.

        Parameters
        ----------
        request : mapping
            `{"ask": "image", "index": 0}`, the same with `preview`, or `{"ask": "difference", "pair": [0, 1]}`.

        Returns
        -------
        tuple of dict and bytes
            The reply, with the media type as `kind`, and the encoded image.

        Raises
        ------
        ComflowyError
            If an image is missing, or the request is not one of these.
        """
        images, indices = self._images, range(len(self._images))
        match request:
            case {"ask": "preview", "index": int(index)} if index in indices:
                return {"kind": "image/jpeg"}, preview_of(images[index].open_small())
            case {"ask": "image", "index": int(index)} if index in indices:
                content, kind = for_browser(images[index].source, images[index].name)
                return {"kind": kind}, content
            case {"ask": "difference", "pair": [int(left), int(right)]} if left in indices and right in indices:
                difference = find_difference(images[left].open(), images[right].open())
                stream = io.BytesIO()
                difference.heat.save(stream, "PNG")
                numbers, caveat = describe_difference(difference, images[left], images[right])
                reply = {"kind": "image/png", "top": difference.top, "numbers": numbers, "caveat": caveat}
                return reply, stream.getvalue()
        raise SettingsError("the page sent a request that this version does not know; run the cell again")

    # -- static versions ----------------------------------------------------------------------------------------

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write this comparison to one HTML file that needs no network and no kernel.

        The file contains the full-size images without their metadata (graphs, camera, location).

        Parameters
        ----------
        path : str or Path
            The file; `.html` is appended to a name without suffix. Its folder is created if necessary.
        overwrite : bool, default False
            Whether to replace a file that has another content.

        Returns
        -------
        Path
            The file that was written.

        Raises
        ------
        ImageError
            If an image is missing, another file has this name, or the file can't be written or has another suffix.

        Examples
        --------
        >>> comflowy_nb.compare(sweep.cell(1), sweep.cell(2)).save("comparison.html").name
        'comparison.html'
        """
        from comflowy_nb.notebook.compare.static import save_page  # noqa: PLC0415 - loads matplotlib

        return save_page(self, self._images, expand_home(path), overwrite=overwrite)

    def close(self) -> None:
        """Close the widget in the browser, and free its images."""
        self._is_closed = True
        self.on_msg(self._send_reply, remove=True)
        super().close()
        self._still = None
        self._images = []

    def _draw(self) -> DrawnPage:
        from comflowy_nb.notebook.compare.static import draw_still  # noqa: PLC0415 - loads matplotlib

        if self._still is None:
            self._still = draw_still(self._images, self._differences, self._canvas, self._chosen_captions)
        return self._still

    _ipython_display_ = None  # the method of ipywidgets 7 displays the widget without the text and HTML beside it

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]] | None:
        return self.bundle()

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the display data of the widget, with a static figure and table for front ends without widgets.

        Returns
        -------
        tuple of dict and dict
            The data and the metadata, by media type.
        """
        if self._is_closed:
            return {"text/plain": repr(self)}, {}
        table = html_table(self._images, self._differences)
        warnings = "".join(f"<div>{html_text(line)}</div>" for line in self._content["warnings"])
        alt = plain(f"{', '.join(self.names)} side by side")
        parent = super()._repr_mimebundle_()
        return widget_bundle(parent, self._draw(), text=self.text, markup=table + warnings, alt=alt)

    def __repr__(self) -> str:
        return f"<Comparison of {', '.join(self.names)}>"


def _find_fields(names: Sequence[str], images: Sequence[ComparedImage]) -> list[str]:
    """Return the ids of the fields with these ids or names, in any of the images."""
    known = dict.fromkeys(key for image in images for key in image.known_fields.everything)
    field_ids: list[str] = []
    for name in [names] if isinstance(names, str) else names:
        keys = [key for key in known if name in {key, key.split("::", 1)[-1]}]
        if not keys:
            tip = nearest_tip(name, [*known, *(key.split("::", 1)[-1] for key in known)])
            raise FieldError(f"no image here has a field {name!r}{tip}")
        field_ids += keys
    return list(dict.fromkeys(field_ids))
