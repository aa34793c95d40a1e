"""How IPython shows what ends a cell: not twice in one execution, else from disk."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from comflowy_nb.notebook.display.show import RunList, show_comparison, show_runs, show_sweep
from comflowy_nb.notebook.session import sweep_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

    from comflowy_nb.notebook.session import Session

__all__ = ["register_formatters", "unregister_formatters"]


def _token(value: Any) -> str:
    return str(value.token)


def _show_form(session: Session, form: Any) -> None:
    if session.in_kernel:
        session.show_form(form)
    else:
        print(repr(form))  # noqa: T201 - a terminal has no widgets


# Module and name of a type, which is imported only when one is shown -> what an execution remembers of one that it
# has drawn, and how one is drawn.
_SHOWN: dict[tuple[str, str], tuple[Callable[[Any], str], Callable[[Session, Any], None]]] = {
    ("comflowy_nb.tracking.run", "Run"): (
        _token, lambda session, run: show_runs([run], in_kernel=session.in_kernel),
    ),
    ("comflowy_nb.sweeps.sweep", "Sweep"): (
        sweep_key, lambda session, sweep: show_sweep(sweep, in_kernel=session.in_kernel),
    ),
    ("comflowy_nb.notebook.compare.widget", "Comparison"): (
        _token, lambda session, made: show_comparison(made, in_kernel=session.in_kernel),
    ),
    ("comflowy_nb.notebook.form.form", "Form"): (_token, _show_form),
}  # fmt: skip


class _Shower:
    """Shows values of one type, each once in an execution."""

    def __init__(
        self,
        session: Session,
        module: str,
        name: str,
        key: Callable[[Any], str],
        draw: Callable[[Session, Any], None],
    ) -> None:
        self._session = session
        self._place = module, name
        self._key = key
        self._draw = draw

    def __call__(self, value: Any) -> None:
        session, (module, name) = self._session, self._place
        # IPython keeps a printer under the class of the value, and every anywidget has a class of its own.
        session.shell.display_formatter.ipython_display_formatter.for_type(getattr(sys.modules[module], name), self)
        if self._key(value) not in session.drawn:
            session.drawn.add(self._key(value))
            self._draw(session, value)
        elif not session.in_kernel:
            print(repr(value))  # noqa: T201 - the prompt `Out[3]:` is there already


def register_formatters(session: Session) -> None:
    """Tell IPython how to show what the magic and the Python API give."""
    formatter = session.shell.display_formatter.ipython_display_formatter
    formatter.enabled = True  # IPython 7 disables it in a terminal, later versions do not
    for (module, name), (key, draw) in _SHOWN.items():
        formatter.for_type_by_name(module, name, _Shower(session, module, name, key, draw))

    def show_list(runs: RunList) -> None:
        if runs.token not in session.drawn and runs:
            show_runs(runs, in_kernel=session.in_kernel)
        elif not session.in_kernel:
            print(f"{len(runs)} run{'s' * (len(runs) != 1)}")  # noqa: T201 - as above

    formatter.for_type(RunList, show_list)


def unregister_formatters(shell: InteractiveShell) -> None:
    """Back to IPython's own ways."""
    formatter = shell.display_formatter.ipython_display_formatter
    for module, name in _SHOWN:
        formatter.deferred_printers.pop((module, name), None)
    for cls in [cls for cls, printer in formatter.type_printers.items() if isinstance(printer, _Shower)]:
        formatter.type_printers.pop(cls)
    formatter.pop(RunList, None)
