"""Write the list of modules in `docs/architecture.md`: each with the first line of its docstring.

With `--check` nothing is written: the exit status is 1 if the page is out of date.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "comflowy_nb"
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- modules: make modules -->\n", "<!-- end of modules -->"


def module_list() -> str:
    """Return a Markdown table of folders and modules."""
    rows = ["| Module | Content |", "|---|---|"]
    folders = [PACKAGE, *sorted(path for path in PACKAGE.rglob("*") if path.is_dir() and path.name != "__pycache__")]
    for folder in folders:
        modules = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py" or path.stat().st_size]
        if modules and folder != PACKAGE:
            rows.append(f"| **`{folder.relative_to(PACKAGE).as_posix()}/`** | |")
        rows += [f"| `{path.relative_to(PACKAGE).as_posix()}` | {summary(path)} |" for path in modules]
    return "\n".join(rows) + "\n"


def summary(path: Path) -> str:
    """Return the first line of a module's docstring, for a cell of a table."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].rstrip(".").replace("|", "\\|")


def main() -> int:
    """Write the list into the page, or compare it."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    new = f"{before}{BEGIN}{module_list()}{END}{rest.partition(END)[2]}"
    if "--check" in sys.argv:
        if new != text:
            print("the list of modules in docs/architecture.md is out of date: make modules")
        return int(new != text)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
