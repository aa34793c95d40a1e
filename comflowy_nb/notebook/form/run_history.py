"""The runs of a form: submit, show and compare them, the newest last."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol

import ipywidgets as widgets

from comflowy_nb.client import Submitted
from comflowy_nb.errors import RunHeld, SettingsError
from comflowy_nb.layout.html_text import html_text
from comflowy_nb.notebook.display.html import plain
from comflowy_nb.notebook.form.filmstrip import Filmstrip
from comflowy_nb.notebook.form.run_entries import Entry, EntryView, describe_changes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from comflowy_nb.client import Client
    from comflowy_nb.notebook.display.live import LiveUpdater
    from comflowy_nb.notebook.form.run_entries import FormRequest
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["BelowScreen", "FormHistory", "Screen"]

MAX_SHOWN_RUNS = 60  # in the filmstrip; the history has them all


class Screen(Protocol):
    """A display for one image or widget at a time."""

    def show_image(self, data: Mapping[str, Any], metadata: Mapping[str, Any], *, jpeg: bytes) -> None: ...

    def show_widget(self, widget: Any) -> None: ...


class InsideScreen:
    """A box inside the form."""

    def __init__(self) -> None:
        self.widget = widgets.VBox()
        self.widget.add_class("cfy-screen")
        self._image: Any = None

    def show_image(self, data: Mapping[str, Any], metadata: Mapping[str, Any], *, jpeg: bytes) -> None:
        width = metadata["image/jpeg"]["width"]
        if self._image is None:
            self._image = widgets.Image(value=jpeg, format="jpeg", width=width)
            self.widget.children = (self._image,)
        else:
            self._image.value, self._image.width = jpeg, str(width)
        del data  # the status has the text

    def show_widget(self, widget: Any) -> None:
        self.widget.children = (widget,)


class BelowScreen:
    """A display below the form, which the saved notebook keeps."""

    def __init__(self) -> None:
        from IPython.display import display  # noqa: PLC0415 - costs time at load

        self._handle = display({"text/plain": ""}, raw=True, display_id=True)

    def show_image(self, data: Mapping[str, Any], metadata: Mapping[str, Any], *, jpeg: bytes) -> None:
        del jpeg  # it is in the data
        self._handle.update(dict(data), metadata=dict(metadata), raw=True)

    def show_widget(self, widget: Any) -> None:
        data, metadata = widget.bundle()
        self._handle.update(data, metadata=metadata, raw=True)


class FormHistory:
    """The runs of a form, and the widgets that show them: a status line, the filmstrip and the images.

    Parameters
    ----------
    updater
        The thread that draws.
    names
        Field id -> what the form calls the field.
    pick
        Called with a run's token when its thumbnail is clicked.
    compare
        Called with the tokens of the marked runs.
    fill_in
        Called with the state of the fields before every press of a button.
    on_new_run
        Called when there is one more run.
    """

    def __init__(
        self,
        client: Client,
        workflow: Workflow,
        *,
        updater: LiveUpdater,
        names: Mapping[str, str],
        pick: Callable[[str], None],
        compare: Callable[[list[str]], None],
        fill_in: Callable[[Mapping[str, Any]], None],
        on_new_run: Callable[[], None],
    ) -> None:
        self._client = client
        self._workflow = workflow
        self._updater = updater
        self._names = names
        self._on_new_run = on_new_run
        self._lock = threading.RLock()  # the updater's thread draws while callbacks run
        self._entries: list[Entry] = []
        self._shown: Entry | None = None
        self._comparison: Any = None
        self._is_closed = False
        self.status = widgets.HTML()
        self.status.add_class("cfy-status")
        self.strip = Filmstrip(pick=pick, compare=compare, fill_in=fill_in)
        images, compared = InsideScreen(), InsideScreen()
        self.inside = widgets.VBox([images.widget, compared.widget])
        self._images: Screen = images
        self._compared: Screen = compared
        self.stop_button = widgets.Button(description="Stop", disabled=True, tooltip="cancel what this form is running")

    @property
    def runs(self) -> tuple[Run, ...]:
        return tuple(entry.run for entry in self._entries)

    @property
    def used(self) -> Mapping[str, Any]:
        """The values of all fields for the newest run."""
        return self._entries[-1].values if self._entries else {}

    def find(self, token: str) -> Entry | None:
        return next((entry for entry in self._entries if entry.token == token), None)

    # -- sending and stopping -----------------------------------------------------------------------------------

    def send(self, request: FormRequest, *, fresh: bool) -> EntryView:
        """Submit a run, and return the view that shows it.

        Raises
        ------
        ComflowyError
            As `Client.submit`. A held run is shown nevertheless.
        """
        usual_s = self._client.usual_seconds(self._workflow)
        try:
            submitted = self._client.submit(self._workflow, request.settings, fresh=fresh)
        except RunHeld as held:
            self._add(Submitted(held.run, "held", {}), request, usual_s)
            raise
        except BaseException:
            self.status.value = ""
            raise
        return self._add(submitted, request, usual_s)

    def stop(self) -> str | None:
        """Cancel the runs in progress; return a message if that is not possible."""
        live = [entry for entry in self._entries if entry.run.status.is_live]
        if not live:
            return "nothing is running"
        if not self._client.service.can_cancel:
            return f"{self._client.label} can't cancel: {len(live)} go on"
        for entry in live:
            entry.note = "cancelling"
            self._client.cancel(entry.run)
            self._draw(entry)
        return None

    def _add(self, submitted: Submitted, request: FormRequest, usual_s: float | None) -> EntryView:
        with self._lock:
            newest = self._entries[-1] if self._entries else None
            if newest is not None and newest.token == submitted.run.token:
                changed = newest.changed  # the same run again, as after a slow double click
            else:
                changed = describe_changes(self.used or None, request.values, self._names)
            entry = Entry(submitted, request, changed, usual_s)
            # The same run once more takes the newest place.
            self._entries = [*(one for one in self._entries if one.token != entry.token), entry]
            self._on_new_run()  # before it is shown: an observer may read `Form.runs`
            self.show(entry)
        view = EntryView(entry, self._draw, self._finish)
        self._updater.add(view)
        return view

    # -- showing ------------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Show a text instead of the status until the next change."""
        self.status.value = f'<span class="cfy-quiet">{html_text(plain(text))}</span>'

    def show(self, entry: Entry) -> None:
        """Show the status and images of this run."""
        with self._lock:
            self._shown = entry
            self.strip.shown = entry.token
            self._draw(entry)
            if entry.run.record.is_settled:
                self._draw_images(entry)

    def show_on(self, images: Screen, compared: Screen) -> None:
        """Show images and comparisons there instead of inside the form."""
        with self._lock:
            self._images, self._compared = images, compared
            self.inside.layout.display = "none"
            if self._shown is not None:
                self._draw_images(self._shown)

    def compare(self, tokens: Sequence[str]) -> None:
        """Show a comparison of these runs."""
        from comflowy_nb.notebook.compare.widget import compare  # noqa: PLC0415 - only when asked for

        found = [entry.run for token in tokens if (entry := self.find(token)) is not None]
        if len(found) < 2:
            raise SettingsError("mark two or more runs in the strip, then compare them")
        new = compare(found)
        with self._lock:
            old, self._comparison = self._comparison, new
            self._compared.show_widget(new)
        if old is not None:
            old.close()

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            if self._comparison is not None:
                self._comparison.close()

    def _draw(self, entry: Entry) -> None:
        with self._lock:
            if self._is_closed:
                return
            if not entry.run.status.is_live:
                entry.note = None
            items = [one.item() for one in self._entries[-MAX_SHOWN_RUNS:]]
            if items != self.strip.items:
                self.strip.items = items
            preview = entry.new_preview()
            if preview is not None:
                self.strip.preview = {"token": entry.token, "url": preview}
            if entry is self._shown:
                self.status.value = entry.line().html
            self.stop_button.disabled = not any(one.run.status.is_live for one in self._entries)

    def _finish(self, entry: Entry) -> None:
        thumb = entry.make_thumb()
        with self._lock:
            if self._is_closed:
                return
            entry.thumb = thumb
            kept = {one.token: one.thumb for one in self._entries[-MAX_SHOWN_RUNS:] if one.thumb}
            if kept != self.strip.thumbs:
                self.strip.thumbs = kept
            self._draw(entry)
            if entry is self._shown:
                self._draw_images(entry)

    def _draw_images(self, entry: Entry) -> None:
        if not entry.run.record.images:
            return
        from comflowy_nb.notebook.display.run_grid import Grid  # noqa: PLC0415 - loads matplotlib with the first image

        grid = Grid([entry.run])
        self._images.show_image(*grid.bundle(), jpeg=grid.jpeg)
