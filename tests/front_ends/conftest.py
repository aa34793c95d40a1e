"""The environment and the folder of a new user, for each file of tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the working folder of this file's tests."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def variables(tmp_path_factory):
    """Return the environment of a new user: no variable of Jupyter or of this package, except a home folder."""
    root = tmp_path_factory.mktemp("user")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COMFLOWY_", "JUPYTER", "XDG_"))}
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    folders = {"HOME": root, "IPYTHONDIR": root / "ipython", "COMFLOWY_HOME": root / "comflowy"}
    return kept | {"PATH": binaries} | {name: str(path) for name, path in folders.items()}
