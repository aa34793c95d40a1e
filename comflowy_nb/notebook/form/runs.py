"""The runs of a form: submit, show and compare them, describe their changes, and update the filmstrip."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from comflowy_nb.comparison.differences import mark_words
from comflowy_nb.errors import ComflowyError, RunHeld, SettingsError
from comflowy_nb.images.thumbnail_sizes import SMALL_THUMBNAIL_PX
from comflowy_nb.layout.text import html_text, shorten
from comflowy_nb.layout.value_text import time_text, write_value
from comflowy_nb.notebook.display.html import data_url, plain
from comflowy_nb.notebook.display.live import LiveView
from comflowy_nb.notebook.display.run_status_text import run_line
from comflowy_nb.notebook.form.filmstrip import InnerDisplay
from comflowy_nb.notebook.form.image_control import small_jpeg
from comflowy_nb.status import Status
from comflowy_nb.tracking.submit import Submitted
from comflowy_nb.workflow.images import InputImage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from comflowy_nb.client import Client
    from comflowy_nb.notebook.compare.widget import Comparison
    from comflowy_nb.notebook.display.grids import Grid
    from comflowy_nb.notebook.display.live import DisplaySlot, LiveUpdater
    from comflowy_nb.notebook.display.status_line import StatusLine
    from comflowy_nb.notebook.form.filmstrip import Filmstrip
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.workflow.syntax.lists import Setting
    from comflowy_nb.workflow.workflow import Workflow


_MAX_SHOWN_RUNS = 60  # in the filmstrip; the history has all runs
_THUMBNAIL_PX = 160
_MAX_VALUE_CHARS = 24  # maximum length of a changed value


@dataclass(frozen=True, slots=True, eq=False)
class FormRequest:
    """The request that Run submits: settings, values of all fields, and ids of the explicitly set fields."""

    settings: Sequence[Setting]
    values: Mapping[str, Any]
    explicit: frozenset[str]


class FormRun(LiveView):
    """The view of one run of a form: its item in the filmstrip and, if it is selected, its status and images.

    Parameters
    ----------
    changed
        The differences from the previous run.
    usual_s
        The usual duration of this workflow in seconds; None if unknown.
    """

    def __init__(
        self, history: FormHistory, submitted: Submitted, request: FormRequest, changed: str, usual_s: float | None
    ) -> None:
        self.value = self.run = submitted.run
        self.token = submitted.run.token
        self.request = request
        self.changed = changed
        self.status_note: str | None = None
        self.thumbnail: str | None = None  # a data URL
        self._submitted = submitted
        self._usual_s = usual_s
        self._history = history
        self._lock = threading.Lock()
        self._is_finished = False
        self._last_preview: bytes | None = None

    # -- as a view ------------------------------------------------------------------------------------------------

    def draw(self) -> None:
        self._history.draw(self)

    def finish(self) -> None:
        with self._lock:
            if not self._is_finished:
                self._history.draw_final(self)
                self._is_finished = True

    def note(self, text: str) -> None:
        self.status_note = text
        self.draw()

    # -- for the form ---------------------------------------------------------------------------------------------

    def line(self) -> StatusLine:
        """Return the status line, without the preview, which is in the filmstrip."""
        line = run_line(
            self.run,
            outcome=self._submitted.outcome,
            generated_seeds=self._submitted.generated_seeds,
            usual_s=self._usual_s,
            note=self.status_note,
        )
        return replace(line, preview=None)

    def filmstrip_item(self) -> dict[str, Any]:
        """Return the data of the run for the filmstrip. The browser code escapes its texts."""
        run, progress = self.run, self.run.progress
        status = run.shown_record.status
        text = str(status)
        if status is Status.SUCCESS:
            seconds = run.record.seconds
            text = "" if seconds is None else "same" if self._submitted.outcome == "same" else time_text(seconds)
        elif status is Status.RUNNING and progress is not None and progress.max and progress.max > 1:
            text = f"{progress.value or 0:g}/{progress.max:g}"
        return {
            "token": self.token,
            "ref": run.ref,
            "status": str(status),
            "status_text": text,
            "changed": plain(self.changed),
            "fraction": self.line().fraction if run.status.is_live else None,
            "has_images": any(image.state in {"kept", "pruned"} for image in run.record.images),
        }

    def new_preview(self) -> str | None:
        """Return the newest preview as a small data URL; None if it has not changed."""
        progress = self.run.progress
        preview = progress.preview if progress is not None and self.run.shown_record.status is Status.RUNNING else None
        if preview is None or preview is self._last_preview:
            return None
        self._last_preview = preview
        return _small_url(preview)

    def make_thumbnail(self) -> None:
        """Set the thumbnail to a small data URL of the first image that can be read."""
        stored = [image for image in self.run.images if image.record.state in {"kept", "pruned"}]
        try:
            self.thumbnail = _small_url(stored[0].thumbnail(SMALL_THUMBNAIL_PX)) if stored else None
        except ComflowyError:
            self.thumbnail = None


class FormHistory:
    """The runs of a form, and the widgets that show them: a status line, the filmstrip and the images.

    Parameters
    ----------
    updater
        The updater whose thread draws the runs.
    names
        Field id -> label of the field in the form.
    on_new_run
        Called after a run was added.
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
        self.status = widgets.HTML().add_class("cfy-status")
        self._images: InnerDisplay | DisplaySlot = (images := InnerDisplay())
        self._compared: InnerDisplay | DisplaySlot = (compared := InnerDisplay())
        self.inside = widgets.VBox([images.widget, compared.widget])
        self.stop_button = widgets.Button(description="Stop", disabled=True, tooltip="cancel the runs of this form")

    @property
    def runs(self) -> tuple[Run, ...]:
        return tuple(form_run.run for form_run in self._runs)

    @property
    def newest_values(self) -> Mapping[str, Any] | None:
        """The values of all fields for the newest run; None before the first run."""
        return self._runs[-1].request.values if self._runs else None

    def find(self, token: str) -> FormRun | None:
        return next((form_run for form_run in self._runs if form_run.token == token), None)

    # -- submitting and cancelling --------------------------------------------------------------------------------

    def submit(self, request: FormRequest, *, fresh: bool) -> FormRun:
        """Submit a run, and show it.

        Raises
        ------
        ComflowyError
            As `Client.submit`. A held run is shown even though the error is raised.
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
        """Cancel the runs in progress. If that is not possible, show the reason."""
        live = [form_run for form_run in self._runs if form_run.run.status.is_live]
        if not live:
            self.say("nothing is running")
        elif not self._client.service.can_cancel:
            continuation = "the run continues" if len(live) == 1 else f"{len(live)} runs continue"
            self.say(f"{self._client.label} can't cancel: {continuation}")
        else:
            for form_run in live:
                self._client.cancel(form_run.run)
                form_run.note("cancelling")

    def _add(self, submitted: Submitted, request: FormRequest, usual_s: float | None) -> FormRun:
        with self._lock:
            if self._runs and self._runs[-1].token == submitted.run.token:
                changed = self._runs[-1].changed  # the same run was returned, as after a slow double click
            else:
                changed = describe_changes(self.newest_values, request.values, self._names)
            new = FormRun(self, submitted, request, changed, usual_s)
            # A repeated run moves to the end.
            self._runs = [form_run for form_run in self._runs if form_run.token != new.token] + [new]
            self._on_new_run()  # before the run is shown, because an observer may read `Form.runs`
            self.show(new)
        self._updater.add(new)
        return new

    # -- showing --------------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Show a text instead of the status, until the next change."""
        self.status.value = f'<span class="cfy-quiet">{html_text(plain(text))}</span>'

    def show(self, form_run: FormRun) -> None:
        """Show the status and images of this run."""
        with self._lock:
            self._shown = form_run
            self.strip.shown = form_run.token
            self.draw(form_run)
            if form_run.is_settled:
                self._draw_images(form_run)

    def show_on(self, images: DisplaySlot, compared: DisplaySlot) -> None:
        """Show images and comparisons in these displays instead of inside the form."""
        with self._lock:
            self._images, self._compared = images, compared
            self.inside.layout.display = "none"
            if self._shown is not None:
                self._draw_images(self._shown)

    def compare(self, tokens: Sequence[str]) -> None:
        """Show a comparison of these runs."""
        from comflowy_nb.notebook.compare.widget import compare  # noqa: PLC0415 - only when asked for

        runs = [form_run.run for token in tokens if (form_run := self.find(token)) is not None]
        if len(runs) < 2:
            raise SettingsError("mark two or more runs in the strip, then compare them")
        new = compare(runs)
        with self._lock:
            old, self._comparison = self._comparison, new
            _show_in(self._compared, new)
        if old is not None:
            old.close()

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            if self._comparison is not None:
                self._comparison.close()

    def draw(self, form_run: FormRun) -> None:
        """Draw the current state of a run: its item in the filmstrip, its status and its preview."""
        with self._lock:
            if self._is_closed:
                return
            if not form_run.run.status.is_live:
                form_run.status_note = None
            items = [shown_run.filmstrip_item() for shown_run in self._runs[-_MAX_SHOWN_RUNS:]]
            if items != self.strip.items:
                self.strip.items = items
            preview = form_run.new_preview()
            if preview is not None:
                self.strip.preview = {"token": form_run.token, "url": preview}
            if form_run is self._shown:
                self.status.value = form_run.line().html
            self.stop_button.disabled = not any(shown_run.run.status.is_live for shown_run in self._runs)

    def draw_final(self, form_run: FormRun) -> None:
        """Draw the final state of a run, its thumbnail and its images."""
        form_run.make_thumbnail()
        with self._lock:
            if self._is_closed:
                return
            thumbs = {
                shown_run.token: shown_run.thumbnail
                for shown_run in self._runs[-_MAX_SHOWN_RUNS:]
                if shown_run.thumbnail
            }
            if thumbs != self.strip.thumbs:
                self.strip.thumbs = thumbs
            self.draw(form_run)
            if form_run is self._shown:
                self._draw_images(form_run)

    def _draw_images(self, form_run: FormRun) -> None:
        if not form_run.run.record.images:
            return
        from comflowy_nb.notebook.display.grids import Grid  # noqa: PLC0415 - loads matplotlib with the first image

        _show_in(self._images, Grid([form_run.run]))


