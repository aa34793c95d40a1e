"""Paint the layers of the sandbox's scenes into the package: `scenes.zip`, and the example image.

Run `python tools/paint_scenes.py` after a change of the painting, and commit both files.
"""

from __future__ import annotations

import io
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zipfile import ZipFile, ZipInfo

import numpy as np
from painting import bottles, figures
from painting.canvas import PALETTES, Canvas, Paint, Plane, average_down, mix
from painting.figure import Figure
from painting.lands import paint_land
from painting.skies import paint_sky
from PIL import Image

from comflowy_nb.sandbox.engine import layers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FOLDER: Final = Path(layers.__file__).parent
_FIGURES: Final = {
    "bottle": partial(bottles.bottle, shape="bottle", level=-0.6),
    "flask": partial(bottles.bottle, shape="flask", level=-0.56),
    "vase": figures.vase,
    "lighthouse": figures.lighthouse,
    "cabin": figures.cabin,
    "boat": figures.boat,
    "balloon": figures.balloon,
    "cat": figures.cat,
    "tree": figures.tree,
    "castle": figures.castle,
}


def paint_skies(shape: str) -> list[Paint]:
    """Paint every sky in each of its lights, in one of the formats."""
    canvas = Canvas.of(*layers.FORMATS[shape])
    palettes = {palette.name: palette for palette in PALETTES}
    return [average_down(paint_sky(canvas, sky, palettes[palette])) for palette, sky in layers.SKIES]


def paint_lands(shape: str, name: str) -> tuple[Plane, list[Paint]]:
    """Paint a land in every light: its coverage, the same in all, and its colours."""
    canvas = Canvas.of(*layers.FORMATS[shape])
    painted = [paint_land(canvas, name, palette) for palette in PALETTES]
    return average_down(painted[0][0]), [average_down(paint) for _, paint in painted]


def paint_subject(subject: layers.Subject) -> tuple[Plane, list[Paint]]:
    """Paint a subject in every look and light: its coverage, the same in all, and its colours."""
    canvas = Canvas.part(layers.SUBJECT_ROWS, *subject.box)
    painted = []
    for look in subject.looks:
        for palette in PALETTES:
            figure = Figure(canvas, 0.0, subject.foot, subject.size, palette)
            _FIGURES[subject.name](figure, look)
            painted.append(figure)
    return average_down(painted[0].alpha * canvas.vignette), [average_down(figure.paint) for figure in painted]


def paint_example() -> Paint:
    """Paint the example input image, 512x512: a balloon over the sea in a light that no scene uses."""
    day, dawn = PALETTES[:2]
    palette = replace(day, middle=dawn.middle, horizon=dawn.horizon, haze=dawn.haze)
    canvas = Canvas.of(256, 256)
    alpha, land = paint_land(canvas, "cliffs", palette)
    image = mix(paint_sky(canvas, "clouds", palette), land, alpha)
    balloon = next(subject for subject in layers.SUBJECTS if subject.name == "balloon")
    figure = Figure(canvas, -0.12, balloon.foot, balloon.size, palette)
    figures.balloon(figure, "red")
    return mix(image, figure.paint, figure.alpha)[:, :, ::-1]


def _encode(images: Sequence[Plane], kind: str, **options: Any) -> bytes:
    """Stack images vertically, and return them as an encoded file."""
    strip = np.clip(np.concatenate(images, axis=-2) * 255 + 0.5, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(strip if strip.ndim == 2 else strip.transpose(1, 2, 0)).save(file, kind, **options)
    return file.getvalue()


def _paint_all() -> Iterator[tuple[str, list[Paint], Plane | None]]:
    for shape in layers.FORMATS:
        yield f"{shape}/skies", paint_skies(shape), None
        for land in layers.LANDS:
            cover, images = paint_lands(shape, land)
            yield f"{shape}/{land}", images, cover
    for subject in layers.SUBJECTS[1:]:
        cover, images = paint_subject(subject)
        yield f"subjects/{subject.name}", images, cover


def main() -> None:
    with ZipFile(FOLDER / "scenes.zip", "w") as archive:
        for name, images, cover in _paint_all():
            print(name)
            # ZipInfo's fixed date keeps the file the same when nothing changes.
            archive.writestr(ZipInfo(f"{name}.jpg"), _encode(images, "JPEG", quality=90, subsampling=0, optimize=True))
            if cover is not None:
                archive.writestr(ZipInfo(f"{name}.png"), _encode([cover], "PNG", optimize=True))
    (FOLDER / "example.jpg").write_bytes(_encode([paint_example()], "JPEG", quality=92, subsampling=0))


if __name__ == "__main__":
    main()
