"""Layers: imports run one way, and each heavy library is imported in one place only."""

from __future__ import annotations

import ast
import functools
import graphlib
from pathlib import Path

import comflowy_nb

PACKAGE = Path(comflowy_nb.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# From the lowest layer up; a module may import its layer and lower ones.
LAYERS = [
    ("errors", "settings", "status", "held_runs", "countdown", "credential_formats"),
    ("workflow",),
    ("services", "scheduler"),
    ("database", "images", "layout"),
    ("painting",),
    ("archive", "scanning"),
    ("tracking",),
    ("library", "history", "recipe", "comparison", "exploration", "sharing", "sweeps"),
    ("client", "connection"),
    ("notebook", "cli", "server_extension"),
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
ONLY_NOTEBOOK = {"IPython", "ipywidgets", "anywidget", "traitlets"}


def called_name(call):
    """Return the last part of the name of the called function."""
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


@functools.cache
def imports(path, *, when="ever"):
    """Return the absolute names of the imports of a module.

    `when` is "ever" for all imports, "run" without those for type checking, or "import" for those that run when the
    module is imported.
    """
    names_found = set()
    for node in _nodes(ast.parse(path.read_text()), when):
        if isinstance(node, ast.Import):
            names_found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            names_found.add(node.module)
            names_found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and called_name(node) == "import_module":
            names_found.update(arg.value for arg in node.args if isinstance(arg, ast.Constant) and arg.value[0] != ".")
    return names_found


def _nodes(tree, when):
    """Yield the nodes of a module that run at the given time."""
    pending = list(tree.body)
    while pending:
        node = pending.pop()
        if when == "import" and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if when != "ever" and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending.extend(node.orelse)
            continue
        yield node
        pending.extend(ast.iter_child_nodes(node))


def folder(name):
    """Return the folder or top-level module of a name (`tracking` for `comflowy_nb.tracking.run`), else None."""
    head, *rest = name.split(".")
    return rest[0] if head == "comflowy_nb" and rest else None


def name_of(path):
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def roots(path, **options):
    return {name.split(".")[0] for name in imports(path, **options)}


def test_imports_only_run_downwards():
    """Imports for type checking count: a module that needs a type of a higher layer is in the wrong layer."""
    wrong = []
    for path in MODULES:
        own = folder(name_of(path))
        for name in imports(path):
            other = folder(name)
            if own in RANK and other in RANK and RANK[other] > RANK[own]:
                wrong.append(f"{name_of(path)} imports {name}")
    assert not wrong


def test_no_imports_form_a_cycle():
    """Imports within functions count, those for type checking do not. The exception serves the method `Sweep.save`."""
    allowed = ("comflowy_nb.sweeps.sweep", "comflowy_nb.sharing.save")
    names = {name_of(path): path for path in MODULES}
    graph = {name: {other for other in imports(path, when="run") if other in names} for name, path in names.items()}
    graph[allowed[0]].remove(allowed[1])
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_every_module_is_in_a_layer():
    unknown = {name_of(path) for path in MODULES if folder(name_of(path)) not in {*RANK, "sandbox", "__init__"}}
    assert not unknown


def test_only_the_terminal_command_imports_the_sandbox():
    allowed = {"sandbox", "cli"}
    wrong = [
        name_of(path)
        for path in MODULES
        if folder(name_of(path)) not in allowed and any(folder(name) == "sandbox" for name in imports(path))
    ]
    assert not wrong


def test_sandbox_shares_no_code_with_the_client():
    """No test would find a misreading of the API in shared code, because both ends would have it."""
    modules = [path for path in MODULES if folder(name_of(path)) == "sandbox"]
    assert modules
    wrong = {name_of(path): [n for n in imports(path) if folder(n) not in {None, "sandbox"}] for path in modules}
    assert not {name: found for name, found in wrong.items() if found}


def test_only_the_notebook_folder_imports_notebook_libraries():
    for path in MODULES:
        if folder(name_of(path)) != "notebook":
            assert not roots(path) & ONLY_NOTEBOOK, name_of(path)


def test_only_the_painting_folder_imports_matplotlib():
    """pyplot is imported nowhere: it keeps every figure, picks a backend and is not thread-safe."""
    importing = {name_of(path) for path in MODULES if "matplotlib" in roots(path)}
    assert importing == {
        "comflowy_nb.painting.files", "comflowy_nb.painting.pages", "comflowy_nb.painting.palette",
        "comflowy_nb.painting.text",
    }  # fmt: skip
    for path in MODULES:
        assert not [name for name in imports(path) if name.startswith("matplotlib.pyplot")], name_of(path)


def test_imports_are_detected(tmp_path):
    """`imports` finds imports in functions, and distinguishes those that run on import."""
    source = "import a\ndef f():\n    from b.c import d\nif TYPE_CHECKING:\n    import e\nclass K:\n    import g\n"
    path = tmp_path / "module.py"
    path.write_text(source)
    assert imports(path) == {"a", "b.c", "b.c.d", "e", "g"}
    assert imports(path, when="import") == {"a", "g"}
