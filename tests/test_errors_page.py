"""The page of errors: its cells raise the errors that it shows, and every error of the package is on it or excused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_page_of_errors_is_complete_and_up_to_date():
    """`make errors` writes the page again."""
    command = [sys.executable, "tools/provoke_errors.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=390, check=False)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
