"""A whole sweep for a person: copies under readable names, a contact sheet, and a JSON of everything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.records import made_by
from comflowy_nb.errors import ImageError
from comflowy_nb.images.atomic_files import write_file
from comflowy_nb.images.save import add_parts, copy_with_params, slug, values_in_name
from comflowy_nb.images.save_target import check_sweep_target, kind_of_target, os_reason, write_zip
from comflowy_nb.images.sidecar import utc
from comflowy_nb.images.store import image_path
from comflowy_nb.layout.captions import stand_out
from comflowy_nb.painter import encode
from comflowy_nb.sweeps.painting import draw_contact_sheets
from comflowy_nb.workflow.images import InputImage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from comflowy_nb.sweeps.sweep import Sweep, SweepCell
    from comflowy_nb.workflow.axes.types import Axis

__all__ = ["save_sweep"]

_TOLD = 6  # references in a message, at most


def save_sweep(sweep: Sweep, images_folder: Path, folder: Path) -> list[Path]:
    """Write a sweep into `folder`, which is made if it isn't there, or into a zip file if it is the name of one.

    Each image becomes a copy whose name says what varies first (`s1.07_cfg-4_sampler_name-euler_seed-42.png`), with
    the params in it as `save` writes them. Beside them are `contact_sheet.jpg`, with `contact_sheet_2.jpg` and so on
    where one page does not take all, and `sweep.json`.

    Returns
    -------
    The paths written: the images by their cells, then the contact sheet's pages, then `sweep.json`; or that of the
    zip file. What is there already is not written again; saving the sweep again renews the sheet and the JSON.

    Raises
    ------
    SettingsError
        If `folder` is the name of another file.
    ImageError
        If there are no images yet, or the folder can't be written to; or, after all else has been written, if some
        images are not on disk.
    """
    folder = folder.expanduser()
    check_sweep_target(folder)
    record = sweep.record
    if record is None or not any(cell.run is not None and cell.run.record.images for cell in sweep.cells):
        counts = ", ".join(f"{count} {word}" for word, count in sweep.status_counts().items())
        raise ImageError(f"{sweep.ref} has no images to save ({counts})")
    if kind_of_target(folder) == "zip":
        return [write_zip(folder, lambda inside: save_sweep(sweep, images_folder, inside))]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        saved, missing = _copy_all(sweep, images_folder, folder)
        tail = _free_tail(folder, record.token)
        sheets = _write_contact_sheets(sweep, folder, tail)
        told = json.dumps(_everything(sweep, saved, sheets), indent=2, ensure_ascii=True)
        write_file(folder / f"sweep{tail}.json", told.encode("ascii"))
    except OSError as error:
        raise ImageError(f"{record.ref} can't be saved in {folder.name or folder}: {os_reason(error)}") from error
    copies = [path for images in saved.values() for path in images.values()]
    if missing:
        some = ", ".join(missing[:_TOLD]) + (" ..." if len(missing) > _TOLD else "")
        raise ImageError(
            f"{len(copies)} of {len(copies) + len(missing)} images saved in {folder.name or folder}; not on disk: "
            f"{some}. %comflowy show {record.ref} fetches them again"
        )
    return [*copies, *sheets, folder / f"sweep{tail}.json"]


def _copy_all(sweep: Sweep, images_folder: Path, folder: Path) -> tuple[dict[int, dict[int, Path]], list[str]]:
    """The copies by the cells' numbers and the images' indices, and what is not on disk."""
    words = {axis.name: _words_of(axis) for axis in sweep.axes.axes}
    missing: list[str] = []
    saved: dict[int, dict[int, Path]] = {}
    for cell in sweep.cells:
        copies = saved[cell.number] = {}
        if cell.run is None:
            continue
        record = cell.run.record
        made = {**made_by(record), "sweep": sweep.ref, "cell": cell.ref, "labels": dict(cell.labels)}
        for image in record.images:
            source = image_path(images_folder, image) if image.file else None
            if source is None or not source.is_file():
                missing.append(f"{cell.ref}[{image.index}]")
                continue
            tail = f"_{image.index}" if len(record.images) > 1 else ""
            target = folder / f"{_readable_name(sweep, cell, words, tail)}{source.suffix}"
            copies[image.index] = copy_with_params(source, target, made)
    return saved, missing


def _words_of(axis: Axis) -> list[str]:
    """The values of an axis as they stand in names: of long texts that begin alike, what differs."""
    labels = [value.label for value in axis.values]
    words = [slug(label) for label in labels]
    if len(set(words)) == len(words):
        return words
    strong = (" ".join(part.text for part in parts if part.tone == "strong") for parts in stand_out(labels))
    return [slug(differing or label) for differing, label in zip(strong, labels, strict=True)]


def _readable_name(sweep: Sweep, cell: SweepCell, words: Mapping[str, list[str]], tail: str) -> str:
    """The reference, the axes' values, then what else was set, as far as it fits."""
    width = len(str(len(sweep.cells)))  # so that a list by name is a list by number
    axes = sweep.axes.axes
    parts = [
        f"{slug(axis.name.partition('::')[2] or axis.name)}-{words[axis.name][at]}"
        for axis, at in zip(axes, cell.at, strict=True)
        if axis.kind != "seeds"
    ]
    drawn = [key for axis in axes if axis.kind == "seeds" for key in axis.fields]  # a seed says more than its index
    varied = {key for axis in axes for key in axis.fields}
    rest = [key for key in sweep.axes.set_params if key not in varied]
    parts += values_in_name([*drawn, *rest], cell.params)
    return add_parts(f"{sweep.ref}.{cell.number:0{width}}", parts, tail)


