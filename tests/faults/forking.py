"""Start many processes fast: each is forked from a server process that has imported what they need."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing import forkserver
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext

MODULES = [
    "chaos",
    "kill_points",
    "killed_operations",
    "killed_steps",
    "PIL.JpegImagePlugin",
    "comflowy_nb.archive.loader",
    "comflowy_nb.client",
    "comflowy_nb.history",
    "comflowy_nb.images.delete",
    "comflowy_nb.images.prune",
    "comflowy_nb.images.thumbnails",
    "comflowy_nb.services.comflowy.webhooks",
    "tornado.platform.asyncio",
]


def forking_context() -> ForkServerContext:
    """Return a context of multiprocessing whose server has imported `MODULES`.

    The server finds modules by PYTHONPATH only (before Python 3.13), and ignores those that it does not find.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(MODULES)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return context
