"""Form: the fields of a workflow to be filled in, run, looked at and gone back to."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from comflowy_nb.errors import ComflowyError, FieldError
from comflowy_nb.layout.html_text import html_text
from comflowy_nb.notebook.display.sanitize import plain
from comflowy_nb.notebook.display.views import wait_drawing
from comflowy_nb.notebook.form.fields import FormBody
from comflowy_nb.notebook.form.run_entries import Taken
from comflowy_nb.notebook.form.run_history import FormHistory
from comflowy_nb.notebook.form.static_html import static_form
from comflowy_nb.notebook.widget_versions import TOOLTIP, view_of
from comflowy_nb.scheduler import Scheduler
from comflowy_nb.workflow.syntax.write_cell import write_cell
from comflowy_nb.workflow.values import Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from comflowy_nb.client import Client
    from comflowy_nb.notebook.display.views import Viewer
    from comflowy_nb.notebook.form.field_specs import FormField
    from comflowy_nb.notebook.form.outputs import Screen
    from comflowy_nb.notebook.form.run_entries import EntryView
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["Form"]

DOUBLE_CLICK_S = 0.5  # a second click so soon, nothing changed, is no second wish


class Form(widgets.VBox):  # type: ignore[misc]  # ipywidgets is not read by mypy here
    """A widget with the fields of a workflow. `comflowy_nb.form` and `%comflowy form` make one.

    It fits in other layouts, and `close` frees it. Displayed by itself in a cell its images come below it, where they
    stay in the saved notebook; within another layout they are in it.

    Parameters
    ----------
    fields
        What to fill in, in order, each with the value to begin with.
    viewer
        The thread that draws.
    """

    params = traitlets.Dict(read_only=True)
    """Field id -> value, as Run would send them; without the fields that can't be sent as they stand."""
    problems = traitlets.Dict(read_only=True)
    """Field id -> why its value does not fit. Only the workflow's own values are sent all the same."""
    runs = traitlets.Tuple(read_only=True)
    """The runs of this form, oldest first."""

    def __init__(self, client: Client, workflow: Workflow, fields: Sequence[FormField], *, viewer: Viewer) -> None:
        self._is_closed = True  # until it is complete: a widget that is dropped closes itself
        self.client = client
        self.workflow = workflow
        self._taking = threading.RLock()  # a kernel may bring callbacks on several threads
        self._work = Scheduler("comflowy-form", workers=1)  # sends in the order of the clicks
        self._taken: list[Taken] = []  # and not sent yet
        self._clicked_s = float("-inf")
        self._clicked_with: object = None
        self._body = FormBody(
            fields,
            changed=self._refresh,
            service=client.service,
            open_run=client.open_image,
            has_graph=workflow.graph is not None,
        )
        self._reel = FormHistory(
            client,
            workflow,
            viewer=viewer,
            names=self._body.names,
            pick=self._click_pick,
            compare=self._click_compare,
            fill_in=self._body.fill_in,
            grown=lambda: self.set_trait("runs", self._reel.runs),
        )
        self._reel.strip.inputs = self._body.model_ids
        self._problem = widgets.HTML(layout=widgets.Layout(display="none"))
        self._problem.add_class("cfy-problem")
        head = widgets.HTML(
            f'<span class="cfy-head"><b>{html_text(plain(workflow.name))}</b> '
            f'<span class="cfy-quiet">on {html_text(plain(client.label))}</span></span>'
        )
        buttons, reel = self._make_buttons(), self._reel
        super().__init__(
            [head, *self._body.parts, buttons, self._problem, reel.status, reel.strip, reel.inside],
        )
        self.add_class("cfy-form")
        self._is_closed = False
        self._refresh()

    @property
    def token(self) -> str:
        """What an execution remembers of a form it has drawn."""
        return f"form {id(self)}"

    # -- what a person or a script does -------------------------------------------------------------------------

    def run(self, *, wait: bool = False, fresh: bool = False) -> Run:
        """Send what stands in the form; status and images come into the form.

        Parameters
        ----------
        wait
            Whether to return only when it has ended and its images are drawn. An interrupt only stops waiting.
        fresh
            Send it although there is a success.

        Raises
        ------
        FieldError
            If a field can't be sent as it stands.
        ComflowyError
            As `Client.submit`.
        """
        view = self._send_taken(self._take(), fresh=fresh)
        if wait:
            wait_drawing([view])
        return view.run

    def set(self, params: Mapping[str, Any]) -> None:
        """Put values into fields, by id, name or alias: `form.set({"cfg": 7})`.

        Raises
        ------
        FieldError
            For all names and values that the form has no place for; the others are set.
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

    def stop(self) -> None:
        """Cancel the live runs of this form; where the service can't, the form says so."""
        said = self._reel.stop()
        if said is not None:
            self._reel.say(said)

    def go_back(self, run: Run | str) -> None:
        """Put the values of an earlier run of this form back, and show its images."""
        entry = self._reel.find(run if isinstance(run, str) else run.token)
        if entry is None:
            return
        with self._taking:
            self._body.restore(entry.values, entry.taken.given)
        self._refresh()
        self._reel.show(entry)

    def show_on(self, images: Screen, compared: Screen) -> None:
        """Let images and comparisons come there instead of into the form itself."""
        self._reel.show_on(images, compared)

    def close(self) -> None:
        """Free its widgets and stop its thread; runs go on, and the history has them."""
        if self._is_closed:
            return
        self._is_closed = True
        self._work.close()
        self._reel.close()
        self._body.close()
        for part in _all_within(self):
            if part is not self:
                part.close()
        super().close()

    # -- what the buttons do: little, on whatever thread they are told ------------------------------------------

    def _make_buttons(self) -> Any:
        run = self._run_button = widgets.Button(
            description="Run", button_style="primary", tooltip="send what stands here"
        )
        copy = widgets.Button(description="Copy as cell", tooltip="the cell that sends what stands here")
        self._anew = widgets.Checkbox(
            description="run anew",
            indent=False,
            **{TOOLTIP: "send it although a success for exactly these values is there"},
        )
        stop = self._reel.stop_button
        run.on_click(lambda _: self._do(self._press_run))
        stop.on_click(lambda _: self._do(self.stop))
        copy.on_click(lambda _: self._do(lambda: self._reel.strip.copy(self.cell())))
        buttons = widgets.HBox([run, stop, copy, self._anew])
        buttons.add_class("cfy-buttons")
        return buttons

    def _press_run(self) -> None:
        with self._taking:
            now_s = self._work.clock()
            is_double = now_s - self._clicked_s < DOUBLE_CLICK_S and self._body.snapshot() == self._clicked_with
            self._clicked_s = now_s
            if is_double:
                return
            fresh = bool(self._anew.value)
            taken = self._take()
            self._clicked_with = self._body.snapshot()  # with the seed that was drawn for this run
        self._reel.say("sending ...")
        self._work.execute(lambda: self._do(lambda: self._send_taken(taken, fresh=fresh)))

    def _click_pick(self, token: str) -> None:
        self._do(lambda: self.go_back(token))

    def _click_compare(self, tokens: list[str]) -> None:
        self._work.execute(lambda: self._do(lambda: self._reel.compare(tokens)))

    def _do(self, action: Callable[[], object]) -> None:
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

    # -- within -------------------------------------------------------------------------------------------------

    def _take(self) -> Taken:
        """What is to be sent now."""
        with self._taking:
            newest = self._taken[-1].values if self._taken else self._reel.used
            self._body.advance_seeds(newest, self.workflow)
            values = self._body.read()
            settings = [Setting(key, values[key], typed=True) for key in self._body.sent]
            taken = Taken(settings, values, frozenset(self._body.given))
            self._taken.append(taken)
            return taken

    def _send_taken(self, taken: Taken, *, fresh: bool) -> EntryView:
        try:
            return self._reel.send(taken, fresh=fresh)
        finally:
            with self._taking:
                self._taken = [other for other in self._taken if other is not taken]

    def _refresh(self) -> None:
        with self._taking:
            values, problems = self._body.look()
            self.set_trait("params", {key: values[key] for key in self._body.sent if key in values})
            self.set_trait("problems", problems)

    def _say(self, why: str | None) -> None:
        text = html_text(plain(why or ""))
        self._problem.value = f'<span role="alert">{text}</span>' if text else ""
        self._problem.layout.display = "" if text else "none"

    # -- elsewhere than in the browser --------------------------------------------------------------------------

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Data and metadata for a notebook: the widget, and beside it what stands in the form, as text and as HTML."""
        return {**view_of(self), **static_form(self.workflow.name, self._body.rows())}, {}

    _ipython_display_ = None  # that of ipywidgets 7 displays the widget without the text and HTML beside it

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.bundle()

    def __repr__(self) -> str:
        count = len(self.runs)
        return f"<Form {self.workflow.name!r} {count} run{'s' * (count != 1)}>"


def _all_within(part: Any) -> list[Any]:
    """A widget, its layout and style, and all its children's, the innermost first."""
    found = [inner for child in getattr(part, "children", ()) for inner in _all_within(child)]
    own = [getattr(part, name, None) for name in ("style", "layout")]
    return [*found, *(one for one in own if isinstance(one, widgets.Widget)), part]