def _free_tail(folder: Path, token: str) -> str:
    """What follows `sweep` and `contact_sheet` in the files' names: nothing, or a number where others have them."""
    n = 1
    while True:
        tail = "" if n == 1 else f" ({n})"
        path = folder / f"sweep{tail}.json"
        if not path.exists():
            if not (folder / f"contact_sheet{tail}.jpg").exists():
                return tail
        elif path.is_file() and _is_of(path, token):
            return tail
        n += 1


def _is_of(path: Path, token: str) -> bool:
    try:
        told = json.loads(path.read_bytes())
    except ValueError:
        return False
    return isinstance(told, dict) and told.get("sweep") == token


def _write_contact_sheets(sweep: Sweep, folder: Path, tail: str) -> list[Path]:
    paths = []
    for number, painting in enumerate(draw_contact_sheets(sweep), 1):
        paths.append(folder / (f"contact_sheet{tail}.jpg" if number == 1 else f"contact_sheet_{number}{tail}.jpg"))
        write_file(paths[-1], encode(painting.paper))
    return paths


def _everything(sweep: Sweep, saved: dict[int, dict[int, Path]], sheets: list[Path]) -> dict[str, Any]:
    record = sweep.record
    assert record is not None
    return {
        "comflowy_nb": 1,
        "sweep": record.token,
        "ref": record.ref,
        "name": record.name,
        "service": record.service,
        "workflow": record.workflow,
        "workflow_id": record.workflow_id,
        "created_at": utc(record.created_at),
        "ended_at": utc(sweep.ended_at),
        "spec": record.spec,
        "layout": sweep.layout,
        "counts": sweep.status_counts(),
        "contact_sheet": [path.name for path in sheets],
        "cells": [_cell(cell, saved[cell.number]) for cell in sweep.cells],
    }


def _cell(cell: SweepCell, saved: dict[int, Path]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "cell": cell.number,
        "ref": cell.ref,
        "at": list(cell.at),
        "labels": dict(cell.labels),
        "params": {key: _plain(value) for key, value in cell.params.items()},
        "status": "not sent" if cell.status is None else str(cell.status),
        "error": cell.error,
    }
    if cell.run is None:
        return told
    record = cell.run.record
    told["params"] = dict(record.params)
    told["run"] = {
        "run": record.token,
        "ref": record.ref,
        "service": record.service,
        "service_run_id": record.service_run_id,
        "created_at": utc(record.created_at),
        "finished_at": utc(record.finished_at),
        "seconds": record.seconds,
    }
    told["images"] = [
        {
            "index": image.index,
            "node": image.node,
            "file": saved[image.index].name if image.index in saved else None,
            "sha256": image.sha256,  # of the original
            "width_px": image.width_px,
            "height_px": image.height_px,
            "error": image.error,
        }
        for image in record.images
    ]
    return told


def _plain(value: Any) -> Any:
    return {"image": value.name, "sha256": value.content_sha256} if isinstance(value, InputImage) else value
