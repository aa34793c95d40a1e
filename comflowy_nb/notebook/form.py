"""Form: the fields of a workflow to be filled in, run, looked at and gone back to."""

from __future__ import annotations

import html
import threading
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from comflowy_nb.errors import ComflowyError, FieldError, RunHeld, SettingsError
from comflowy_nb.notebook.filmstrip import Filmstrip
from comflowy_nb.notebook.form_body import FormBody
from comflowy_nb.notebook.form_runs import Entry, EntryView, describe_changes
from comflowy_nb.notebook.form_screens import InsideScreen
from comflowy_nb.notebook.form_words import static_form
from comflowy_nb.notebook.plain import plain
from comflowy_nb.runs.timetable import Timetable
from comflowy_nb.workflow.cell_text import write_cell
from comflowy_nb.workflow.values import Setting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comflowy_nb.client import Client, Submitted
    from comflowy_nb.notebook.form_fields import FormField
    from comflowy_nb.notebook.form_screens import Screen
    from comflowy_nb.notebook.views import Viewer
    from comflowy_nb.runs.run import Run
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["Form"]

DOUBLE_CLICK_S = 0.5  # a second click so soon, nothing changed, is no second wish
SHOWN_RUNS = 60  # in the filmstrip; the history has them all


class Form(widgets.VBox):  # type: ignore[misc]  # ipywidgets is not read by mypy here
    """A widget with the fields of a workflow. `comflowy_nb.form` and `%comflowy form` make one.

    It fits in other layouts, and `close` frees it. Displayed by itself in a cell its pictures come below it, where they
    stay in the saved notebook; within another layout they are in it.

    Parameters
    ----------
    fields
        What to fill in, in order, each with the value to begin with.
    viewer
        The thread that draws.
    """

    params = traitlets.Dict(read_only=True)
    """Field id -> value, as Run would send them; of a field that can't be sent as it stands, not at all."""
    problems = traitlets.Dict(read_only=True)
    """Field id -> why it can't be sent as it stands."""
    runs = traitlets.Tuple(read_only=True)
    """The runs of this form, oldest first."""

    def __init__(self, client: Client, workflow: Workflow, fields: Sequence[FormField], *, viewer: Viewer) -> None:
        self.client = client
        self.workflow = workflow
        self._viewer = viewer
        self._lock = threading.RLock()  # a kernel may bring callbacks on several threads, and the view thread draws
        self._work = Timetable("comflowy-form", workers=1)  # sends in the order of the clicks
        self._entries: list[Entry] = []
        self._shown: Entry | None = None
        self._clicked_s = float("-inf")
        self._clicked_with: object = None
        self._is_closed = False
        self._comparison: Any = None
        self._body = FormBody(fields, changed=self._refresh, service=client.service, open_run=client.open_picture)
        self._strip = Filmstrip(pick=self._pick, compare=self._compare_marked)
        self._run_button = widgets.Button(description="Run", button_style="primary", tooltip="send these values")
        self._stop_button = widgets.Button(
            description="Stop", disabled=True, tooltip="cancel what this form is running"
        )
        self._copy_button = widgets.Button(description="Copy as cell", tooltip="the cell that sends these values")
        self._anew = widgets.Checkbox(
            description="run anew", indent=False, tooltip="send it although a success for exactly these values is there"
        )
        self._run_button.on_click(self._click_run)
        self._stop_button.on_click(self._click_stop)
        self._copy_button.on_click(self._click_copy)
        buttons = widgets.HBox([self._run_button, self._stop_button, self._copy_button, self._anew])
        self._status = widgets.HTML()
        self._problem = widgets.HTML(layout=widgets.Layout(display="none"))
        self._pictures: Screen = InsideScreen()
        self._compared: Screen = InsideScreen()
        self._inside = widgets.VBox([self._pictures.widget, self._compared.widget])
        head = widgets.HTML(
            f'<span class="cfy-head"><b>{html.escape(plain(workflow.name))}</b> '
            f'<span class="cfy-quiet">on {html.escape(plain(client.label))}</span></span>'
        )
        for part, name in ((buttons, "buttons"), (self._status, "status"), (self._problem, "problem")):
            part.add_class(f"cfy-{name}")
        self._inside.add_class("cfy-inside")
        children = [head, *self._body.parts, buttons, self._problem, self._status, self._strip, self._inside]
        super().__init__(children)
        self.add_class("cfy-form")
        self._refresh()

    @property
    def token(self) -> str:
        """What an execution remembers of a form it has drawn."""
        return f"form {id(self)}"

    # -- what a person or a script does -------------------------------------------------------------------------

    def run(self, *, fresh: bool = False) -> Run:
        """Send what stands in the form; returns at once, and status and pictures come into the form.

        Raises
        ------
        FieldError
            If a field can't be sent as it stands.
        ComflowyError
            As `Client.submit`.
        """
        settings, values, given = self._take()
        return self._send(settings, values, given, fresh=fresh).submitted.run

    def set(self, params: Mapping[str, Any]) -> None:
        """Put values into fields: `form.set({"3::cfg": 7})`, by id, name or alias.

        Raises
        ------
        FieldError
            For all names and values the form has no place for; the others are set.
        """
        problems: list[str] = []
        for key, value in params.items():
            try:
                for field_id in self.workflow.find(key):
                    self._body.show(field_id, value)
            except FieldError as error:
                problems += error.problems
        self._refresh()
        if problems:
            raise FieldError(*problems)

    def cell(self) -> str:
        """The `%%comflowy run` cell that sends what stands in the form.

        Raises
        ------
        FieldError
            If a field can't be sent as it stands.
        """
        values = self._body.read()
        return write_cell(self.workflow, {key: values[key] for key in self._body.sent})

    def stop(self) -> str:
        """Cancel the live runs of this form, where the service can; in a line what became of that."""
        live = [entry for entry in self._entries if entry.submitted.run.status.is_live]
        if not live:
            return "nothing is running"
        if not self.client.service.can_cancel:
            return f"{self.client.label} can't cancel: {len(live)} go on"
        for entry in live:
            self.client.cancel(entry.submitted.run)
        return f"cancelling {', '.join(entry.submitted.run.ref for entry in live)}"

    def show_on(self, pictures: Screen, compared: Screen) -> None:
        """Let pictures and comparisons come there instead of into the form itself."""
        with self._lock:
            self._pictures, self._compared = pictures, compared
            self._inside.layout.display = "none"
            if self._shown is not None:
                self._draw_pictures(self._shown)

    def close(self) -> None:
        """Free its widgets and stop its thread; runs go on, and the history has them."""
        if self._is_closed:
            return
        self._is_closed = True
        self._work.close()
        if self._comparison is not None:
            self._comparison.close()
        self._body.close()
        for part in _all_within(self):
            if part is not self:
                part.close()
        self.layout.close()
        super().close()

    # -- what the buttons do: little, on whatever thread they are told ------------------------------------------

    def _click_run(self, _: object) -> None:
        self._do(self._press_run)

    def _press_run(self) -> None:
        with self._lock:
            now_s = self._work.clock()
            before = self._body.snapshot()
            if now_s - self._clicked_s < DOUBLE_CLICK_S and before == self._clicked_with:
                self._clicked_s = now_s
                return
            self._clicked_s = now_s
            fresh = bool(self._anew.value)
            try:
                settings, values, given = self._take()
            finally:
                self._clicked_with = self._body.snapshot()  # a seed may have been drawn for this run
            self._status.value = '<span class="cfy-quiet">sending ...</span>'
        self._work.soon(lambda: self._do(lambda: self._send(settings, values, given, fresh=fresh)))

    def _click_stop(self, _: object) -> None:
        self._do(lambda: self._tell(self.stop()))

    def _click_copy(self, _: object) -> None:
        self._do(lambda: self._strip.copy(self.cell()))

    def _pick(self, token: str) -> None:
        self._do(lambda: self.go_back(token))

    def _compare_marked(self, tokens: list[str]) -> None:
        self._work.soon(lambda: self._do(lambda: self._compare(tokens)))

    def _do(self, action: Any) -> None:
        """Do what a callback is for; what goes wrong is said in the form, since nobody reads a callback's traceback."""
        if self._is_closed:
            return
        try:
            self._say(None)
            action()
        except ComflowyError as error:
            self._say(str(error))
        except Exception as error:  # noqa: BLE001 - as above
            self._say(f"{type(error).__name__}: {error}")

    # -- runs ---------------------------------------------------------------------------------------------------

    def _take(self) -> tuple[list[Setting], Mapping[str, Any], frozenset[str]]:
        """What is to be sent now: the settings, what stands in every field, and which are sent whatever they hold."""
        with self._lock:
            used = self._entries[-1].values if self._entries else {}
            self._body.advance_seeds(used, self.workflow)
            values = self._body.read()
            settings = [Setting(key, values[key], typed=True) for key in self._body.sent]
            return settings, values, frozenset(self._body.given)

    def _send(
        self, settings: Sequence[Setting], values: Mapping[str, Any], given: frozenset[str], *, fresh: bool
    ) -> Entry:
        usual_s = self.client.usual_seconds(self.workflow)
        try:
            submitted = self.client.submit(self.workflow, settings, fresh=fresh)
        except RunHeld as held:
            self._add(_held(held), values, given, usual_s)
            raise
        except BaseException:
            self._status.value = ""
            raise
        return self._add(submitted, values, given, usual_s)

    def _add(
        self, submitted: Submitted, values: Mapping[str, Any], given: frozenset[str], usual_s: float | None
    ) -> Entry:
        with self._lock:
            before = self._entries[-1].values if self._entries else None
            changed = describe_changes(before, values, self._body.names)
            entry = Entry(submitted, values, given, changed, usual_s)
            known = [
                one for one in self._entries if one.token != entry.token
            ]  # the same run once more: the newest place
            self._entries = [*known, entry]
            self.set_trait("runs", tuple(one.submitted.run for one in self._entries))
            self._show(entry)
        self._viewer.follow(EntryView(entry, self._draw, self._finish))
        return entry

    def go_back(self, token: str) -> None:
        """Put the values of an earlier run of this form back, and show its pictures."""
        with self._lock:
            entry = next((one for one in self._entries if one.token == token), None)
            if entry is None:
                return
            self._body.restore(entry.values, entry.given)
            self._refresh()
            self._show(entry)

    def _compare(self, tokens: Sequence[str]) -> None:
        from comflowy_nb.notebook.compare import comparison  # noqa: PLC0415 - only when asked for

        found = [entry.submitted.run for token in tokens for entry in self._entries if entry.token == token]
        if len(found) < 2:
            raise SettingsError("mark two or more runs in the strip, then compare them")
        new = comparison(found)
        with self._lock:
            old, self._comparison = self._comparison, new
            self._compared.show_widget(new)
        if old is not None:
            old.close()

    # -- drawing ------------------------------------------------------------------------------------------------

    def _show(self, entry: Entry) -> None:
        self._shown = entry
        self._strip.shown = entry.token
        self._draw(entry)
        if entry.submitted.run.record.is_settled:
            self._draw_pictures(entry)

    def _draw(self, entry: Entry) -> None:
        with self._lock:
            if self._is_closed:
                return
            items = [one.item() for one in self._entries[-SHOWN_RUNS:]]
            if items != self._strip.items:
                self._strip.items = items
            if entry is self._shown:
                text = entry.line().html
                if text != self._status.value:
                    self._status.value = text
            self._stop_button.disabled = not any(one.submitted.run.status.is_live for one in self._entries)

    def _finish(self, entry: Entry) -> None:
        thumb = entry.make_thumb()
        with self._lock:
            if self._is_closed:
                return
            entry.thumb = thumb
            kept = {one.token: one.thumb for one in self._entries[-SHOWN_RUNS:] if one.thumb}
            if kept != self._strip.thumbs:
                self._strip.thumbs = kept
            self._draw(entry)
            if entry is self._shown:
                self._draw_pictures(entry)

    def _draw_pictures(self, entry: Entry) -> None:
        if not entry.submitted.run.record.pictures:
            return
        from comflowy_nb.notebook.grid import Grid  # noqa: PLC0415 - loads matplotlib with the first picture

        grid = Grid([entry.submitted.run])
        self._pictures.show_picture(*grid.bundle(), jpeg=grid.jpeg)

    def _refresh(self) -> None:
        with self._lock:
            values, problems = self._body.look()
            self.set_trait("params", {key: values[key] for key in self._body.sent if key in values})
            self.set_trait("problems", problems)

    def _say(self, why: str | None) -> None:
        text = html.escape(plain(why or ""))
        self._problem.value = f'<span role="alert">{text}</span>' if text else ""
        self._problem.layout.display = "" if text else "none"

    def _tell(self, text: str) -> None:
        if self._shown is None:
            self._status.value = html.escape(plain(text))
            return
        self._shown.note = None if self._shown.submitted.run.status.is_live and "cancelling" in text else text
        self._draw(self._shown)

    # -- elsewhere than in the browser --------------------------------------------------------------------------

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Data and metadata for a notebook: the widget, and beside it what stands in the form, as text and as HTML."""
        found = widgets.VBox._repr_mimebundle_(self) or {}
        data, metadata = found if isinstance(found, tuple) else (found, {})
        return {**data, **static_form(self.workflow.name, self._body.rows())}, metadata

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.bundle()

    def __repr__(self) -> str:
        count = len(self._entries)
        return f"<Form {self.workflow.name!r} {count} run{'s' * (count != 1)}>"


def _held(held: RunHeld) -> Submitted:
    from comflowy_nb.client import Submitted  # noqa: PLC0415 - loads the HTTP stack

    return Submitted(held.run, "held", {})


def _all_within(part: Any) -> list[Any]:
    """A widget, its layout and style, and all its children's, the innermost first."""
    found = [inner for child in getattr(part, "children", ()) for inner in _all_within(child)]
    own = [getattr(part, name, None) for name in ("style", "layout")]
    return [*found, *(one for one in own if isinstance(one, widgets.Widget)), part]
