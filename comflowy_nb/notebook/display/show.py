"""Show runs, sweeps, comparisons and forms: `show`, `grid`, and the formatters of IPython.

IPython displays the value of the last line of a cell. The formatters display each value only once in an execution, so
that a run is not displayed again if a command has already displayed it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import RefError, counted
from comflowy_nb.notebook.display.front_end import has_displays
from comflowy_nb.notebook.display.html import paragraph
from comflowy_nb.notebook.display.live import say, show_bundle
from comflowy_nb.workflow.syntax.json_values import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from IPython.core.interactiveshell import InteractiveShell

    from comflowy_nb.notebook.compare.widget import Comparison
    from comflowy_nb.notebook.display.grids import Grid
    from comflowy_nb.notebook.session import Session
    from comflowy_nb.sweeps.sweep import Sweep, SweepCell
    from comflowy_nb.tracking.run import Run, RunImage


class RunList(list[Any]):
    """The runs that a command returns. They are not displayed again in the cell that has displayed them."""


def mark_shown(session: Session, runs: Iterable[Any]) -> RunList:
    """Return the runs as a list that this execution does not display again."""
    shown_runs = RunList(runs)
    session.mark_drawn(shown_runs)
    return shown_runs


def show(what: Run | RunImage | SweepCell | Sweep | Grid | Sequence[Run | SweepCell]) -> None:
    """Display a run or one of its images, several runs together, a sweep or a grid in the current cell.

    The current state is shown, without waiting and without a request to a service. Outside a notebook, a line is
    printed for each run and each cell of a sweep, with the paths of the images.

    Parameters
    ----------
    what : Run, RunImage, SweepCell, Sweep, Grid or sequence of Run or SweepCell
        What to display. Several runs share one grid.

    Raises
    ------
    RefError
        If `what` is an object of another type.

    Examples
    --------
    >>> comflowy_nb.show(run)
    r1 cat (default) - success in ...
    """
    from comflowy_nb.notebook.display.grids import Grid  # noqa: PLC0415 - loads matplotlib
    from comflowy_nb.sweeps.sweep import Sweep  # noqa: PLC0415 - as above
    from comflowy_nb.tracking.run import RunImage  # noqa: PLC0415 - as above

    if isinstance(what, Grid):
        show_bundle(*what.bundle())
    elif isinstance(what, Sweep):
        _show_sweep(what)
    elif isinstance(what, RunImage):
        _show_image(what)
    else:
        _show_runs(_as_runs(what, "show"))


def grid(
    runs: Run | SweepCell | Sequence[Run | SweepCell] | Sweep,
    *,
    x: str | None = None,
    y: str | None = None,
    z: str | None = None,
    label: Sequence[str] | None = None,
    node: str | None = None,
    image: int | None = None,
    page: int = 1,
) -> Grid:
    """Return a labelled image grid of runs or of a sweep.

    The grid is drawn from the images on disk, without a request to a service.

    Parameters
    ----------
    runs : Run, SweepCell, sequence of Run or SweepCell, or Sweep
        For one run, the grid has its images, in groups by node. For several runs, it has a cell for each run, with the
        values that differ in the captions. For a sweep, it has a cell for each combination, with axes as headings.
    x, y, z : str, optional
        For a sweep: the axes of the columns, the rows and the separate grids. By default the layout with which the
        sweep was submitted, else the order of its axes.
    label : sequence of str, optional
        Names of fields for the captions, instead of the fields that were set; for a sweep, for its title. Columns of
        `--info` and axes with labels are names too, for a sweep and its cells.
    node : str, optional
        For a sweep: show only the images of this node.
    image : int, optional
        For a sweep: the index, from 0, of the image to show in each cell. By default all images of a cell form a
        mosaic.
    page : int, optional
        For a sweep that is too large for one page: the number of the page, from 1.

    Returns
    -------
    Grid
        The grid. It is displayed if it is the last value of a cell; `figure` is its matplotlib figure.

    Raises
    ------
    RefError
        If `runs` is something else, a name is not an axis, a name in `label` is unknown, or there is no such page.
    TypeError
        If an option for sweeps is used with runs.

    Examples
    --------
    >>> comflowy_nb.grid(sweep, x="cfg").figure.savefig("grid.png")
    """
    from comflowy_nb.layout.value_text import find_names  # noqa: PLC0415 - not needed to load the extension
    from comflowy_nb.notebook.display.grids import Grid, SweepGrid  # noqa: PLC0415 - loads matplotlib
    from comflowy_nb.sweeps.sweep import Sweep, SweepCell  # noqa: PLC0415 - as above

    if isinstance(runs, Sweep):
        if label:
            label = find_names(label, [key for cell in runs.cells for key in cell.params], runs.axes.columns)
        return SweepGrid(runs, x=x, y=y, z=z, label=label, node=node, image=image, page=page)
    if (x, y, z, node, image, page) != (None, None, None, None, None, 1):
        raise TypeError("x, y, z, node, image and page are for sweeps")
    shown_runs = _as_runs(runs, "grid")
    if not label:
        return Grid(shown_runs)
    cells = [cell for cell in (runs if isinstance(runs, Iterable) else [runs]) if isinstance(cell, SweepCell)]
    columns = {cell.run.token: {**cell.labels, **cell.info} for cell in cells if cell.run is not None}
    names = [name for texts in columns.values() for name in texts]
    label = find_names(label, [key for run in shown_runs for key in run.params], names)
    return Grid(shown_runs, label=label, columns=columns)


def _as_runs(what: object, function: str) -> list[Run]:
    """Return one run, or an iterable of runs, as a list. A cell of a sweep is replaced by its run."""
    from comflowy_nb.sweeps.sweep import SweepCell  # noqa: PLC0415 - not needed to load the extension
    from comflowy_nb.tracking.run import Run  # noqa: PLC0415 - as above

    if isinstance(what, str):
        raise RefError(f"{function} needs a run or a sweep, not text: {function}(history.find({what!r}).run)")
    items: list[Any] = list(what) if isinstance(what, Iterable) else [what]
    runs = [item.run if isinstance(item, SweepCell) and item.run is not None else item for item in items]
    wrong = next((run for run in runs if not isinstance(run, Run)), None)
    if wrong is not None:
        raise RefError(
            f"{function} needs a run, a list of runs or a sweep, not {shown(wrong)}: {function}(client.runs(limit=4))"
        )
    return runs


def _show_runs(runs: Sequence[Run]) -> None:
    from comflowy_nb.notebook.display.run_status_text import run_line  # noqa: PLC0415 - not needed to load the extension
    from comflowy_nb.notebook.display.views import print_paths  # noqa: PLC0415 - as above

    in_kernel = has_displays()
    for run in runs:
        say(run_line(run, outcome="shown").bundle)
        if not in_kernel:
            print_paths(run)
    if in_kernel and any(run.record.images for run in runs):
        show_bundle(*grid(runs).bundle())


def _show_image(image: RunImage) -> None:
    """Display one image with its caption. In a terminal, print its path."""
    from comflowy_nb.notebook.display.grids import Grid  # noqa: PLC0415 - loads matplotlib

    if has_displays():
        show_bundle(*Grid([image.run], only=[image.record.index]).bundle())
    else:
        print(f"{image.ref}  {image.path}")  # noqa: T201 - a terminal has no handles


def _show_cell(cell: SweepCell) -> None:
    """Display the run of a cell, or a text if the cell was not submitted."""
    if cell.run is None:
        say(paragraph(f"{cell.ref} - {cell.status_text}"))
    else:
        _show_runs([cell.run])


def _show_sweep(sweep: Sweep) -> None:
    from comflowy_nb.notebook.display.sweep_status_text import plain_sweep_line  # noqa: PLC0415 - not needed to load the extension
    from comflowy_nb.notebook.display.views import print_cells  # noqa: PLC0415 - as above

    say(paragraph(plain_sweep_line(sweep)))
    if has_displays():
        show_bundle(*grid(sweep).bundle())
    else:
        print_cells(sweep)


def show_comparison(comparison: Comparison) -> None:
    """Display a comparison. In a terminal, print the differences and the paths of the images."""
    if has_displays():
        show_bundle(*comparison.bundle())
    else:
        paths = [f"  {path}" for path in comparison.paths]
        print("\n".join([comparison.text, *paths]))  # noqa: T201 - a terminal has no handles


# -- the formatters of IPython ----------------------------------------------------------------------------------------


# Type -> the function that shows its values. By name, so that the module is imported only if a value is shown.
_FORMATTERS: dict[str, Callable[[Session, Any], None]] = {
    "comflowy_nb.tracking.run.Run": lambda _, run: _show_runs([run]),
    "comflowy_nb.tracking.run_images.RunImage": lambda _, image: _show_image(image),
    "comflowy_nb.sweeps.cell.SweepCell": lambda _, cell: _show_cell(cell),
    "comflowy_nb.sweeps.sweep.Sweep": lambda _, sweep: _show_sweep(sweep),
    "comflowy_nb.archive.loader.Loaded": lambda _, loaded: say(paragraph(repr(loaded))),
    "comflowy_nb.notebook.compare.widget.Comparison": lambda _, comparison: show_comparison(comparison),
    "comflowy_nb.notebook.explore.widget.Explorer": lambda session, explorer: session.show_explorer(explorer),
    "comflowy_nb.notebook.form.form.Form": lambda session, form: session.show_form(form),
}


def register_formatters(session: Session) -> None:
    """Register the formatters of runs, images, cells of sweeps, sweeps, comparisons and forms."""
    formatter = session.shell.display_formatter.ipython_display_formatter
    formatter.enabled = True  # IPython 7 disables it in a terminal, later versions do not
    for type_name, draw in _FORMATTERS.items():
        formatter.for_type(type_name, _format_once(session, type_name, draw))

    def format_list(runs: RunList) -> None:
        if session.mark_drawn(runs) and runs:
            _show_runs(runs)
        elif not session.in_kernel:
            print(counted(len(runs), "run"))  # noqa: T201 - the prompt `Out[3]:` is there already

    formatter.for_type(RunList, format_list)


def _format_once(session: Session, type_name: str, draw: Callable[[Session, Any], None]) -> Callable[[Any], None]:
    """Return a formatter that displays each value only once in an execution."""

    def format_value(value: Any) -> None:
        # IPython binds a formatter registered by name to the class of the first value, and every anywidget instance has
        # its own class.
        module, name = type_name.rsplit(".", 1)
        formatter = session.shell.display_formatter.ipython_display_formatter
        formatter.for_type(getattr(sys.modules[module], name), format_value)
        if session.mark_drawn(value):
            draw(session, value)
        elif not session.in_kernel:
            print(repr(value))  # noqa: T201 - the prompt `Out[3]:` is there already

    return format_value


def unregister_formatters(shell: InteractiveShell) -> None:
    """Remove the formatters."""
    formatter = shell.display_formatter.ipython_display_formatter
    for type_name in _FORMATTERS:
        while formatter.pop(type_name, None) is not None:  # one for the name, one for each class
            pass
    formatter.pop(RunList, None)
