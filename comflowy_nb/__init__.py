"""Run ComfyUI workflows from a notebook: `%load_ext comflowy_nb`, then `%comflowy`."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

# Public name -> its module, which is imported when the name is first used, so that loading is quick.
_MODULES = {
    "Client": "comflowy_nb.client",
    "ComflowyError": "comflowy_nb.errors",
    "Run": "comflowy_nb.tracking.run",
    "Sweep": "comflowy_nb.sweeps.sweep",
    "compare": "comflowy_nb.notebook.compare.widget",
    "connect": "comflowy_nb.client",
    "explore": "comflowy_nb.notebook.explore.sources",
    "form": "comflowy_nb.notebook.form.form",
    "grid": "comflowy_nb.notebook.display.show",
    "history": "comflowy_nb.history",  # the module itself: `history.runs(...)`, `history.find(...)`
    "load": "comflowy_nb.history",
    "load_ipython_extension": "comflowy_nb.notebook.magics",  # `%load_ext comflowy_nb` calls it
    "params_from": "comflowy_nb.recipe",
    "save": "comflowy_nb.history",
    "show": "comflowy_nb.notebook.display.show",
    "unload_ipython_extension": "comflowy_nb.notebook.magics",
}
__all__ = sorted(_MODULES)  # noqa: PLE0605 - a list


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(name)
    from importlib import import_module  # noqa: PLC0415

    module = import_module(_MODULES[name])
    return module if name == "history" else getattr(module, name)


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Return the module of the server extension; `jupyter server extension enable comflowy_nb` enables it."""
    return [{"module": "comflowy_nb.server_extension"}]
