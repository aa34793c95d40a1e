"""Write an animation of a sweep along one axis: one frame per value, with its label in a caption strip."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from PIL import Image

from comflowy_nb.errors import ImageError, RefError, SettingsError
from comflowy_nb.images.thumbnail_sizes import LARGE_THUMBNAIL_PX
from comflowy_nb.layout.page import TextRun
from comflowy_nb.layout.text import LINE_PX, Paragraph, Part, wrap
from comflowy_nb.layout.value_text import add_part, bare_name
from comflowy_nb.painting.pages import read_image
from comflowy_nb.painting.palette import current_palette
from comflowy_nb.painting.text import DRAWING, measure, write_texts
from comflowy_nb.sweeps.headings import choose_axes
from comflowy_nb.workflow.syntax.json_values import is_finite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comflowy_nb.sweeps.sweep import Sweep, SweepCell
    from comflowy_nb.tracking.run import RunImage
    from comflowy_nb.workflow.axes.types import Axis


MIN_FRAME_S, MAX_FRAME_S = 0.02, 60.0  # browsers slow down GIFs with shorter frames
_MAX_SIDE_PX = 1024
_MIN_WIDTH_PX = 256
_PAD_PX = 8
_SCALE = 2  # scale of the text, in images at least 512 pixels wide


def choose_frames(
    sweep: Sweep, along: str, conditions: Mapping[str, str]
) -> tuple[Axis, list[tuple[SweepCell, RunImage]], list[str]]:
    """Choose the images of an animation.

    Parameters
    ----------
    along
        Name of the axis. Each frame shows one of its values.
    conditions
        Axis name -> value, for other axes. Without a condition, the first value that has an image is used.

    Returns
    -------
    The axis; the cells with their images, in the order of the values; references of the cells without an image.

    Raises
    ------
    RefError
        If a name is not an axis, or no cell fulfils the conditions.
    """
    axis = choose_axes(sweep.axes, {"x": along})[0]
    assert axis is not None
    position = sweep.axes.axes.index(axis)
    chosen = sweep.select(**conditions)
    if not chosen:
        typed = " ".join(f"{name}={value}" for name, value in conditions.items())
        raise RefError(f"{sweep.ref} has no cell with {typed}")
    # All indices of a cell but that on the axis.
    others = {(*cell.at[:position], *cell.at[position + 1 :]) for cell in chosen}
    for rest in sorted(others):
        row = [cell for cell in chosen if (*cell.at[:position], *cell.at[position + 1 :]) == rest]
        row.sort(key=lambda cell: cell.at[position])
        frames = [(cell, found) for cell in row if (found := _first_image(cell)) is not None]
        if frames:
            shown = {cell.number for cell, _ in frames}
            return axis, frames, [cell.ref for cell in row if cell.number not in shown]
    raise ImageError(f"{sweep.ref} has no images along {axis.name} to animate")


def _first_image(cell: SweepCell) -> RunImage | None:
    image = next(iter(cell.images), None)
    try:
        return image if image is not None and image.thumbnail(LARGE_THUMBNAIL_PX).exists() else None
    except ImageError:
        return None


def encode_animation(
    sweep: Sweep,
    axis: Axis,
    frames: Sequence[tuple[SweepCell, RunImage]],
    *,
    suffix: str,
    frame_s: float,
) -> bytes:
    """Encode an animation that loops forever.

    Parameters
    ----------
    suffix
        `gif` or `webp`.
    frame_s
        Duration of a frame in seconds, for which `check_frame_s` was called.
    """
    size = _size_of([image for _, image in frames])
    captions = [_caption(sweep, axis, cell) for cell, _ in frames]
    palette = current_palette()
    with DRAWING:
        scale = _SCALE if size[0] >= 2 * _MIN_WIDTH_PX else 1
        lines = [wrap(caption.parts, (size[0] - 2 * _PAD_PX) / scale, measure, max_lines=4) for caption in captions]
        strip_px = max(map(len, lines)) * LINE_PX * scale + 2 * _PAD_PX
        drawn = []
        for (_, image), frame_lines in zip(frames, lines, strict=True):
            paper = Image.new("RGB", (size[0], size[1] + strip_px), palette.paper)
            drawn_image = _read(image, size)
            paper.paste(drawn_image, ((size[0] - drawn_image.width) // 2, (size[1] - drawn_image.height) // 2))
            y = (size[1] + _PAD_PX) / scale
            texts = [
                TextRun(text, tone, _PAD_PX / scale + x, y + number * LINE_PX)
                for number, line in enumerate(frame_lines)
                for x, text, tone in line
            ]
            write_texts(paper, texts, scale, palette)
            drawn.append(paper)
    return _encode(drawn, suffix, frame_s)


def check_frame_s(frame_s: object) -> None:
    """Raise a SettingsError if a duration of a frame is not a number of seconds in the range."""
    if not is_finite(frame_s) or not MIN_FRAME_S <= frame_s <= MAX_FRAME_S:
        raise SettingsError(f"invalid frame duration of {frame_s!r} s: use {MIN_FRAME_S:g} to {MAX_FRAME_S:g} seconds")


def _size_of(images: Sequence[RunImage]) -> tuple[int, int]:
    """Return a size into which all images fit."""
    sizes = [(image.record.width_px or _MAX_SIDE_PX, image.record.height_px or _MAX_SIDE_PX) for image in images]
    width, height = max(width for width, _ in sizes), max(height for _, height in sizes)
    factor = min(1.0, _MAX_SIDE_PX / max(width, height))
    return max(_MIN_WIDTH_PX, round(width * factor)), max(1, round(height * factor))


def _read(image: RunImage, size: tuple[int, int]) -> Image.Image:
    record = image.record
    width, height = record.width_px or size[0], record.height_px or size[1]
    factor = min(1.0, size[0] / width, size[1] / height)
    path = image.thumbnail(LARGE_THUMBNAIL_PX) if image.is_pruned or record.error else image.path
    return read_image(path, (max(1, round(width * factor)), max(1, round(height * factor))))


def _caption(sweep: Sweep, axis: Axis, cell: SweepCell) -> Paragraph:
    """Return the value on the axis in bold, and the values on the other axes."""
    value = axis.values[cell.at[sweep.axes.axes.index(axis)]].label
    parts = [Part(f"{bare_name(axis.name)} {value}", "strong")]
    for other, index in zip(sweep.axes.axes, cell.at, strict=True):
        if other is not axis:
            add_part(parts, bare_name(other.name), other.values[index].label)
    return Paragraph(tuple(parts), 4)


def _encode(frames: Sequence[Image.Image], suffix: str, frame_s: float) -> bytes:
    stream = io.BytesIO()
    options: dict[str, Any] = {"save_all": True, "duration": round(frame_s * 1000), "loop": 0}
    if suffix == "gif":
        # Each frame has its own 256 colours; equal frames are kept, so that each value is shown for the same time.
        frames = [frame.quantize(256, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames]
        options["disposal"] = 1
    else:
        options |= {"quality": 90, "method": 4}
    frames[0].save(stream, suffix.upper(), append_images=list(frames[1:]), **options)
    return stream.getvalue()
