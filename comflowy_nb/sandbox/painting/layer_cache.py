"""Painted layers, kept on disk so that the next worker need not paint them.

A file is a line of JSON, the arrays, and a checksum. It is mapped into memory, so that all workers share its pages.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
import secrets
import time
import zlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import filelock
import numpy as np
import PIL

from comflowy_nb.sandbox.painting.layers import Layers, Silhouette, paint_layers
from comflowy_nb.sandbox.painting.styles import STYLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_KEPT: Final = 6  # canvases and styles, up to 35 MB each
_LOCK_WAIT_S: Final = 10.0  # several times what painting takes
_LITTER_S: Final = 3600.0  # what is older and no layers was left behind by a death


def fetch_layers(checkpoint: str, canvas: tuple[int, int], folder: Path) -> Layers:
    """The layers of a checkpoint on a canvas: those kept in the folder, else painted and put there.

    Two workers that want the same ones don't both paint them. A file that is damaged, or a folder that can't be
    written, costs the time to paint and nothing else.
    """
    path = folder / f"{_name(checkpoint, canvas)}.layers"
    kept = _read(path)
    if kept is not None:
        return kept
    with _alone(path.with_suffix(".lock")):
        kept = _read(path)
        if kept is not None:
            return kept
        painted = paint_layers(canvas, STYLES[checkpoint])
        with contextlib.suppress(OSError):
            _write(path, painted)
            _clear_up(folder)
        return _read(path) or painted  # what is mapped is shared; what was painted is this worker's alone


def _name(checkpoint: str, canvas: tuple[int, int]) -> str:
    return hashlib.sha256(json.dumps([_painters(), checkpoint, *canvas]).encode()).hexdigest()[:32]


@lru_cache(maxsize=1)
def _painters() -> str:
    """All that decides what a layer looks like to the last bit: this folder's source, and what computes with it."""
    hashed = hashlib.sha256(f"{np.__version__} {PIL.__version__} {platform.machine()}".encode())
    for module in sorted(Path(__file__).parent.glob("*.py")):
        hashed.update(module.read_bytes())
    return hashed.hexdigest()


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock; without it, where it can't be had in time or at all."""
    lock = filelock.FileLock(path)
    with contextlib.suppress(OSError, NotImplementedError):  # Timeout is an OSError
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire(timeout=_LOCK_WAIT_S)
    try:
        yield
    finally:
        lock.release()


def _write(path: Path, layers: Layers) -> None:
    arrays: list[NDArray[Any]] = [layers.skies, layers.sky_palettes, layers.lands, layers.land_cover]
    arrays += [array for s in layers.silhouettes for array in (s.looks, s.cover, s.pixels)]
    head = {
        "arrays": [[array.dtype.str, array.shape] for array in arrays],
        "sky_names": layers.sky_names,
        "subjects": [s.subject for s in layers.silhouettes],
    }
    line = json.dumps(head).encode()
    content = line.ljust(_align(len(line) + 1) - 1) + b"\n"
    content += b"".join(array.tobytes().ljust(_align(array.nbytes), b"\0") for array in arrays)
    part = path.with_suffix(f".{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(content + _checksum(content))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _read(path: Path) -> Layers | None:
    """The layers of a file; None where there is none, or it is not as it was written."""
    try:
        mapped = np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)
        if _checksum(mapped[:-4].data) != mapped[-4:].tobytes():
            return None
        start = mapped[: 1 << 16].tobytes().index(b"\n") + 1
        head = json.loads(mapped[:start].tobytes())
        arrays: list[Any] = []
        for kind, shape in head["arrays"]:
            dtype = np.dtype(kind)
            size = math.prod(shape) * dtype.itemsize
            arrays.append(mapped[start : start + size].view(dtype).reshape(shape))
            start += _align(size)
        skies, sky_palettes, lands, land_cover, *rest = arrays
        parts = zip(head["subjects"], rest[0::3], rest[1::3], rest[2::3], strict=True)
        silhouettes = tuple(Silhouette(*part) for part in parts)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # used last: cleared away last
    return Layers(skies, sky_palettes, tuple(head["sky_names"]), lands, land_cover, silhouettes)


def _align(size_bytes: int) -> int:
    return size_bytes + -size_bytes % 64


def _checksum(content: bytes | memoryview) -> bytes:
    return zlib.crc32(content).to_bytes(4, "big")


def _clear_up(folder: Path) -> None:
    """Remove all but the layers that were used last."""
    used = {path: path.stat().st_mtime for path in folder.iterdir()}
    layers = sorted((path for path in used if path.suffix == ".layers"), key=used.__getitem__)
    litter = [path for path in used if path.suffix != ".layers" and used[path] < time.time() - _LITTER_S]
    for path in (*layers[:-_KEPT], *litter):
        with contextlib.suppress(OSError):  # another was quicker, or a system that keeps what is mapped
            path.unlink()
