"""The explorer widget: cells or runs with a control for each axis, ratings, and submits of cells.

The state of the widget that is saved in a notebook is small: the view requests the document, thumbnails and full
images by messages, and the widget keeps none of them.
"""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from comflowy_nb.errors import ComflowyError, RefError, SettingsError
from comflowy_nb.layout.scripts import widget_script, widget_style
from comflowy_nb.layout.text import html_text
from comflowy_nb.notebook.display.html import FONT, plain, widget_bundle
from comflowy_nb.notebook.display.live import LiveUpdater
from comflowy_nb.notebook.explore.following import Changes, ExplorerUpdates
from comflowy_nb.notebook.explore.requests import Answers, is_submit, is_write
from comflowy_nb.scheduler import Scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd

    from comflowy_nb.client import Client
    from comflowy_nb.database.ratings import Review
    from comflowy_nb.exploration.exploration import Exploration
    from comflowy_nb.exploration.still_image import Still


_SIDES = ("x", "y", "outer_x", "outer_y")


def _no_client() -> Client:
    raise SettingsError("nothing is connected, so nothing can be submitted: use explore(..., client=connect(...))")


def _refs_of(items: Sequence[Any], explorer: Explorer) -> list[str]:
    return explorer.exploration.refs_of(items)


def _items_of(refs: Sequence[str], explorer: Explorer) -> list[Any]:
    return explorer.exploration.items_of(refs)


