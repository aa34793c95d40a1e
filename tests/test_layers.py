"""Imports run one way, and the heavy ones stand where they belong."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import comflowy_nb

PACKAGE = Path(comflowy_nb.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# From the lowest up; a module may import its own layer and those before it.
LAYERS = [
    ("errors", "settings"),
    ("workflow",),
    ("services", "scheduler"),
    ("database", "images", "layout"),
    ("tracking",),
    ("library", "recipe", "comparison", "sweeps"),
    ("client", "connection"),
    ("notebook", "cli"),
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
ONLY_NOTEBOOK = {"IPython", "ipywidgets", "anywidget", "matplotlib", "traitlets"}


def imports(path, *, at_top=False):
    """Absolute names of everything a module imports: anywhere, or only what its import already runs."""
    found = set()
    nodes = _top_level(ast.parse(path.read_text())) if at_top else ast.walk(ast.parse(path.read_text()))
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"import_module", "importlib.import_module"}:
            found.update(arg.value for arg in node.args if isinstance(arg, ast.Constant) and arg.value[0] != ".")
    return found


def _top_level(tree):
    """The nodes that run on import: not those in functions, nor those for type checking alone."""
    pending = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending.extend(node.orelse)
            continue
        yield node
        pending.extend(ast.iter_child_nodes(node))


def room(name):
    """`comflowy_nb.tracking.run` -> `runs`; None for what is not ours, or for the package itself."""
    head, *rest = name.split(".")
    return rest[0] if head == "comflowy_nb" and rest else None


def name_of(path):
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def roots(path, **options):
    return {name.split(".")[0] for name in imports(path, **options)}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_only_run_downwards(path):
    own = room(name_of(path))
    for name in imports(path):
        other = room(name)
        # `TYPE_CHECKING` imports count as well: who needs a type from above has the arrow wrong.
        if other not in RANK or own not in RANK:
            continue
        assert RANK[other] <= RANK[own], f"{name_of(path)} imports {name}, which lies above it"


def test_every_module_has_a_place_in_the_layers():
    for path in MODULES:
        own = room(name_of(path))
        assert own in RANK or own in {"sandbox", "__init__"}, f"{name_of(path)} belongs to no layer"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_terminal_command_imports_the_sandbox(path):
    if room(name_of(path)) == "sandbox" or room(name_of(path)) == "cli":
        return
    assert not [name for name in imports(path) if room(name) == "sandbox"]


@pytest.mark.parametrize("path", sorted((PACKAGE / "sandbox").rglob("*.py")), ids=name_of)
def test_sandbox_shares_no_code_with_the_client(path):
    """It is the other end of the wire: a wrong idea of the API must not hide at both ends."""
    assert not [name for name in imports(path) if room(name) not in {None, "sandbox"}]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_notebook_folder_knows_the_notebook(path):
    if room(name_of(path)) != "notebook":
        allowed = {"IPython"} if path == PACKAGE / "__init__.py" else set()
        assert not roots(path) & (ONLY_NOTEBOOK - allowed)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_grid_imports_matplotlib(path):
    if path != PACKAGE / "notebook" / "display" / "figure.py":
        assert "matplotlib" not in roots(path)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nobody_imports_pyplot(path):
    """pyplot keeps every figure it made, picks a backend and is not to be used from threads."""
    assert not [name for name in imports(path) if name.startswith("matplotlib.pyplot")]


def test_layers_are_read_right(tmp_path):
    """The reader of imports sees what hides in functions, and tells apart what runs on import."""
    source = "import a\ndef f():\n    from b.c import d\nif TYPE_CHECKING:\n    import e\nclass K:\n    import g\n"
    path = tmp_path / "module.py"
    path.write_text(source)
    assert imports(path) == {"a", "b.c", "b.c.d", "e", "g"}
    assert imports(path, at_top=True) == {"a", "g"}
