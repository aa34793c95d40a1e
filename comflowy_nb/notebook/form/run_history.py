"""The runs of a form: submit, show and compare them, the newest last."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import ipywidgets as widgets
import traitlets
from IPython.display import display

from comflowy_nb.comparison.inputs import MAX_IMAGES
from comflowy_nb.errors import RunHeld, SettingsError
from comflowy_nb.layout.text import html_text
from comflowy_nb.notebook.display.html import plain
from comflowy_nb.notebook.form.form_run import FormRun, describe_changes
from comflowy_nb.tracking.submit import Submitted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from comflowy_nb.client import Client
    from comflowy_nb.notebook.display.live import LiveUpdater
    from comflowy_nb.notebook.form.form_run import FormRequest
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["BelowScreen", "Filmstrip", "FormHistory", "InsideScreen"]

_FOLDER = Path(__file__).parent
_MAX_SHOWN_RUNS = 60  # in the filmstrip; the history has them all


class Filmstrip(anywidget.AnyWidget):  # type: ignore[misc]  # anywidget is not read by mypy here
    """The runs of a form as thumbnails, oldest first, to return to and to mark for a comparison.

    Parameters
    ----------
    go_back
        Called with a run's token when its thumbnail is clicked.
    compare
        Called with the tokens of the marked runs, in the order of the strip.
    fill_in
        Called before every press of a button with the state of the fields: model id -> value, or index of an option.
    """

    # As text: with a path, anywidget keeps a signal that references every instance.
    _esm = (_FOLDER / "filmstrip.js").read_text("utf-8")
    _css = (_FOLDER / "form.css").read_text("utf-8")

    items = traitlets.List().tag(sync=True)
    """For each run, the dict of `FormRun.item`."""
    thumbs = traitlets.Dict().tag(sync=True)
    """Token -> a small JPEG as a data URL. Apart from `items`, which change several times a second."""
    preview = traitlets.Dict().tag(sync=True)
    """The unfinished image of one run: its token and a data URL."""
    shown = traitlets.Unicode("").tag(sync=True)
    """Token of the run whose images are shown."""
    marked = traitlets.List().tag(sync=True)
    """Tokens of the runs to be compared."""
    max_marked = traitlets.Int(MAX_IMAGES).tag(sync=True)
    """The number of runs that can be compared."""
    cell = traitlets.Dict().tag(sync=True)
    """The cell's text to be copied, and a number that makes every request a new one."""
    inputs = traitlets.List().tag(sync=True)
    """Model ids of the widgets that the user fills in."""

    def __init__(
        self,
        *,
        go_back: Callable[[str], None],
        compare: Callable[[list[str]], None],
        fill_in: Callable[[Mapping[str, Any]], None],
        inputs: list[str],
    ) -> None:
        super().__init__(inputs=inputs)
        self._go_back = go_back
        self._compare = compare
        self._fill_in = fill_in
        self.on_msg(self._on_message)

    def copy(self, text: str) -> None:
        """Make the browser copy a text to the clipboard, and show it."""
        self.cell = {"text": text, "number": int(self.cell.get("number", 0)) + 1}

    def _on_message(self, _: object, message: Mapping[str, Any], __: object) -> None:
        match message:
            case {"pick": str(token)}:
                self._go_back(token)
            case {"compare": [*marked]}:  # from the message: the trait `marked` may arrive later
                self._compare([item["token"] for item in self.items if item["token"] in marked])
            case {"values": dict(values)}:
                self._fill_in(values)


class InsideScreen:
    """A box inside the form, for one grid or widget at a time."""

    def __init__(self) -> None:
        self.widget = widgets.VBox()
        self.widget.add_class("cfy-screen")

    def show(self, shown: Any) -> None:
        if isinstance(shown, widgets.Widget):
            self.widget.children = (shown,)
            return
        if not self.widget.children:
            self.widget.children = (widgets.Image(format="jpeg"),)
        (image,) = self.widget.children
        image.value, image.width = shown.jpeg, str(shown.size_px[0])


class BelowScreen:
    """A display below the form, which the saved notebook keeps."""

    def __init__(self) -> None:
        self._handle = display({"text/plain": ""}, raw=True, display_id=True)

    def show(self, shown: Any) -> None:
        data, metadata = shown.bundle()
        self._handle.update(data, metadata=metadata, raw=True)


