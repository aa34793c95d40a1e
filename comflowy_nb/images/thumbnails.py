"""Small JPEGs of an image, made when it is decoded for its check: grids never open an original of full size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from comflowy_nb.workflow.files.atomic import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["THUMBNAIL_SIZES_PX", "flatten", "make_thumbnails"]

THUMBNAIL_SIZES_PX = (512, 256)  # largest first: each is made from the one before


def make_thumbnails(image: Image.Image, path: Path, *, quality: int) -> None:
    """Write `<path without ending>.t512.jpg` and `.t256.jpg`. An image is never enlarged."""
    small, last = flatten(image), None
    for size_px in THUMBNAIL_SIZES_PX:
        before = small.size
        # Halved by averaging, and only the rest of the way by Lanczos: alone that takes ten times as long, more than
        # decoding, for a difference that a JPEG of this quality hides.
        small.thumbnail((size_px, size_px), Image.Resampling.LANCZOS, reducing_gap=1.0)
        target = path.with_suffix(f".t{size_px}.jpg")
        with atomic_write(target) as part:
            if last is not None and small.size == before:  # as small as that already
                part.write_bytes(last.read_bytes())
            else:
                small.save(part, "JPEG", quality=quality)  # into a file: Pillow lets other threads run meanwhile
        last = target


def flatten(image: Image.Image) -> Image.Image:
    """A copy in RGB; what is transparent becomes white, 16 bits become 8."""
    if image.has_transparency_data:
        solid = image.convert("RGBA")
        white = Image.new("RGBA", solid.size, "white")
        return Image.alpha_composite(white, solid).convert("RGB")
    if image.mode.startswith("I"):  # one channel of 16 bits: Pillow's own conversion cuts it off at 255
        return image.convert("I").point(lambda level: level / 256).convert("L").convert("RGB")
    return image.convert("RGB") if image.mode != "RGB" else image.copy()
