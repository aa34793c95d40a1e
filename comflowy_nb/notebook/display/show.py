"""Show runs, sweeps, comparisons and forms: `show`, `grid`, and the formatters of IPython.

IPython displays the value of a cell's last line. The formatters display each value once in an execution, so that a
command that has shown its run in the cell does not show it again.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from comflowy_nb.notebook.session import sweep_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from IPython.core.interactiveshell import InteractiveShell

    from comflowy_nb.notebook.compare.widget import Comparison
    from comflowy_nb.notebook.display.run_grid import Grid
    from comflowy_nb.notebook.session import Session
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.tracking.run import Run

__all__ = [
    "RunList",
    "grid",
    "register_formatters",
    "show",
    "show_comparison",
    "show_runs",
    "show_sweep",
    "unregister_formatters",
]


class RunList(list[Any]):
    """Runs that a command returns. A cell that has shown them does not show them again."""

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        super().__init__(runs)
        self.token = f"list {id(self)}"


def show(what: Run | Sweep | Grid | Sequence[Run]) -> None:
    """Display a run, several runs together, a sweep, or a grid, in the cell that runs now.

    Outside a notebook it prints a line for each run, and where the images are.
    """
    from comflowy_nb.notebook.display.run_grid import Grid  # noqa: PLC0415 - loads matplotlib
    from comflowy_nb.notebook.display.slots import show_bundle  # noqa: PLC0415 - this module is loaded with the extension
    from comflowy_nb.sweeps.sweep import Sweep  # noqa: PLC0415
    from comflowy_nb.tracking.run import Run  # noqa: PLC0415

    if isinstance(what, Grid):
        show_bundle(*what.bundle())
        return
    if isinstance(what, Sweep):
        show_sweep(what, in_kernel=_in_kernel())
        return
    show_runs([what] if isinstance(what, Run) else list(what), in_kernel=_in_kernel())


def grid(
    runs: Run | Sequence[Run] | Sweep,
    *,
    x: str | None = None,
    y: str | None = None,
    z: str | None = None,
    label: Sequence[str] | None = None,
    node: str | None = None,
    image: int | None = None,
    page: int = 1,
) -> Grid:
    """Return the labelled grid of a run, of several runs side by side, or of a sweep, without asking a service.

    Parameters
    ----------
    runs
        One run: an image each, in groups by node. Several: a cell for each run, with what differs beneath. A sweep:
        its axes along the sides.
    x, y, z
        For a sweep: the axes of the columns and rows, and the one that tells several grids apart first.
    label
        Field ids for the captions instead of those that were set; for a sweep, of its title.
    node, image
        For a sweep: which of a cell's images; all of them side by side where neither is given.
    page
        For a sweep too large for one page.

    Raises
    ------
    RefError
        If a name is not an axis.
    """
    from comflowy_nb.notebook.display.run_grid import Grid  # noqa: PLC0415 - loads matplotlib
    from comflowy_nb.notebook.display.sweep_grid import SweepGrid  # noqa: PLC0415 - as above
    from comflowy_nb.sweeps.sweep import Sweep  # noqa: PLC0415 - as above
    from comflowy_nb.tracking.run import Run  # noqa: PLC0415 - this module is loaded with the extension

    if isinstance(runs, Sweep):
        return SweepGrid(runs, x=x, y=y, z=z, label=label, node=node, image=image, page=page)
    if (x, y, z, node, image, page) != (None, None, None, None, None, 1):
        raise TypeError("x, y, z, node, image and page are for sweeps")
    return Grid([runs] if isinstance(runs, Run) else list(runs), label=label)


def show_runs(runs: Sequence[Run], *, in_kernel: bool) -> None:
    from comflowy_nb.notebook.display.slots import show_bundle  # noqa: PLC0415 - loaded with the first image
    from comflowy_nb.notebook.display.status import plain_line, status_line  # noqa: PLC0415 - as above
    from comflowy_nb.notebook.display.views import print_paths  # noqa: PLC0415 - as above

    if not in_kernel:
        for run in runs:
            print(plain_line(run))  # noqa: T201 - a terminal has no handles
            print_paths(run)
        return
    for run in runs:
        line = status_line(run, how="shown")
        show_bundle({"text/plain": line.text, "text/html": line.html})
    if any(run.record.images for run in runs):
        from comflowy_nb.notebook.display.run_grid import Grid  # noqa: PLC0415 - loads matplotlib with the first image

        show_bundle(*Grid(runs).bundle())


def show_sweep(sweep: Sweep, *, in_kernel: bool) -> None:
    from comflowy_nb.notebook.display.html import paragraph  # noqa: PLC0415 - loaded with the first image
    from comflowy_nb.notebook.display.slots import show_bundle  # noqa: PLC0415 - as above
    from comflowy_nb.notebook.display.sweep_status import plain_sweep_line  # noqa: PLC0415 - as above

    text = plain_sweep_line(sweep)
    if not in_kernel:
        print(text)  # noqa: T201 - a terminal has no handles
        return
    from comflowy_nb.notebook.display.sweep_grid import SweepGrid  # noqa: PLC0415 - loads matplotlib with the first image

    show_bundle(paragraph(text))
    show_bundle(*SweepGrid(sweep).bundle())


def show_comparison(made: Comparison, *, in_kernel: bool) -> None:
    """Display a comparison; in a terminal what differs, and where the images are."""
    if not in_kernel:
        print("\n".join([made.text, *(f"  {path}" for path in made.paths)]))  # noqa: T201 - a terminal has no handles
        return
    from comflowy_nb.notebook.display.slots import show_bundle  # noqa: PLC0415 - loaded with the first image

    show_bundle(*made.bundle())


def _in_kernel() -> bool:
    from IPython import get_ipython  # noqa: PLC0415

    return getattr(get_ipython(), "kernel", None) is not None


# -- the formatters of IPython ----------------------------------------------------------------------------------------


def _token(value: Any) -> str:
    return str(value.token)


def _show_form(session: Session, form: Any) -> None:
    if session.in_kernel:
        session.show_form(form)
    else:
        print(repr(form))  # noqa: T201 - a terminal has no widgets


# Module and name of a type -> the key of a value that was shown, and the function that shows it. The module is imported
# only when a value is shown.
_FORMATTERS: dict[tuple[str, str], tuple[Callable[[Any], str], Callable[[Session, Any], None]]] = {
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


class _Formatter:
    """Formatter of one type; shows each value once in an execution."""

    def __init__(
        self,
        session: Session,
        module: str,
        name: str,
        key: Callable[[Any], str],
        draw: Callable[[Session, Any], None],
    ) -> None:
        self._session = session
        self._module, self._name = module, name
        self._key = key
        self._draw = draw

    def __call__(self, value: Any) -> None:
        session, module, name = self._session, self._module, self._name
        # IPython looks a formatter up by class, and every anywidget instance has its own class.
        session.shell.display_formatter.ipython_display_formatter.for_type(getattr(sys.modules[module], name), self)
        if self._key(value) not in session.drawn:
            session.drawn.add(self._key(value))
            self._draw(session, value)
        elif not session.in_kernel:
            print(repr(value))  # noqa: T201 - the prompt `Out[3]:` is there already


def register_formatters(session: Session) -> None:
    """Register the formatters of runs, sweeps, comparisons and forms."""
    formatter = session.shell.display_formatter.ipython_display_formatter
    formatter.enabled = True  # IPython 7 disables it in a terminal, later versions do not
    for (module, name), (key, draw) in _FORMATTERS.items():
        formatter.for_type_by_name(module, name, _Formatter(session, module, name, key, draw))

    def show_list(runs: RunList) -> None:
        if runs.token not in session.drawn and runs:
            show_runs(runs, in_kernel=session.in_kernel)
        elif not session.in_kernel:
            print(f"{len(runs)} run{'s' * (len(runs) != 1)}")  # noqa: T201 - as above

    formatter.for_type(RunList, show_list)


def unregister_formatters(shell: InteractiveShell) -> None:
    """Remove the formatters."""
    formatter = shell.display_formatter.ipython_display_formatter
    for module, name in _FORMATTERS:
        formatter.deferred_printers.pop((module, name), None)
    for cls in [cls for cls, printer in formatter.type_printers.items() if isinstance(printer, _Formatter)]:
        formatter.type_printers.pop(cls)
    formatter.pop(RunList, None)
