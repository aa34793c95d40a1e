"""Run ComfyUI workflows from a notebook: `%load_ext comflowy_nb`, then `%comflowy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__version__ = "0.1.0"

# Public name -> its module, which is imported when the name is first used, so that loading is quick.
_MODULES = {
    "Client": "comflowy_nb.client",
    "ComflowyError": "comflowy_nb.errors",
    "Run": "comflowy_nb.tracking.run",
    "Sweep": "comflowy_nb.sweeps.sweep",
    "compare": "comflowy_nb.notebook.compare.widget",
    "connect": "comflowy_nb.client",
    "form": "comflowy_nb.notebook.form.form",
    "grid": "comflowy_nb.notebook.display.show",
    "history": "comflowy_nb.history",  # the module itself: `history.runs(...)`, `history.find(...)`
    "params_from": "comflowy_nb.recipe",
    "show": "comflowy_nb.notebook.display.show",
}
__all__ = [*sorted(_MODULES), "load_ipython_extension", "unload_ipython_extension"]  # noqa: PLE0604 - strings all


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(name)
    from importlib import import_module  # noqa: PLC0415

    module = import_module(_MODULES[name])
    return module if name == "history" else getattr(module, name)


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Load the extension: `%load_ext comflowy_nb` calls it.

    It registers the magics `%comflowy` and `%%comflowy`, their completion, and the display of runs, sweeps, comparisons
    and forms. A second call does nothing.

    Parameters
    ----------
    shell : InteractiveShell
        The shell of IPython.

    Examples
    --------
    In a notebook::

        %load_ext comflowy_nb
    """
    from comflowy_nb.notebook.magics import load  # noqa: PLC0415

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Unload the extension: `%unload_ext comflowy_nb` calls it.

    It removes everything that `load_ipython_extension` registered, closes the connections and stops the threads. Runs
    continue at their service.

    Parameters
    ----------
    shell : InteractiveShell
        The shell of IPython.

    Examples
    --------
    In a notebook::

        %unload_ext comflowy_nb
    """
    from comflowy_nb.notebook.magics import unload  # noqa: PLC0415

    unload(shell)
