"""The widget `Form`: fill in the fields of a workflow, run it, and restore earlier runs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from comflowy_nb.errors import ComflowyError, FieldError, SettingsError, counted
from comflowy_nb.layout.text import html_text
from comflowy_nb.notebook.display.front_end import is_marimo, without_unusable_view
from comflowy_nb.notebook.display.html import plain
from comflowy_nb.notebook.display.live import LiveUpdater, wait_drawing
from comflowy_nb.notebook.form.controls import TOOLTIP, show_alert
from comflowy_nb.notebook.form.fields import abbreviated_fields, form_fields
from comflowy_nb.notebook.form.filmstrip import Filmstrip
from comflowy_nb.notebook.form.layout import FormBody
from comflowy_nb.notebook.form.runs import FormHistory, FormRequest
from comflowy_nb.notebook.magics import current_session
from comflowy_nb.recipe import write_cell
from comflowy_nb.scheduler import Scheduler
from comflowy_nb.tracking.run import Run
from comflowy_nb.workflow.syntax.lists import Setting
from comflowy_nb.workflow.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from comflowy_nb.client import Client
    from comflowy_nb.notebook.display.live import DisplaySlot
    from comflowy_nb.notebook.form.fields import FormField
    from comflowy_nb.notebook.form.runs import FormRun


_DOUBLE_CLICK_S = 0.5  # a second click within this time is ignored if nothing has changed


def form(
    what: str | Workflow | Run, params: Mapping[str, Any] | None = None, *, client: Client | None = None, **more: Any
) -> Form:
    """Create a form for a workflow.

    The form is displayed if it is the last value of a cell, and can be used in other ipywidgets layouts.

    Parameters
    ----------
    what : str, Workflow or Run
        The workflow: a name, a file, a URL or an id as in `%comflowy run`, or a `Workflow`. For a `Run`, the form has
        its workflow and starts with the values that were set for that run.
    params : mapping of str to object, optional
        Field -> initial value. A field is an id (`3::cfg`), a name that only one field has, or an alias. The value may
        be an abbreviation as in `ipywidgets.interact`: `(1, 30)` and `(0.0, 1.0, 0.05)` are ranges (lowest, highest,
        step); `["euler", "heun"]` and `{"soft": 4, "crisp": 9}` are choices.
    client : Client, optional
        The client. None (default) uses the connection of the notebook, or connects to `COMFLOWY_TARGET`.
    **more : Any
        Not accepted. Put fields into `params`.

    Returns
    -------
    Form
        The widget. `Form.close` frees it.

    Raises
    ------
    SettingsError
        If no service is connected.
    WorkflowError
        If there is no such workflow, or its fields are not described and `params` names none.
    FieldError
        If there is no such field, or a value is invalid.
    TypeError
        If a keyword is unknown.

    Examples
    --------
    >>> form = comflowy_nb.form("default", {"steps": (1, 30), "sampler_name": ["euler", "heun"]}, client=client)
    >>> form.params["3::sampler_name"]
    'euler'
    >>> form.close()
    """
    if more:
        name = next(iter(more))
        raise TypeError(f'form() has no parameter {name!r}: write form("default", {{"{name}": ...}})')
    session = current_session()
    if client is None:
        if session is None:
            raise SettingsError(
                "no service is connected. Type %load_ext comflowy_nb, or use form(..., client=connect(...))"
            )
        client = session.connected()
    before: dict[str, Any] = {}
    if isinstance(what, Run):
        before = {key: what.params[key] for key in what.record.set_params if key in what.params}
        if what.record.imported is not None:
            identity = what.record.identity
            before = client.connection.submitter.restore_input_images(None, before, identity=identity)
        what = what.record.workflow_id or what.workflow
    workflow = what if isinstance(what, Workflow) else client.workflow(what)
    described = abbreviated_fields(workflow, params or {})
    restored = client.connection.submitter.restore_input_images(workflow, before)
    values = {**restored, **{key: form_field.value for key, form_field in described.items()}}
    fields = form_fields(workflow, values, explicit=list(values), described=described)
    return Form(client, workflow, fields, updater=session.updater if session is not None else LiveUpdater())


class Form(widgets.VBox):  # type: ignore[misc]  # ipywidgets is not read by mypy here
    """A widget with the fields of a workflow. Created by `comflowy_nb.form` and `%comflowy form`.

    If the form is displayed by itself, its images are shown below it and stay in the saved notebook. In another layout,
    they are shown inside the form.

    Attributes
    ----------
    params : dict of str to object
        Field id -> value, as Run would submit them, without invalid values. Can be observed.
    problems : dict of str to str
        Field id -> reason why the value is invalid. Invalid values are not submitted, except the workflow's own. Can be
        observed.
    runs : tuple of Run
        The runs of this form, oldest first. Can be observed.

    Examples
    --------
    >>> form.observe(lambda change: print(change["new"]), names="params")  # doctest: +SKIP
    """

    params = traitlets.Dict(read_only=True)
    problems = traitlets.Dict(read_only=True)
    runs = traitlets.Tuple(read_only=True)

    def __init__(
        self, client: Client, workflow: Workflow, fields: Sequence[FormField], *, updater: LiveUpdater
    ) -> None:
        self._is_closed = True  # until `__init__` ends: a widget that is freed closes itself
        self.client = client
        self.workflow = workflow
        self._request_lock = threading.RLock()  # a kernel may run callbacks on several threads
        self._scheduler = Scheduler("comflowy-form", workers=1)  # submits in the order of the clicks
        self._newest_request: FormRequest | None = None  # while it is not submitted
        self._last_click_s = float("-inf")
        self._last_click_state: object = None
        self._body = FormBody(client, workflow, fields, changed=self._refresh)
        strip = Filmstrip(
            go_back=lambda token: self._run_callback(lambda: self.go_back(token)),
            compare=lambda tokens: self._run_on_thread(lambda: self._history.compare(tokens)),
            fill_in=self._body.fill_in,
            inputs=list(self._body.inputs),
        )
        self._history = FormHistory(
            client,
            workflow,
            strip,
            updater=updater,
            names=self._body.names,
            on_new_run=lambda: self.set_trait("runs", self._history.runs),
        )
        self._problem = widgets.HTML(layout=widgets.Layout(display="none")).add_class("cfy-problem")
        head = widgets.HTML(
            f'<span class="cfy-head"><b>{html_text(plain(workflow.name))}</b> '
            f'<span class="cfy-quiet">on {html_text(plain(client.label))}</span></span>'
        )
        shown = [self._history.status, strip, self._history.inside]
        super().__init__([head, *self._body.parts, self._make_buttons(), self._problem, *shown])
        self.add_class("cfy-form")
        self._is_closed = False
        self._refresh()

    def run(self, *, wait: bool = False, fresh: bool = False) -> Run:
        """Submit a run with the values in the form. The form shows its status and images.

        Parameters
        ----------
        wait : bool, optional
            Whether to wait until the run is settled and its images are drawn. Default False. KeyboardInterrupt only
            ends the wait.
        fresh : bool, optional
            Whether to run it even if an identical run has succeeded. Default False.

        Returns
        -------
        Run
            The new run, or the earlier run if an identical one has succeeded or is in progress.

        Raises
        ------
        FieldError
            If a field has an invalid value. Nothing is submitted.
        RunHeld
            If it is not known whether the service accepted an identical run.
        ComflowyError
            As `Client.submit`.

        Examples
        --------
        >>> form.set({"cfg": 4})  # doctest: +SKIP
        >>> form.run(wait=True).status  # doctest: +SKIP
        <Status.SUCCESS: 'success'>
        """
        submitted = self._submit(self._read_request(), fresh=fresh)
        if wait:
            wait_drawing([submitted])
        return submitted.run

    def set(self, params: Mapping[str, Any]) -> None:
        """Set fields of the form.

        Parameters
        ----------
        params : mapping of str to object
            Field -> value. A field is an id, a name that only one field has, or an alias.

        Raises
        ------
        FieldError
            If there are unknown names or invalid values. The other fields are set.

        Examples
        --------
        >>> form.set({"cfg": 7, "3::steps": 30})  # doctest: +SKIP
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

        Returns
        -------
        str
            The text of a notebook cell.

        Raises
        ------
        FieldError
            If a field has an invalid value.

        Examples
        --------
        >>> print(form.cell())  # doctest: +SKIP
        %%comflowy run default
        3::cfg: 7
        """
        values = self._body.read()
        return write_cell(self.workflow, {key: values[key] for key in self._body.submitted})

    def stop(self) -> None:
        """Cancel the runs of this form that are in progress.

        If the service can't cancel, the form says so and the runs continue.

        Examples
        --------
        >>> form.stop()  # doctest: +SKIP
        """
        self._history.stop()

    def go_back(self, run: Run | str) -> None:
        """Restore the values of an earlier run of this form, and show its images.

        Parameters
        ----------
        run : Run or str
            One of `runs`, or its token. Other runs are ignored.

        Examples
        --------
        >>> form.go_back(form.runs[0])  # doctest: +SKIP
        """
        form_run = self._history.find(run if isinstance(run, str) else run.token)
        if form_run is None:
            return
        with self._request_lock:
            self._body.restore(form_run.request.values, form_run.request.explicit)
        self._refresh()
        self._history.show(form_run)

    def close(self) -> None:
        """Free the widgets and stop the thread of this form. Its runs continue.

        Examples
        --------
        >>> form.close()  # doctest: +SKIP
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._scheduler.close()
        self._history.close()
        for part in _inner_widgets(self):
            part.close()
        super().close()

    # -- callbacks of the widgets, on any thread ------------------------------------------------------------------

    def _make_buttons(self) -> Any:
        run = widgets.Button(description="Run", button_style="primary", tooltip="run with these values")
        copy = widgets.Button(description="Copy as cell", tooltip="copy the cell that runs these values")
        tooltip = {TOOLTIP: "run it even if these values have succeeded before"}
        stop = self._history.stop_button
        self._fresh = widgets.Checkbox(description="run again", indent=False, **tooltip)
        run.on_click(lambda _: self._run_callback(self._on_run))
        stop.on_click(lambda _: self._run_callback(self.stop))
        copy.on_click(lambda _: self._run_callback(lambda: self._history.strip.copy(self.cell())))
        return widgets.HBox([run, stop, copy, self._fresh]).add_class("cfy-buttons")

    def _on_run(self) -> None:
        with self._request_lock:
            now_s, state = self._scheduler.clock(), self._body.snapshot()
            is_double = now_s - self._last_click_s < _DOUBLE_CLICK_S and state == self._last_click_state
            self._last_click_s = now_s
            if is_double:
                return
            fresh = bool(self._fresh.value)
            request = self._read_request()
            self._last_click_state = self._body.snapshot()  # with the seed of this run
        self._history.say("submitting ...")
        self._run_on_thread(lambda: self._submit(request, fresh=fresh))

    def _run_on_thread(self, action: Callable[[], object]) -> None:
        self._scheduler.execute(lambda: self._run_callback(action))

    def _run_callback(self, action: Callable[[], object]) -> None:
        """Call a function and show its errors in the form. Otherwise they would only be written to the log."""
        if self._is_closed:
            return
        try:
            show_alert(self._problem, "")
            action()
        except ComflowyError as error:
            show_alert(self._problem, str(error))
        except Exception as error:  # noqa: BLE001 - as above
            show_alert(self._problem, f"{type(error).__name__}: {error}")

    def _read_request(self) -> FormRequest:
        """Return the request that the Run button submits, with new seeds."""
        with self._request_lock:
            newest = self._newest_request.values if self._newest_request is not None else self._history.newest_values
            self._body.advance_seeds(newest or {})
            values = self._body.read()
            settings = [Setting(key, values[key], is_python_value=True) for key in self._body.submitted]
            self._newest_request = FormRequest(settings, values, frozenset(self._body.explicit))
            return self._newest_request

    def _submit(self, request: FormRequest, *, fresh: bool) -> FormRun:
        try:
            return self._history.submit(request, fresh=fresh)
        finally:
            with self._request_lock:
                if self._newest_request is request:
                    self._newest_request = None

    def _refresh(self) -> None:
        with self._request_lock:
            values, problems = self._body.state()
            self.set_trait("params", {key: values[key] for key in self._body.submitted if key in values})
            self.set_trait("problems", problems)

    def show_on(self, images: DisplaySlot, compared: DisplaySlot) -> None:
        """Show images and comparisons in these displays instead of inside the form."""
        self._history.show_on(images, compared)

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return data and metadata for a notebook: the widget, and the values as text and as a table."""
        # ipywidgets 7 has no `_repr_mimebundle_`; a closed widget has no model
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        shown = {} if self.model_id is None or is_marimo() else {"application/vnd.jupyter.widget-view+json": view}
        return {**without_unusable_view(shown), **self._body.static_output()}, {}

    _ipython_display_ = None  # the method of ipywidgets 7 displays the widget without the text and HTML beside it

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.bundle()

    def __repr__(self) -> str:
        count = len(self.runs)
        return f"<Form {self.workflow.name!r} {counted(count, 'run')}>"


def _inner_widgets(part: Any) -> list[Any]:
    """Return the style, the layout and all descendants of a widget."""
    own = [*getattr(part, "children", ()), getattr(part, "style", None), getattr(part, "layout", None)]
    children = [widget for widget in own if isinstance(widget, widgets.Widget)]
    return [*children, *(inner for child in children for inner in _inner_widgets(child))]
