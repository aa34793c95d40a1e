"""The sidecar: what a run was, as JSON beside its images, for whoever finds them without the history."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import ImageError
from comflowy_nb.images.atomic_files import TOKEN, plain_disk_errors, write_file
from comflowy_nb.images.store import image_path

if TYPE_CHECKING:
    from pathlib import Path

    from comflowy_nb.database.records import RunRecord

__all__ = ["utc", "write_sidecar"]

_encode = json.JSONEncoder().encode


def write_sidecar(folder: Path, record: RunRecord) -> Path | None:
    """Write `<token>.json` beside a run's first kept image; its path, or None where nothing is kept yet.

    Raises
    ------
    ImageError
        If the disk is full.
    """
    kept = [output for output in record.outputs if output.state == "kept"]
    if not kept:
        return None
    if not TOKEN.fullmatch(record.token):
        raise ImageError("the run's token can't be a file's name")
    path = image_path(folder, kept[0]).with_name(f"{record.token}.json")
    lines = ",\n".join(f"  {_encode(name)}: {_encode(value)}" for name, value in _sidecar(record).items())
    with plain_disk_errors():
        write_file(path, f"{{\n{lines}\n}}\n".encode())
    return path


def _sidecar(record: RunRecord) -> dict[str, Any]:
    return {
        "comflowy_nb": 1,
        "run": record.token,
        "ref": record.ref,
        "name": record.name,
        "service": record.service,
        "service_run_id": record.service_run_id,
        "workflow": record.workflow,
        "workflow_id": record.workflow_id,
        "params": dict(record.params),
        "set_params": list(record.set_params),
        "key": record.key,
        "status": str(record.status),
        "created_at": utc(record.created_at),
        "accepted_at": utc(record.accepted_at),
        "finished_at": utc(record.finished_at),
        "images": [
            {
                "index": image.index,
                "node": image.node,
                "node_index": image.node_index,
                "state": image.state,
                "file": image.file,
                "sha256": image.sha256,
                "width_px": image.width_px,
                "height_px": image.height_px,
                "error": image.error,
            }
            for image in record.outputs
        ],
    }


def utc(seconds: float | None) -> str | None:
    """Seconds since 1970 as `2026-01-31T12:00:00.123Z`."""
    if seconds is None:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"
