"""Warn once about a cell that contains a key: in `connect`, as `COMFLOWY_API_KEY` or in a magic."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

from comflowy_nb.notebook.display.html import paragraph
from comflowy_nb.notebook.display.live import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from IPython.core.interactiveshell import ExecutionInfo, ExecutionResult, InteractiveShell


WARNING = """\
This cell contains a key, and a saved notebook keeps it for every reader. Safe ways: %comflowy login, the environment
variable COMFLOWY_API_KEY set outside the notebook, or connect(url, key=variable), read from a file or a keyring.
Remove the key from the cell. If the notebook was shared, revoke the key. comflowy-nb scan NOTEBOOK finds others."""

# Wrong usage of the magics, which take no key: the cell has it already.
_IN_MAGIC = re.compile(r"%comflowy[ \t]+(?:login[ \t]+[^\s#-]|connect\b[^\n]*[ \t](?:--)?(?:api[_-]?)?key[= ]\S)")


class KeyWarning:
    """Check the source of each executed cell for a key.

    Parameters
    ----------
    shell
        The shell of IPython.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._has_warned = False

    def before_cell(self, info: ExecutionInfo) -> None:
        """Warn before a cell is executed, so that the warning is shown while the cell waits for a run."""
        self._check(info.raw_cell)

    def after_cell(self, result: ExecutionResult) -> None:
        """Warn about the cell that loads the extension: no event comes before it."""
        if result.info is not None:
            self._check(result.info.raw_cell)

    def _check(self, source: Any) -> None:
        if self._has_warned or not isinstance(source, str) or not self._contains_key(source):
            return
        self._has_warned = True
        say(paragraph(*WARNING.splitlines()))

    def _contains_key(self, source: str) -> bool:
        if _IN_MAGIC.search(source):
            return True
        if "COMFLOWY_API_KEY" not in source and not ("connect" in source and "key" in source):
            return False
        from comflowy_nb.scanning.patterns import SERVICE_KEY, find_secrets, is_placeholder  # noqa: PLC0415

        if "COMFLOWY_API_KEY" in source and any(match.kind == SERVICE_KEY for match in find_secrets(source)):
            return True
        try:
            tree = ast.parse(self._shell.transform_cell(source))
        except (SyntaxError, ValueError, RecursionError):
            return False
        return any(not is_placeholder(text) for text in _literal_keys(tree, self._shell.user_ns))


def _literal_keys(tree: ast.Module, namespace: dict[str, Any]) -> Iterator[str]:
    """Yield the keys of calls of our `connect` that are literals, or variables that the cell assigns a literal to."""
    functions, modules, texts = _imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _is_connect(node.func, functions, modules, namespace):
            for argument in (keyword.value for keyword in node.keywords if keyword.arg == "key"):
                value = argument
                if isinstance(argument, ast.Call) and ast.unparse(argument.func).split(".")[-1] == "Secret":
                    value = next(iter(argument.args), argument)
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield value.value
                elif isinstance(value, ast.Name) and value.id in texts:
                    yield texts[value.id]


def _imported(tree: ast.Module) -> tuple[set[str], set[str], dict[str, str]]:
    """Return the names by which the cell imports `connect` and the package, and its variables with texts."""
    functions: set[str] = set()
    modules: set[str] = set()
    texts: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "comflowy_nb":
            functions.update(alias.asname or alias.name for alias in node.names if alias.name == "connect")
        elif isinstance(node, ast.Import):
            modules.update(alias.asname or alias.name for alias in node.names if alias.name == "comflowy_nb")
        elif (
            isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        ):
            texts.update({target.id: node.value.value for target in node.targets if isinstance(target, ast.Name)})
    return functions, modules, texts


def _is_connect(function: ast.expr, functions: set[str], modules: set[str], namespace: dict[str, Any]) -> bool:
    """Return whether an expression is our `connect`, by the imports of the cell and the names of the notebook."""
    if isinstance(function, ast.Name):
        value = namespace.get(function.id)
        is_ours = getattr(value, "__module__", None) == "comflowy_nb.client"
        return function.id in functions or (is_ours and getattr(value, "__name__", None) == "connect")
    if isinstance(function, ast.Attribute) and function.attr == "connect" and isinstance(function.value, ast.Name):
        name = function.value.id
        return name in modules or getattr(namespace.get(name), "__name__", None) == "comflowy_nb"
    return False