class Explorer(anywidget.AnyWidget):  # type: ignore[misc]  # anywidget is not read by mypy here
    """The explorer of sweeps or runs, as `%comflowy explore` and `comflowy_nb.explore` return it.

    Parameters
    ----------
    exploration : Exploration
        The cells or runs, and their axes.
    client : callable, optional
        Returns the connected client, to submit cells. By default cells can't be submitted.
    updater : LiveUpdater, optional
        The thread that sends changes to the browser. By default the explorer has its own.
    where : str, default ""
        The initial condition.
    x, y : str, default ""
        Names of the initial axes of columns and rows.
    max_runs : int, optional
        The number of submits that "Run missing" and "Retry failed" may make at once, as `--max-runs`.

    Attributes
    ----------
    current : SweepCell, Run or None
        The cell or run that is shown large; None if no cell or run has the current combination. Can be observed.
    selected : list of SweepCell, Run or RunImage
        The marked cells and runs; the marked image if its run has several images. Can be set and observed.
    visible : list of SweepCell or Run
        The cells or runs that match the condition and the filters, in the order shown. Can be observed.

    Raises
    ------
    RefError
        If a name is not an axis.
    LineError, FieldError
        If the condition is invalid.

    Examples
    --------
    >>> explorer = comflowy_nb.explore(sweep)
    >>> explorer.current
    <SweepCell s... cfg=4 success>
    >>> explorer.where = "cfg > 5"
    >>> [cell.number for cell in explorer.visible]
    [2]
    >>> explorer.close()
    """

    _esm = widget_script("explore/explore.js")
    _css = widget_style("explore/explore.css")

    x = traitlets.Unicode("").tag(sync=True)
    """Name of the axis of the columns; empty if no axis is spread over columns."""
    y = traitlets.Unicode("").tag(sync=True)
    """Name of the axis of the rows; empty for none."""
    outer_x = traitlets.Unicode("").tag(sync=True)
    """Name of the axis of the outer columns; empty for none."""
    outer_y = traitlets.Unicode("").tag(sync=True)
    """Name of the axis of the outer rows; empty for none."""
    where = traitlets.Unicode("").tag(sync=True)
    """A condition such as `cfg < 6 and rating >= 3`; empty for all. The grammar is that of `--where`."""
    sort = traitlets.Unicode("").tag(sync=True)
    """The sort key of the list: an axis, a column, `rating`, `status` or `ref`, with `-` before it for descending."""
    selected = traitlets.List().tag(sync=True, to_json=_refs_of, from_json=_items_of)
    current = traitlets.Any(read_only=True)
    visible = traitlets.List(read_only=True)

    _at = traitlets.List(traitlets.Int()).tag(sync=True)
    _matching = traitlets.List(allow_none=True, default_value=None).tag(sync=True)
    _visible = traitlets.List(allow_none=True, default_value=None).tag(sync=True)
    _where_problem = traitlets.Unicode("").tag(sync=True)
    _filters = traitlets.Dict().tag(sync=True)
    _view = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        exploration: Exploration,
        *,
        client: Callable[[], Client] = _no_client,
        updater: LiveUpdater | None = None,
        where: str = "",
        x: str = "",
        y: str = "",
        max_runs: int | None = None,
    ) -> None:
        self.is_closed = True  # until `__init__` ends: a widget that is freed closes itself
        self.exploration = exploration
        self._answers = Answers(exploration, client=client, max_runs=max_runs)
        self._is_from_view = False
        self._still: Still | None = None
        self._sent_axes: list[dict[str, Any]] | None = None  # None before a view has requested the document
        self._sent_columns: list[dict[str, Any]] = []
        self._sent_reviews: Mapping[str, Review] = {}
        self._rereads = False
        self._valid_where = self._view_problem = ""
        self._matches: list[int] | None = None  # of the valid condition
        entries = exploration.entries
        matches = self._find_matches(where.strip())
        shown = [entries[number] for number in matches or range(len(entries))]
        first = next((entry for entry in shown if entry.images), shown[0])
        images = len(exploration.axes) - len(first.at)
        super().__init__(_at=[*first.at, *([0] * images)], where=where, x=x, y=y)
        self._changes = Changes(entries)
        weakref.finalize(self, self._changes.close).atexit = False
        # Separate threads: ratings are written in order, and wait neither for images nor for submits.
        self._reads = Scheduler("comflowy-explorer-images", workers=1)
        self._writes = Scheduler("comflowy-explorer-ratings", workers=1)
        self._submits = Scheduler("comflowy-explorer-runs", workers=1)
        self._set_current()
        self._set_visible()
        self.is_closed = False
        self.on_msg(self._receive)
        (updater or LiveUpdater()).add(ExplorerUpdates(self))

    # -- values for Python ------------------------------------------------------------------------------------------

    def to_dataframe(self) -> pd.DataFrame:
        """Return a row for each visible cell or run, in the order shown, with a thumbnail that a notebook shows.

        Returns
        -------
        pandas.DataFrame
            The columns of `Sweep.to_dataframe`.

        Raises
        ------
        SettingsError
            If pandas is not installed.

        Examples
        --------
        >>> comflowy_nb.explore(sweep).to_dataframe().cfg.to_list()
        [4.0, 7.0]
        """
        from comflowy_nb.exploration.table import dataframe_of  # noqa: PLC0415 - rarely used

        return dataframe_of(self.visible)

    # -- traits -----------------------------------------------------------------------------------------------------

    def set_state(self, sync_data: Mapping[str, Any]) -> None:
        """Set traits that a view in the browser changed. Report an invalid condition to the view."""
        self._is_from_view, self._view_problem = True, ""
        try:
            super().set_state(sync_data)
        finally:
            self._is_from_view = False
        if "where" in sync_data:
            self._where_problem = self._view_problem

    @traitlets.validate(*_SIDES)  # type: ignore[untyped-decorator]  # traitlets is not read by mypy here
    def _check_axis(self, proposal: Mapping[str, Any]) -> str:
        name = str(proposal["value"])
        if not name:
            return name
        try:
            return self.exploration.axis(name).name
        except RefError:
            if self._is_from_view:
                return ""
            raise

    @traitlets.observe(*_SIDES)  # type: ignore[untyped-decorator]  # as above
    def _free_axis(self, change: Mapping[str, Any]) -> None:
        """Swap the axes of two sides if the new axis was on another side: an axis is on one side only."""
        for side in _SIDES:
            if change["new"] and side != change["name"] and getattr(self, side) == change["new"]:
                setattr(self, side, change["old"] if isinstance(change["old"], str) else "")

    @traitlets.validate("selected")  # type: ignore[untyped-decorator]  # as above
    def _check_selected(self, proposal: Mapping[str, Any]) -> list[Any]:
        return self.exploration.items_of(self.exploration.refs_of(proposal["value"]))

    @traitlets.validate("where")  # type: ignore[untyped-decorator]  # as above
    def _check_where(self, proposal: Mapping[str, Any]) -> str:
        text = str(proposal["value"]).strip()
        try:
            self._matches = self._find_matches(text)
        except ComflowyError as error:
            if not self._is_from_view:
                raise
            self._view_problem = plain(str(error))
            return self._valid_where
        self._valid_where = text
        return text

    def _find_matches(self, where: str) -> list[int] | None:
        return [entry.number for entry in self.exploration.matching(where)] if where else None

    @traitlets.observe("where")  # type: ignore[untyped-decorator]  # as above
    def _apply_where(self, _: object) -> None:
        if not self._is_from_view:
            self._where_problem = ""
            self._visible = None  # a view sends the new value after this cell has ended
        self._matching = self._matches

    @traitlets.observe("_at")  # type: ignore[untyped-decorator]  # as above
    def _set_current(self, _: object = None) -> None:
        entry = self.exploration.at(self._at)
        self.set_trait("current", None if entry is None else entry.source)

    @traitlets.observe("_visible", "_matching")  # type: ignore[untyped-decorator]  # as above
    def _set_visible(self, _: object = None) -> None:
        items = [entry.source for entry in self.exploration.entries]
        numbers = self._matching if self._visible is None else self._visible
        if numbers is not None:
            items = [items[number] for number in numbers if number in range(len(items))]
        self.set_trait("visible", items)

    # -- messages ---------------------------------------------------------------------------------------------------

    def _receive(self, _: object, request: Mapping[str, Any], __: object) -> None:
        """Answer a request of a view on another thread: files are read and decoded there."""
        if self.is_closed or not isinstance(request, dict):
            return
        scheduler = self._writes if is_write(request) else self._submits if is_submit(request) else self._reads
        scheduler.execute(partial(self._reply, request))

    def _reply(self, request: Mapping[str, Any]) -> None:
        if request.get("ask") == "document":
            self._note_sent()
        reply, buffers = self._answers.answer(request)
        if self.is_closed:
            return
        self.send({"to": request, **reply}, buffers or None)
        if "saved" in reply:
            self._changes.add(self.exploration.showing(reply["image"]["key"]))

    def _note_sent(self) -> None:
        self._sent_reviews = self.exploration.reviews()
        self._sent_columns = self.exploration.columns(self._sent_reviews)
        self._sent_axes = [axis.as_json() for axis in self.exploration.axes]

    def reread(self) -> None:
        """Read the ratings and scores again with the next update: another command may have changed them."""
        self._rereads = True

    def send_changes(self) -> None:
        """Send the changed items to the views. The display thread calls this method four times a second."""
        if self._sent_axes is None and not self._rereads:  # no view has requested the document
            return
        numbers = self._changes.take()
        try:
            update = self._update(numbers)
        except ComflowyError:  # the history is locked; the next call tries again
            self._changes.add(self.exploration.entries[number] for number in numbers)
            return
        if update and self._sent_axes is not None:
            self.send({"update": update})

    def _update(self, numbers: set[int]) -> dict[str, Any]:
        """Return the changes since the document or the last update was sent."""
        exploration, update = self.exploration, dict[str, Any]()
        if self._rereads:
            reviews = exploration.reviews()
            changed = {token for token, review in reviews.items() if review != self._sent_reviews.get(token)}
            numbers |= {
                entry.number for entry in exploration.entries if any(image.token in changed for image in entry.images)
            }
            self._rereads = False
            self._sent_reviews = reviews
            columns = exploration.columns(reviews)
            if columns != self._sent_columns:
                self._sent_columns = update["columns"] = columns
        if not numbers:
            return update
        update["items"] = exploration.items([exploration.entries[number] for number in sorted(numbers)])
        axes = [axis.as_json() for axis in exploration.axes]
        if axes != self._sent_axes and self._sent_axes is not None:  # the first cell with several images has ended
            self._sent_axes = update["axes"] = axes
            self._at = [*self._at, 0][: len(axes)]
        if self.where:
            self._matching = self._find_matches(self.where)
        return update

    # -- static versions --------------------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """The title, and a line for each cell of the still image."""
        from comflowy_nb.exploration.still_image import describe  # noqa: PLC0415 - loads matplotlib

        return describe(self.exploration, self._draw())

    @property
    def jpeg(self) -> bytes:
        """The grid of at most 64 cells as a JPEG, for notebooks without widgets."""
        return self._draw().drawn.jpeg

    def _draw(self) -> Still:
        from comflowy_nb.exploration.still_image import draw_still  # noqa: PLC0415 - loads matplotlib

        if self._still is None:
            self._still = draw_still(self.exploration, x=self.x, y=self.y)
        return self._still

    _ipython_display_ = None  # the method of ipywidgets 7 omits the text and HTML of the bundle

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]] | None:
        return self.bundle()

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the display data of the widget, with a static grid for other front ends.

        Returns
        -------
        tuple of dict and dict
            Data and metadata, each by media type.
        """
        if self.is_closed:
            return {"text/plain": repr(self)}, {}
        still = self._draw()
        title = plain(" \N{MIDDLE DOT} ".join(filter(None, (self.exploration.title, still.note))))
        markup = f'<div style="{FONT}">{html_text(title)}</div>'
        return widget_bundle(super()._repr_mimebundle_(), still.drawn, text=self.text, markup=markup, alt=title)

    def close(self) -> None:
        """Close the widget in the browser, and stop following its runs."""
        if not self.is_closed:
            self.is_closed = True
            self._changes.close()
            for scheduler in (self._reads, self._writes, self._submits):
                scheduler.close()
        super().close()

    def __repr__(self) -> str:
        return f"<Explorer of {self.exploration.title}>"
