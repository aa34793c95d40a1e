"""Configuration of Sphinx. `make docs` builds the site into build/docs/."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes

import comflowy_nb

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "comflowy_nb"
author = "The comflowy_nb maintainers"
copyright = author  # noqa: A001 - Sphinx's name
version = release = comflowy_nb.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build"]
source_suffix = {".md": "myst-nb", ".rst": "restructuredtext"}
nitpicky = False

# -- executed pages: the hidden cell at the top of each sets a separate history

nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 180
nb_merge_streams = True
nb_ipywidgets_js = {}  # nothing is loaded from a CDN
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]  # the static version instead

# The kernels write only into this folder, so that builds share no files, and do not use the files of a user.
_folder = Path(tempfile.mkdtemp(prefix="comflowy-docs-"))
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
os.environ |= {"TMPDIR": str(_folder), "COMFLOWY_HOME": str(_folder / "home"), "IPYTHONDIR": str(_folder / "ipython")}
for _name in ("COMFLOWY_API_KEY", "COMFLOWY_TARGET", "COMFLOWY_URL"):
    os.environ.pop(_name, None)

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# -- docstrings

autodoc_typehints = "none"  # the Parameters sections have the types
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# -- pages

html_theme = "pydata_sphinx_theme"
html_title = f"comflowy_nb {version}"
html_static_path = ["_static"]
html_css_files = ["comflowy.css"]
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"index": [], "start": []}
html_show_sourcelink = False


def describe_images(_app: Sphinx, document: nodes.document) -> None:
    """Set the alternative text of the images in outputs, which would be the names of their files."""
    for image in document.findall(nodes.image):
        cell = image.parent
        while cell is not None and "cell" not in cell.get("classes", ()):
            cell = cell.parent
        if cell is not None and not image.get("alt"):
            source = next(cell.findall(nodes.literal_block)).astext().strip()
            image["alt"] = f"Output of {source.splitlines()[-1]}" if source else "Output"


def setup(app: Sphinx) -> None:
    """Register the function above."""
    app.connect("doctree-read", describe_images)