class FormHistory:
    """The runs of a form, and the widgets that show them: a status line, the filmstrip and the images.

    Parameters
    ----------
    updater
        The thread that draws.
    names
        Field id -> the label of the field in the form.
    on_new_run
        Called when there is one more run.
    """

    def __init__(
        self,
        client: Client,
        workflow: Workflow,
        strip: Filmstrip,
        *,
        updater: LiveUpdater,
        names: Mapping[str, str],
        on_new_run: Callable[[], None],
    ) -> None:
        self._client = client
        self._workflow = workflow
        self._updater = updater
        self._names = names
        self._on_new_run = on_new_run
        self._lock = threading.RLock()  # the updater's thread draws while callbacks run
        self._runs: list[FormRun] = []
        self._shown: FormRun | None = None
        self._comparison: Any = None
        self._is_closed = False
        self.strip = strip
        self.status = widgets.HTML()
        self.status.add_class("cfy-status")
        self._images: InsideScreen | BelowScreen = (images := InsideScreen())
        self._compared: InsideScreen | BelowScreen = (compared := InsideScreen())
        self.inside = widgets.VBox([images.widget, compared.widget])
        self.stop_button = widgets.Button(description="Stop", disabled=True, tooltip="cancel the runs of this form")

    @property
    def runs(self) -> tuple[Run, ...]:
        return tuple(one.run for one in self._runs)

    @property
    def newest_values(self) -> Mapping[str, Any] | None:
        """The values of all fields for the newest run, if there is one."""
        return self._runs[-1].request.values if self._runs else None

    def find(self, token: str) -> FormRun | None:
        return next((one for one in self._runs if one.token == token), None)

    # -- submitting and cancelling --------------------------------------------------------------------------------

    def submit(self, request: FormRequest, *, fresh: bool) -> FormRun:
        """Submit a run, and show it.

        Raises
        ------
        ComflowyError
            As `Client.submit`. A held run is shown nevertheless.
        """
        usual_s = self._client.connection.usual_seconds(self._workflow)
        try:
            submitted = self._client.submit(self._workflow, request.settings, fresh=fresh)
        except RunHeld as held:
            self._add(Submitted(held.run, "held", {}), request, usual_s)
            raise
        except BaseException:
            self.status.value = ""
            raise
        return self._add(submitted, request, usual_s)

    def stop(self) -> None:
        """Cancel the runs in progress; if that is not possible, say why."""
        live = [one for one in self._runs if one.run.status.is_live]
        if not live:
            self.say("nothing is running")
        elif not self._client.service.can_cancel:
            go_on = "the run goes" if len(live) == 1 else f"{len(live)} runs go"
            self.say(f"{self._client.label} can't cancel: {go_on} on")
        else:
            for one in live:
                self._client.cancel(one.run)
                one.note("cancelling")

    def _add(self, submitted: Submitted, request: FormRequest, usual_s: float | None) -> FormRun:
        with self._lock:
            if self._runs and self._runs[-1].token == submitted.run.token:
                changed = self._runs[-1].changed  # the same run again, as after a slow double click
            else:
                changed = describe_changes(self.newest_values, request.values, self._names)
            new = FormRun(submitted, request, changed, usual_s, draw=self._draw, finish=self._finish)
            self._runs = [
                *(one for one in self._runs if one.token != new.token),
                new,
            ]  # a run again moves to the end
            self._on_new_run()  # before it is shown: an observer may read `Form.runs`
            self.show(new)
        self._updater.add(new)
        return new

    # -- showing --------------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Show a text instead of the status until the next change."""
        self.status.value = f'<span class="cfy-quiet">{html_text(plain(text))}</span>'

    def show(self, one: FormRun) -> None:
        """Show the status and images of this run."""
        with self._lock:
            self._shown = one
            self.strip.shown = one.token
            self._draw(one)
            if one.is_settled:
                self._draw_images(one)

    def show_on(self, images: BelowScreen, compared: BelowScreen) -> None:
        """Show images and comparisons there instead of inside the form."""
        with self._lock:
            self._images, self._compared = images, compared
            self.inside.layout.display = "none"
            if self._shown is not None:
                self._draw_images(self._shown)

    def compare(self, tokens: Sequence[str]) -> None:
        """Show a comparison of these runs."""
        from comflowy_nb.notebook.compare.widget import compare  # noqa: PLC0415 - only when asked for

        found = [one.run for token in tokens if (one := self.find(token)) is not None]
        if len(found) < 2:
            raise SettingsError("mark two or more runs in the strip, then compare them")
        new = compare(found)
        with self._lock:
            old, self._comparison = self._comparison, new
            self._compared.show(new)
        if old is not None:
            old.close()

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            if self._comparison is not None:
                self._comparison.close()

    def _draw(self, one: FormRun) -> None:
        with self._lock:
            if self._is_closed:
                return
            if not one.run.status.is_live:
                one.status_note = None
            items = [each.item() for each in self._runs[-_MAX_SHOWN_RUNS:]]
            if items != self.strip.items:
                self.strip.items = items
            preview = one.new_preview()
            if preview is not None:
                self.strip.preview = {"token": one.token, "url": preview}
            if one is self._shown:
                self.status.value = one.line().html
            self.stop_button.disabled = not any(each.run.status.is_live for each in self._runs)

    def _finish(self, one: FormRun) -> None:
        one.make_thumbnail()
        with self._lock:
            if self._is_closed:
                return
            thumbs = {each.token: each.thumbnail for each in self._runs[-_MAX_SHOWN_RUNS:] if each.thumbnail}
            if thumbs != self.strip.thumbs:
                self.strip.thumbs = thumbs
            self._draw(one)
            if one is self._shown:
                self._draw_images(one)

    def _draw_images(self, one: FormRun) -> None:
        if not one.run.record.images:
            return
        from comflowy_nb.notebook.display.grids import Grid  # noqa: PLC0415 - loads matplotlib with the first image

        self._images.show(Grid([one.run]))
