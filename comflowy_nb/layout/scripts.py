"""Bundle the scripts and styles of the widgets: combine a script with the modules that it imports. Pure.

The sources are modules that import each other by relative paths. A browser can't resolve these paths in a notebook or
in a saved page. Therefore the imported modules precede the script in one text, without `import` and `export`.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parents[1] / "notebook"
_IMPORT = re.compile(r'^import (?:\{[^}]*\} from )?"(\.[^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async |const |let |function |class ))", re.MULTILINE)
_DEFAULT = re.compile(r"^export default [^\n]*\n", re.MULTILINE)


@cache
def widget_script(name: str) -> str:
    """Return the script of a widget as one module that imports nothing.

    Parameters
    ----------
    name : str
        The path below `comflowy_nb/notebook/`. Only its own `export default` is kept; all modules share one scope.
    """
    texts: dict[Path, str] = {}
    _read(_FOLDER / name, texts)
    *imported, own = texts.values()
    return "\n".join([*(_DEFAULT.sub("", text) for text in imported), own])


@cache
def widget_style(name: str) -> str:
    """Return the style sheet of a widget, a file below `comflowy_nb/notebook/`."""
    return (_FOLDER / name).read_text("utf-8")


def _read(path: Path, texts: dict[Path, str]) -> None:
    """Add the modules that a module imports, then the module itself, each once."""
    text = path.read_text("utf-8")
    for name in _IMPORT.findall(text):
        imported = (path.parent / name).resolve()
        if imported not in texts:
            _read(imported, texts)
    texts[path.resolve()] = _EXPORT.sub("", _IMPORT.sub("", text))
