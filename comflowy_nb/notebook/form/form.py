"""The widget `Form`: fill in the fields of a workflow, run it, and return to earlier runs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from comflowy_nb.errors import ComflowyError, FieldError
from comflowy_nb.layout.html_text import html_text
from comflowy_nb.notebook.display.html import Table, join, paragraph, plain, table
from comflowy_nb.notebook.display.live import wait_drawing
from comflowy_nb.notebook.form.fields import FormBody
from comflowy_nb.notebook.form.run_entries import FormRequest
from comflowy_nb.notebook.form.run_history import FormHistory
from comflowy_nb.notebook.widget_versions import TOOLTIP, view_of
from comflowy_nb.scheduler import Scheduler
from comflowy_nb.workflow.syntax.lists import Setting
from comflowy_nb.workflow.syntax.write_cell import write_cell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from comflowy_nb.client import Client
    from comflowy_nb.notebook.display.live import LiveUpdater
    from comflowy_nb.notebook.form.factory import FormField
    from comflowy_nb.notebook.form.run_entries import EntryView
    from comflowy_nb.notebook.form.run_history import Screen
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["Form"]

DOUBLE_CLICK_S = 0.5  # a second click within this time, with nothing changed, is ignored


class Form(widgets.VBox):  # type: ignore[misc]  # ipywidgets is not read by mypy here
    """A widget with the fields of a workflow. Created by `comflowy_nb.form` and `%comflowy form`.

    Displayed by itself, its images are shown below it, where the saved notebook keeps them; within another layout they
    are shown inside the form. `close` frees its widgets.

    Parameters
    ----------
    fields
        The fields in order, with their first values.
    updater
        The thread that draws.
    """

    params = traitlets.Dict(read_only=True)
    """Field id -> value, as Run would send them, without invalid values."""
    problems = traitlets.Dict(read_only=True)
    """Field id -> why its value is invalid. Only the workflow's own values are sent even if invalid."""
    runs = traitlets.Tuple(read_only=True)
    """The runs of this form, oldest first."""

    def __init__(
        self, client: Client, workflow: Workflow, fields: Sequence[FormField], *, updater: LiveUpdater
    ) -> None:
        self._is_closed = True  # until `__init__` ends: a widget that is freed closes itself
        self.client = client
        self.workflow = workflow
        self._request_lock = threading.RLock()  # a kernel may run callbacks on several threads
        self._work = Scheduler("comflowy-form", workers=1)  # sends in the order of the clicks
        self._unsent: list[FormRequest] = []  # not submitted yet
        self._last_click_s = float("-inf")
        self._last_click_state: object = None
        self._body = FormBody(
            fields,
            changed=self._refresh,
            service=client.service,
            open_run=client.open_image,
            has_graph=workflow.graph is not None,
        )
        self._history = FormHistory(
            client,
            workflow,
            updater=updater,
            names=self._body.names,
            pick=self._on_pick,
            compare=self._on_compare,
            fill_in=self._body.fill_in,
            on_new_run=lambda: self.set_trait("runs", self._history.runs),
        )
        self._history.strip.inputs = self._body.model_ids
        self._problem = widgets.HTML(layout=widgets.Layout(display="none"))
        self._problem.add_class("cfy-problem")
        head = widgets.HTML(
            f'<span class="cfy-head"><b>{html_text(plain(workflow.name))}</b> '
            f'<span class="cfy-quiet">on {html_text(plain(client.label))}</span></span>'
        )
        buttons, history = self._make_buttons(), self._history
        super().__init__(
            [head, *self._body.parts, buttons, self._problem, history.status, history.strip, history.inside],
        )
        self.add_class("cfy-form")
        self._is_closed = False
        self._refresh()

    @property
    def token(self) -> str:
        """The key by which an execution knows that it has drawn this form."""
        return f"form {id(self)}"

    # -- for users and scripts ----------------------------------------------------------------------------------

    def run(self, *, wait: bool = False, fresh: bool = False) -> Run:
        """Submit a run with the values in the form; the form shows its status and images.

        Parameters
        ----------
        wait
            Wait until the run is settled and its images are drawn. An interrupt only stops waiting.
        fresh
            Run it although an identical run has succeeded.

        Raises
        ------
        FieldError
            If a field has an invalid value.
        ComflowyError
            As `Client.submit`.
        """
        view = self._submit(self._read_request(), fresh=fresh)
        if wait:
            wait_drawing([view])
        return view.run

    def set(self, params: Mapping[str, Any]) -> None:
        """Set fields by id, name or alias: `form.set({"cfg": 7})`.

        Raises
        ------
        FieldError
            With all unknown names and invalid values; the others are set.
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
        """Return the `%%comflowy run` cell that submits the values in the form.

        Raises
        ------
        FieldError
            If a field has an invalid value.
        """
        values = self._body.read()
        return write_cell(self.workflow, {key: values[key] for key in self._body.sent})

    def stop(self) -> None:
        """Cancel the runs of this form that are in progress; the form says so if the service can't."""
        message = self._history.stop()
        if message is not None:
            self._history.say(message)

    def go_back(self, run: Run | str) -> None:
        """Restore the values of an earlier run of this form, and show its images."""
        entry = self._history.find(run if isinstance(run, str) else run.token)
        if entry is None:
            return
        with self._request_lock:
            self._body.restore(entry.values, entry.request.explicit)
        self._refresh()
        self._history.show(entry)

    def show_on(self, images: Screen, compared: Screen) -> None:
        """Show images and comparisons there instead of inside the form."""
        self._history.show_on(images, compared)

    def close(self) -> None:
        """Free the widgets and stop the thread of this form. Its runs continue."""
        if self._is_closed:
            return
        self._is_closed = True
        self._work.close()
        self._history.close()
        self._body.close()
        for part in _descendants(self):
            if part is not self:
                part.close()
        super().close()

    # -- callbacks of the widgets, on any thread ----------------------------------------------------------------

    def _make_buttons(self) -> Any:
        run = self._run_button = widgets.Button(
            description="Run", button_style="primary", tooltip="run with these values"
        )
        copy = widgets.Button(description="Copy as cell", tooltip="copy the cell that runs these values")
        self._fresh = widgets.Checkbox(
            description="run anew",
            indent=False,
            **{TOOLTIP: "run it although these values have succeeded before"},
        )
        stop = self._history.stop_button
        run.on_click(lambda _: self._run_callback(self._on_run))
        stop.on_click(lambda _: self._run_callback(self.stop))
        copy.on_click(lambda _: self._run_callback(lambda: self._history.strip.copy(self.cell())))
        buttons = widgets.HBox([run, stop, copy, self._fresh])
        buttons.add_class("cfy-buttons")
        return buttons

    def _on_run(self) -> None:
        with self._request_lock:
            now_s = self._work.clock()
            is_double = now_s - self._last_click_s < DOUBLE_CLICK_S and self._body.snapshot() == self._last_click_state
            self._last_click_s = now_s
            if is_double:
                return
            fresh = bool(self._fresh.value)
            request = self._read_request()
            self._last_click_state = self._body.snapshot()  # with the seed of this run
        self._history.say("sending ...")
        self._work.execute(lambda: self._run_callback(lambda: self._submit(request, fresh=fresh)))

    def _on_pick(self, token: str) -> None:
        self._run_callback(lambda: self.go_back(token))

    def _on_compare(self, tokens: list[str]) -> None:
        self._work.execute(lambda: self._run_callback(lambda: self._history.compare(tokens)))

    def _run_callback(self, action: Callable[[], object]) -> None:
        """Run a callback and show errors in the form: a callback's traceback would go to the log."""
        if self._is_closed:
            return
        try:
            self._show_problem(None)
            action()
        except ComflowyError as error:
            self._show_problem(str(error))
        except Exception as error:  # noqa: BLE001 - as above
            self._show_problem(f"{type(error).__name__}: {error}")

    # -- submitting ---------------------------------------------------------------------------------------------

    def _read_request(self) -> FormRequest:
        """Return what Run submits now, with new seeds."""
        with self._request_lock:
            newest = self._unsent[-1].values if self._unsent else self._history.used
            self._body.advance_seeds(newest, self.workflow)
            values = self._body.read()
            settings = [Setting(key, values[key], typed=True) for key in self._body.sent]
            request = FormRequest(settings, values, frozenset(self._body.explicit))
            self._unsent.append(request)
            return request

    def _submit(self, request: FormRequest, *, fresh: bool) -> EntryView:
        try:
            return self._history.send(request, fresh=fresh)
        finally:
            with self._request_lock:
                self._unsent = [other for other in self._unsent if other is not request]

    def _refresh(self) -> None:
        with self._request_lock:
            values, problems = self._body.state()
            self.set_trait("params", {key: values[key] for key in self._body.sent if key in values})
            self.set_trait("problems", problems)

    def _show_problem(self, why: str | None) -> None:
        text = html_text(plain(why or ""))
        self._problem.value = f'<span role="alert">{text}</span>' if text else ""
        self._problem.layout.display = "" if text else "none"

    # -- static output ------------------------------------------------------------------------------------------

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return data and metadata for a notebook: the widget, and its values as text and HTML."""
        return {**view_of(self), **_static_form(self.workflow.name, self._body.rows())}, {}

    _ipython_display_ = None  # that of ipywidgets 7 displays the widget without the text and HTML beside it

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.bundle()

    def __repr__(self) -> str:
        count = len(self.runs)
        return f"<Form {self.workflow.name!r} {count} run{'s' * (count != 1)}>"


def _descendants(part: Any) -> list[Any]:
    """Return a widget, its layout and style, and those of all its children, the innermost first."""
    found = [inner for child in getattr(part, "children", ()) for inner in _descendants(child)]
    own = [getattr(part, name, None) for name in ("style", "layout")]
    return [*found, *(one for one in own if isinstance(one, widgets.Widget)), part]


def _static_form(name: str, rows: Sequence[tuple[str, str, str]]) -> dict[str, str]:
    """Return the values of a form as text and as a table.

    Parameters
    ----------
    rows
        Node, field and value of each field.
    """
    seen: set[str] = set()
    shown = []
    for node, field, value in rows:
        shown.append(("" if node in seen else node, field, value))
        seen.add(node)
    head = paragraph(f"a form for {name}: execute this cell in a notebook to fill it in")
    return join(head, table(Table(("node", "field", "value"), shown)))
