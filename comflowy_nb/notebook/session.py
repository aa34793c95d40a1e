"""The state of the extension in one kernel: the connected client, and the values displayed by the current execution."""

from __future__ import annotations

import sys
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import SettingsError
from comflowy_nb.notebook.display.front_end import has_displays, is_stdin_allowed, is_voila
from comflowy_nb.notebook.display.live import DisplaySlot, LiveUpdater, capturing_outputs, message_id, say
from comflowy_nb.services.credentials import ask_key
from comflowy_nb.services.targets import parse_target, read_names
from comflowy_nb.settings import default_target, home

if TYPE_CHECKING:
    from collections.abc import Mapping

    from IPython.core.interactiveshell import InteractiveShell

    from comflowy_nb.client import Client
    from comflowy_nb.database.records import SweepRecord
    from comflowy_nb.library import Found, Library
    from comflowy_nb.notebook.display.views import RunView, SweepView
    from comflowy_nb.notebook.explore.widget import Explorer
    from comflowy_nb.notebook.form.form import Form
    from comflowy_nb.settings import Secret
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.workflow.catalogue import Catalogue


class Session:
    """The state of the extension in one kernel."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell
        self.client: Client | None = None
        self.target: str | None = None  # as typed in `connect`
        self.webhooks: str | None = None  # value of `--webhooks`, as typed in `connect`
        self.updater = LiveUpdater()  # updates the views after their cells have ended
        self._earlier_clients: list[Client] = []  # clients that still have unsettled runs
        self._drawn: dict[tuple[Any, ...], set[object]] = {}  # capturing Outputs -> tokens of the values drawn in them
        self._drawn_for: str | None = None  # the parent message of the displays in `_drawn`
        self.converted: set[tuple[str, ...]] = set()  # messages about conversions that were already shown
        self._sweeps: weakref.WeakValueDictionary[str, Sweep] = weakref.WeakValueDictionary()  # shown here, by token
        self.explorers: weakref.WeakSet[Explorer] = weakref.WeakSet()  # open in this kernel

    def mark_drawn(self, value: object) -> bool:
        """Record that this execution or widget callback has drawn a value. Return True the first time.

        Runs, their images and recorded sweeps are identified by token, other values by identity.
        """
        message = message_id()
        if message != self._drawn_for:
            self._drawn.clear()
            self._drawn_for = message
        drawn = self._drawn.setdefault(capturing_outputs(), set())
        token = getattr(value, "token", None) or id(value)
        is_first = token not in drawn
        drawn.add(token)
        return is_first

    @property
    def in_kernel(self) -> bool:
        """Whether the shell is in a Jupyter kernel with displays; False in a terminal or a script."""
        return has_displays()

    @property
    def can_answer(self) -> bool:
        """Whether the user can answer questions. False under nbclient and papermill, and if stdin is closed."""
        if getattr(self.shell, "kernel", None) is not None:
            return is_stdin_allowed()
        return sys.stdin is not None and sys.stdin.isatty()

    # -- the service --------------------------------------------------------------------------------------------

    def connected(self) -> Client:
        """Return the connected client; connect to `COMFLOWY_TARGET` if there is none.

        Raises
        ------
        SettingsError
            If no service is connected and no target is set. The message shows how to connect.
        """
        return self.client if self.client is not None else self.connect(None)

    def present_client(self) -> Client:
        """Return the connected client without connecting.

        Raises
        ------
        SettingsError
            If nothing is connected.
        """
        if self.client is None:
            raise SettingsError("nothing is connected, so nothing can be submitted: %comflowy connect sandbox")
        return self.client

    def connect(
        self,
        target: str | None,
        *,
        key: Secret | None = None,
        name_address: bool = False,
        webhooks: str | None = None,
    ) -> Client:
        """Connect to a target. The runs of the earlier client continue, and are updated until they are settled."""
        if "comflowy_nb.client" not in sys.modules and _is_sandbox(target):
            # The process of the sandbox starts while this one imports the client.
            from comflowy_nb.services.comflowy.sandbox_process import start_sandbox_early  # noqa: PLC0415 - not at load

            start_sandbox_early(home())
        from comflowy_nb.client import connect  # noqa: PLC0415 - loads the HTTP stack

        ask = ask_key if self.can_answer else None
        client = connect(target, key=key, ask_key=ask, name_address=name_address, webhooks=webhooks)
        if self.client is not None:
            self._earlier_clients.append(self.client)
        self.client, self.target, self.webhooks = client, target, webhooks
        for earlier in [client for client in self._earlier_clients if not client.live()]:
            self._earlier_clients.remove(earlier)
            earlier.close()
        return client

    def disconnect(self) -> None:
        """Close the clients. Their runs continue at the service, and the next client resumes them."""
        clients = [*self._earlier_clients, self.client]
        self._earlier_clients, self.client = [], None
        for client in clients:
            if client is not None:
                client.close()

    def ask_confirmation(self, question: str) -> bool:
        """Ask a question. Return True if the user answers yes. Requires `can_answer`."""
        try:
            answer = input(f"{question} [y/N] ")
        except (EOFError, NotImplementedError):
            return False
        return answer.strip().casefold() in {"y", "yes"}

    # -- the history --------------------------------------------------------------------------------------------

    @property
    def library(self) -> Library:
        if self.client is not None:
            return self.client.library
        from comflowy_nb.library import open_library  # noqa: PLC0415 - opens the history

        return open_library()

    @property
    def catalogue(self) -> Catalogue:
        from comflowy_nb.workflow.catalogue import Catalogue  # noqa: PLC0415 - loads YAML

        return Catalogue.open(Path.cwd(), home())

    def find(self, ref: Any) -> Found:
        """Find the run or sweep of a reference, which may also be a Run, RunImage, SweepCell or Sweep.

        Raises
        ------
        RefError
            If the reference names neither a run nor a sweep.
        """
        from comflowy_nb.library import Found  # noqa: PLC0415
        from comflowy_nb.sweeps.sweep import Sweep, SweepCell  # noqa: PLC0415
        from comflowy_nb.tracking.run import Run, RunImage  # noqa: PLC0415

        if isinstance(ref, Sweep) and ref.record is not None:
            return Found(ref.record)
        text = ref.ref if isinstance(ref, Run | RunImage | SweepCell) else str(ref)
        target = self.client.find(text) if self.client is not None else self.library.find(text)
        return Found(ref) if isinstance(ref, Run) and target.run.status is ref.status else target

    def sweep(self, record: SweepRecord) -> Sweep:
        """Return the sweep of a record: the object that this kernel submits or tracks, else a new object."""
        sweep = self._sweeps.get(record.token)
        if sweep is not None and (not sweep.is_settled or all(cell.run is not None for cell in sweep.cells)):
            return sweep
        return self.client.connection.reopen(record) if self.client is not None else self.library.sweep(record)

    def keep_sweep(self, sweep: Sweep) -> None:
        """Return this object from `sweep` while it is referenced elsewhere."""
        if sweep.token is not None:
            self._sweeps[sweep.token] = sweep

    def forget_sweeps(self) -> None:
        """Drop the settled sweeps after a delete, so that `sweep` reads them from the history again."""
        for sweep in [sweep for sweep in self._sweeps.values() if sweep.is_settled]:
            self._sweeps.pop(sweep.token or "", None)

    # -- drawing ------------------------------------------------------------------------------------------------

    def view(self, run: Run, **options: Any) -> RunView:
        """Show a run in the current cell, and record that it is drawn."""
        from comflowy_nb.notebook.display.views import RunView  # noqa: PLC0415 - not needed before something is drawn

        self.mark_drawn(run)
        return RunView(run, in_kernel=self.in_kernel, **options)

    def sweep_view(self, sweep: Sweep, **options: Any) -> SweepView:
        """Show a sweep in the current cell, and record that it is drawn."""
        from comflowy_nb.notebook.display.views import SweepView  # noqa: PLC0415 - as above

        self.mark_drawn(sweep)
        self.keep_sweep(sweep)
        return SweepView(sweep, in_kernel=self.in_kernel, **options)

    def show_form(self, form: Form) -> None:
        """Show a form in the current cell. Displays below it show its images, also in the saved notebook."""
        self.mark_drawn(form)
        if not self.in_kernel:
            print(repr(form))  # noqa: T201 - a terminal has no widgets
            return
        self.say(*form.bundle())
        if not capturing_outputs() and not is_voila():  # displays there can't be updated
            form.show_on(DisplaySlot(), DisplaySlot())

    def show_explorer(self, explorer: Explorer) -> None:
        """Show an explorer in the current cell."""
        if self.in_kernel:
            self.say(*explorer.bundle())
        else:
            print(explorer.text)  # noqa: T201 - a terminal has no widgets

    def say(self, data: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
        """Display a bundle. In a terminal, print its text."""
        say(data, metadata)

    def begin_execution(self) -> None:
        """Clear the record of values that earlier cells have displayed."""
        self._drawn.clear()

    def end_execution(self) -> None:
        """Update the ratings in open explorers, because this cell may have changed them."""
        for explorer in list(self.explorers):
            explorer.reread()

    def close(self) -> None:
        """Stop the display thread, and disconnect."""
        self.updater.close()
        with suppress(OSError):  # writing to the history fails on a full disk
            self.disconnect()


def _is_sandbox(target: str | None) -> bool:
    """Return whether a target is the sandbox. An invalid target is not; `connect` reports the error."""
    with suppress(SettingsError):
        return parse_target(target or default_target() or "", read_names(home())).keyword == "sandbox"
    return False