def _show_in(where: InnerDisplay | DisplaySlot, shown: Grid | Comparison) -> None:
    if isinstance(where, InnerDisplay):
        where.show(shown)
    else:
        where.update(*shown.bundle())


def _small_url(source: Path | bytes) -> str | None:
    """Return an image as a data URL of a few kilobytes; None if it can't be decoded."""
    jpeg = small_jpeg(source, _THUMBNAIL_PX)
    return None if jpeg is None else data_url(jpeg, "image/jpeg")


def describe_changes(before: Mapping[str, Any] | None, after: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Return the differences from the previous run, such as `cfg 8 -> 7`. For texts: added and removed words."""
    if before is None:
        return "as it was opened"
    parts = []
    for key, value in after.items():
        old, name = before.get(key), names.get(key, key)
        if _same(old, value):
            continue
        if isinstance(old, str) and isinstance(value, str) and " " in old + value:
            parts.append(f"{name}: {_text_changes(old, value)}")
        else:
            parts.append(f"{name} {_short(old)} \N{RIGHTWARDS ARROW} {_short(value)}")
    return ", ".join(parts) or "nothing changed"


def _text_changes(old: str, new: str) -> str:
    removed, added = (
        " ".join(piece.text.strip(" ,.;") for piece in pieces if piece.mark != "same").strip()
        for pieces in mark_words([old, new])
    )
    signs = (("+", added), ("\N{MINUS SIGN}", removed))
    return " ".join(f"{sign} {_short(text)}" for sign, text in signs if text) or "other spacing"


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, InputImage) and isinstance(second, InputImage):
        return first.content_sha256 == second.content_sha256
    return bool(first == second) and isinstance(first, bool) == isinstance(second, bool)


def _short(value: Any) -> str:
    text = value.name if isinstance(value, InputImage) else "nothing" if value is None else write_value(value)
    return shorten(text, _MAX_VALUE_CHARS) or '""'
