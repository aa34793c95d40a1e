"""Small copies of the pictures that were handed to a service, for the headers of sweeps when they are shown again."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from comflowy_nb.runs.images import write_file
from comflowy_nb.runs.store import make_folder
from comflowy_nb.runs.thumbnails import flatten
from comflowy_nb.settings import settings

if TYPE_CHECKING:
    from pathlib import Path

    from comflowy_nb.workflow.pictures import PictureInput

__all__ = ["input_path", "keep_input"]

SIDE_PX = 192


def input_path(folder: Path, picture: PictureInput) -> Path:
    """Where its small copy is, in the pictures' folder, named by its content."""
    return folder / "inputs" / f"{picture.content_sha256}.jpg"


def keep_input(folder: Path, picture: PictureInput) -> None:
    """Write the small copy, unless it is there. Where that can't be, nothing is lost but a small picture."""
    from PIL import Image  # noqa: PLC0415 - heavy, and only needed where a picture goes in

    path = input_path(folder, picture)
    if path.exists():
        return
    try:
        with Image.open(io.BytesIO(picture.load())) as opened:
            if opened.width * opened.height > settings.picture_max_px:
                return
            small = flatten(opened)
        small.thumbnail((SIDE_PX, SIDE_PX))
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=settings.jpeg_quality)
        make_folder(path.parent)
        write_file(path, buffer.getvalue())
    except Exception:  # noqa: BLE001 - Pillow raises many kinds, and a disk may be full
        return
