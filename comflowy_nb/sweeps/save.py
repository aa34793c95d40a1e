"""Save a whole sweep: copies of the images with readable names, contact sheets, and a JSON file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.records import run_metadata
from comflowy_nb.database.rows import params_to_json
from comflowy_nb.errors import ImageError
from comflowy_nb.images.save import Originals, add_parts, copy_with_params, slug, values_in_name
from comflowy_nb.images.save_target import writing_to
from comflowy_nb.images.store import utc
from comflowy_nb.layout.value_text import mark_differing_words
from comflowy_nb.painting.pages import encode
from comflowy_nb.settings import expand_home
from comflowy_nb.sweeps.sweep_painting import draw_contact_sheets
from comflowy_nb.workflow.files import write_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from comflowy_nb.database.records import SweepRecord
    from comflowy_nb.sweeps.cell import SweepCell
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.workflow.axes.types import Axis


def save_sweep(
    sweep: Sweep, images_folder: Path, folder: Path, *, strips: bool = False, adds_params: bool = True
) -> list[Path]:
    """Write a sweep into `folder`, which is created if necessary.

    Each image is copied to a file that contains the params and whose name begins with the values that vary
    (`s1.07_cfg-4_sampler_name-euler_seed-42.png`). The folder also contains `contact_sheet.jpg`, `contact_sheet_2.jpg`
    and so on, and `sweep.json`. Existing copies are not written again; contact sheets and JSON of the same sweep are
    replaced.

    Parameters
    ----------
    strips
        Remove the metadata that the images have.
    adds_params
        Write the params into the copies.

    Returns
    -------
    The paths written: the copies in the order of the cells, the contact sheets, `sweep.json`.

    Raises
    ------
    ImageError
        If there are no images, or the folder can't be written to; or if images are missing on disk or damaged: then
        everything else is written first.
    """
    folder = expand_home(folder)
    record = sweep.record
    if record is None or not any(run.record.images for run in sweep.runs):
        counts = ", ".join(f"{count} {status}" for status, count in sweep.status_counts().items())
        raise ImageError(f"{sweep.ref} has no images to save ({counts})")
    with writing_to(folder, f"{record.ref} can't be saved in {folder.name or folder}"):
        originals = Originals(images_folder)
        saved = _copy_all(sweep, originals, folder, strips=strips, adds_params=adds_params)
        number_suffix = _free_suffix(folder, record.token)
        sheets = _write_contact_sheets(sweep, folder, number_suffix)
        content = json.dumps(_sweep_json(sweep, record, saved, sheets), indent=2)
        write_file(folder / f"sweep{number_suffix}.json", content.encode("ascii"))
    copies = [path for images in saved.values() for path in images.values()]
    total = len(copies) + originals.left_out
    originals.check(record.ref, f"{len(copies)} of {total} images saved in {folder.name or folder}")
    return [*copies, *sheets, folder / f"sweep{number_suffix}.json"]


def _copy_all(
    sweep: Sweep, originals: Originals, folder: Path, *, strips: bool, adds_params: bool
) -> dict[int, dict[int, Path]]:
    """Write copies; return them by number of cell and index of image."""
    names = {axis.name: _value_names(axis) for axis in sweep.axes.axes}
    saved: dict[int, dict[int, Path]] = {}
    for cell in sweep.cells:
        copies = saved[cell.number] = {}
        if cell.run is None:
            continue
        record = cell.run.record
        metadata = {**run_metadata(record), "sweep": sweep.ref, "cell": cell.ref, "labels": dict(cell.labels)}
        for image in record.images:
            source = originals.find(image, f"{cell.ref}[{image.index}]")
            if source is None:
                continue
            index_suffix = f"_{image.index}" if len(record.images) > 1 else ""
            target = folder / f"{_copy_name(sweep, cell, names, index_suffix)}{source.suffix}"
            copies[image.index] = copy_with_params(source, target, metadata if adds_params else None, strips=strips)
    return saved


def _value_names(axis: Axis) -> list[str]:
    """Return the values of an axis for file names. Long texts with the same beginning become their differing words."""
    labels = [value.label for value in axis.values]
    names = [slug(label) for label in labels]
    if len(set(names)) == len(names):
        return names
    marked = mark_differing_words(labels)
    differing = (" ".join(part.text for part in parts if part.tone == "strong") for parts in marked)
    return [slug(words or label) for words, label in zip(differing, labels, strict=True)]


def _copy_name(sweep: Sweep, cell: SweepCell, names: Mapping[str, list[str]], index_suffix: str) -> str:
    """Return a file name: the reference, the values on the axes, and as many other set params as fit."""
    width = len(str(len(sweep.cells)))  # leading zeros, so that an alphabetical list is in the order of the cells
    axes = sweep.axes.axes
    parts = [
        f"{slug(axis.name.partition('::')[2] or axis.name)}-{names[axis.name][at]}"
        for axis, at in zip(axes, cell.at, strict=True)
        if axis.kind != "seeds"
    ]
    seeds = [key for axis in axes if axis.kind == "seeds" for key in axis.fields]  # the seed instead of its index
    varied = {key for axis in axes for key in axis.fields}
    rest = [key for key in sweep.axes.set_params if key not in varied]
    parts += values_in_name([*seeds, *rest], cell.params)
    return add_parts(f"{sweep.ref}.{cell.number:0{width}}", parts, index_suffix)


def _free_suffix(folder: Path, token: str) -> str:
    """Return the suffix of the file names: empty, or ` (2)` and so on if files of another sweep have these names."""
    number = 1
    while True:
        suffix = "" if number == 1 else f" ({number})"
        path = folder / f"sweep{suffix}.json"
        is_free = not path.exists() and not (folder / f"contact_sheet{suffix}.jpg").exists()
        if is_free or (path.is_file() and _is_same_sweep(path, token)):
            return suffix
        number += 1


def _is_same_sweep(path: Path, token: str) -> bool:
    """Return whether a file is the JSON file of this sweep."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return False
    return isinstance(content, dict) and content.get("sweep") == token


def _write_contact_sheets(sweep: Sweep, folder: Path, number_suffix: str) -> list[Path]:
    paths = []
    for number, painting in enumerate(draw_contact_sheets(sweep), 1):
        page = "" if number == 1 else f"_{number}"
        paths.append(folder / f"contact_sheet{page}{number_suffix}.jpg")
        write_file(paths[-1], encode(painting.paper))
    return paths


def _sweep_json(
    sweep: Sweep, record: SweepRecord, saved: dict[int, dict[int, Path]], sheets: list[Path]
) -> dict[str, Any]:
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
        "cells": [_cell_json(cell, saved[cell.number]) for cell in sweep.cells],
    }


def _cell_json(cell: SweepCell, saved: dict[int, Path]) -> dict[str, Any]:
    content: dict[str, Any] = {
        "cell": cell.number,
        "ref": cell.ref,
        "at": list(cell.at),
        "labels": dict(cell.labels),
        "info": dict(cell.info),
        "params": params_to_json(cell.params if cell.run is None else cell.run.params),
        "status": cell.status_text,
        "error": cell.error,
    }
    if cell.run is None:
        return content
    record = cell.run.record
    content["run"] = {
        "run": record.token,
        "ref": record.ref,
        "service": record.service,
        "service_run_id": record.service_run_id,
        "created_at": utc(record.created_at),
        "started_at": utc(record.started_at),
        "finished_at": utc(record.finished_at),
        "seconds": record.seconds,
        "queued_s": record.queued_s,
    }
    content["images"] = [
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
    return content
