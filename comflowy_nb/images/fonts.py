"""Fonts for text drawn with Pillow: matplotlib's DejaVu Sans, and installed fonts for the letters that it lacks."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from functools import cache
from itertools import groupby
from pathlib import Path

from PIL import ImageFont

__all__ = ["OTHER_FAMILIES", "Font", "split_by_font"]

# Font families that are tried, in this order.
OTHER_FAMILIES = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR", "Source Han Sans SC",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "PingFang SC", "Hiragino Sans", "Hiragino Sans GB", "Heiti SC",
    "Microsoft YaHei", "SimHei", "Yu Gothic", "Meiryo", "MS Gothic", "Malgun Gothic", "Apple SD Gothic Neo",
    "Noto Serif CJK SC", "Noto Serif CJK JP", "Droid Sans Fallback", "IPAGothic", "IPAexGothic", "NanumGothic",
    "Arial Unicode MS", "Noto Sans", "Noto Emoji", "Segoe UI Emoji", "Segoe UI Symbol", "Apple Symbols", "Symbola",
)  # fmt: skip
_SUFFIXES = {".ttf", ".otf", ".ttc", ".otc"}
_UNASSIGNED = "\U0010ffff"  # every font draws its glyph for missing letters

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def split_by_font(text: str, size_px: int, *, is_bold: bool) -> list[tuple[Font, str]]:
    """Split a text into pieces, each with a font that can draw it; leave out unprintable characters."""
    if text.isascii() and text.isprintable():
        return [(_base(size_px, is_bold), text)]
    shown = [" " if letter.isspace() else letter for letter in text if letter.isspace() or letter.isprintable()]
    groups = groupby(shown, key=lambda letter: _file_for(letter, is_bold))
    return [(_font(file, size_px) if file else _base(size_px, is_bold), "".join(group)) for file, group in groups]


@cache
def _base(size_px: int, is_bold: bool) -> Font:  # noqa: FBT001 - cached by position
    """Return DejaVu Sans from matplotlib; Pillow's own font has only ASCII letters."""
    found = importlib.util.find_spec("matplotlib")  # does not import it
    name = "DejaVuSans-Bold.ttf" if is_bold else "DejaVuSans.ttf"
    for folder in (found and found.submodule_search_locations) or ():
        with contextlib.suppress(OSError):
            return ImageFont.truetype(str(Path(folder) / "mpl-data" / "fonts" / "ttf" / name), size_px)
    return ImageFont.load_default(size=size_px)


@cache
def _font(file: str, size_px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size_px)


@cache
def _file_for(letter: str, is_bold: bool) -> str | None:  # noqa: FBT001 - as above
    """Return the file of an installed font that can draw a letter; None if the base font or no font can."""
    if letter.isascii() or _can_draw(_base(16, is_bold), letter):
        return None
    styles = ("Bold", "Regular") if is_bold else ("Regular",)
    for family in OTHER_FAMILIES:
        faces = _installed().get(family)
        if not faces:
            continue
        file = next((faces[style] for style in styles if style in faces), next(iter(faces.values())))
        if _can_draw(_font(file, 16), letter):
            return file
    return None


def _can_draw(font: Font, letter: str) -> bool:
    def pixels(text: str) -> tuple[object, bytes]:
        mask = font.getmask(text)
        return mask.size, bytes(mask)

    with contextlib.suppress(OSError, ValueError):  # a font with colour bitmaps can't be scaled
        return pixels(letter) != pixels(_UNASSIGNED)
    return False


@cache
def _installed() -> dict[str, dict[str, str]]:
    """Return family -> style -> file of the installed fonts."""
    found: dict[str, dict[str, str]] = {}
    for folder in _folders():
        for root, _, names in os.walk(folder):
            for name in sorted(names):
                if Path(name).suffix.lower() not in _SUFFIXES:
                    continue
                file = str(Path(root) / name)
                with contextlib.suppress(OSError, ValueError):
                    family, style = ImageFont.truetype(file, 16).getname()
                    if family in OTHER_FAMILIES:
                        found.setdefault(family, {}).setdefault(style or "Regular", file)
    return found


def _folders() -> list[Path]:
    """Return the folders in which the operating system stores fonts."""
    home = Path.home()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"
        return [
            Path(os.environ.get("WINDIR") or "C:/Windows") / "Fonts",
            Path(local) / "Microsoft" / "Windows" / "Fonts",
        ]
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library" / "Fonts"]
    shared = (os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(":")
    own = os.environ.get("XDG_DATA_HOME") or home / ".local" / "share"
    return [home / ".fonts", *(Path(folder) / "fonts" for folder in (own, *shared, "/usr/share") if folder)]
