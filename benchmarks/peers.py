"""Print the requirements of the extra `peers`, one on each line."""

from __future__ import annotations

import tomllib
from pathlib import Path

PROJECT = Path(__file__).parent.parent / "pyproject.toml"

if __name__ == "__main__":
    print("\n".join(tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]["peers"]))
