"""Client: one service, the history and the tracker. What the magic and a script both use."""

from __future__ import annotations

import threading
import uuid
import weakref
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from comflowy_nb.errors import RefError, WorkflowError
from comflowy_nb.runs.claims import Intent
from comflowy_nb.runs.ends import error_of
from comflowy_nb.runs.library import Found, open_library
from comflowy_nb.runs.owners import Owner
from comflowy_nb.runs.run import Run
from comflowy_nb.runs.tracker import Tracker
from comflowy_nb.services.base import Status, Submission
from comflowy_nb.services.connecting import open_service
from comflowy_nb.services.webhooks import Receiver
from comflowy_nb.settings import settings
from comflowy_nb.workflow.canonical import request_key
from comflowy_nb.workflow.finding import Finder
from comflowy_nb.workflow.pictures import PictureInput, open_picture
from comflowy_nb.workflow.values import Setting, resolve, settings_from_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from comflowy_nb.runs.claims import Retry
    from comflowy_nb.runs.library import Library
    from comflowy_nb.runs.run import PictureRecord, RunRecord
    from comflowy_nb.services.base import Event, Service
    from comflowy_nb.settings import Secret
    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["Client", "Submitted", "connect"]

T = TypeVar("T")
How = Literal["new", "same", "joined", "ended"]


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a request.

    `how` is `new` (it is sent), `same` (a success that was there), `joined` (it runs already) or `ended` (it failed
    before and was not to be tried again).
    """

    run: Run
    how: How
    drawn: Mapping[str, int]  # field id -> seed drawn for it


def connect(
    target: str | None = None,
    *,
    key: str | Secret | None = None,
    name: str | None = None,
    ask_key: Callable[[str], Secret | None] | None = None,
) -> Client:
    """Connect to a service.

    Parameters
    ----------
    target
        `sandbox`, `cloud` or an address, with an optional `NAME=` before it; None takes `COMFLOWY_TARGET`.
    key
        The API key for this service alone; else it is looked for in the usual places: the sandbox's own file,
        `COMFLOWY_API_KEY`, the keyring.
    name
        The service's identity for the history; the same as `NAME=` in the target.
    ask_key
        Asked for a key, with the service's label, where none was found; None where nobody can answer.

    Raises
    ------
    SettingsError
        If the target or the name is none.
    AuthError
        If there is no key, or the service refuses it.
    ServiceError
        If the service can't be reached, or is none that can be used.
    """
    library = open_library()
    owner = Owner(library.home)  # held first: the sandbox ends when nobody holds one
    try:
        service = open_service(target, key=key, name=name, ask_key=ask_key, home=library.home)
        return Client(service, library, owner)
    except BaseException:
        owner.release()
        raise


class Client:
    """One connected service.

    Use `connect` to make one. `run` submits and waits, `submit` returns as soon as the intent is written.
    """

    def __init__(self, service: Service, library: Library, owner: Owner) -> None:
        self.service = service
        self.library = library
        self._owner = owner
        self._receiver: Receiver | None = None
        if settings.webhooks == "on" or settings.callback_url or (settings.webhooks == "auto" and service.on_loopback):
            self._receiver = Receiver(self._hear, public_url=settings.callback_url)
        self._tracker = Tracker(
            service,
            library.history,
            owner=owner.name,
            owners=library.home,
            pictures=library.folder,
            settings=settings,
            callback_urls=self._receiver.urls if self._receiver else None,
        )
        self._runs: weakref.WeakValueDictionary[str, Run] = weakref.WeakValueDictionary()
        self._runs_lock = threading.Lock()
        self._uploaded: dict[str, str] = {}  # sha256 -> the value to send
        self._finder = Finder(
            home=library.home,
            identity=service.identity,
            label=service.label,
            runs_graphs=service.runs_graphs,
            published=self._published,
            described=self._described,
        )
        self._taken_up = self._take_up()

    # -- what it is connected to --------------------------------------------------------------------------------

    @property
    def label(self) -> str:
        return self.service.label

    @property
    def identity(self) -> str:
        return self.service.identity

    @property
    def finder(self) -> Finder:
        """The workflows that can be named here."""
        return self._finder

    def workflow(self, ref: str) -> Workflow:
        """The workflow a person names: a file, a picture, the editor's address, a name, or the service's own id.

        Raises
        ------
        WorkflowError
            If there is none, or it can't run here.
        ServiceError
            If the service had to be asked and gave no usable answer.
        """
        return self._finder.find(ref)

    def usual_seconds(self, workflow: Workflow) -> float | None:
        """How long a run of this workflow usually takes here, in seconds; None while nothing is known."""
        return self._tracker.pace(_workflow_key(workflow)).usual_s

    # -- running ------------------------------------------------------------------------------------------------

    def run(
        self,
        ref: str | Workflow,
        params: Mapping[str, Any] | None = None,
        *,
        wait: bool = True,
        fresh: bool = False,
        retry: Retry = "failed",
        name: str | None = None,
        timeout: float | None = None,
        save: str | Path | None = None,
    ) -> Run:
        """Run a workflow, or take the success that is there for exactly this request.

        Parameters
        ----------
        params
            Field -> value; a field is `3::cfg`, a name that only one field has, or an alias.
        wait
            Whether to return only when the pictures are on disk.
        fresh
            Send it although there is a success.
        retry
            What an earlier end permits: `failed`, `unknown`, `all` or `none`.
        name
            A name for the history, as `--as` gives.
        timeout
            Longest wait in seconds.
        save
            A folder for copies of the pictures.

        Raises
        ------
        WorkflowError, FieldError
            Before anything is sent.
        RunFailed, RunCancelled, RunHeld, RunTimeout
            With the run as `.run`.
        """
        run = self.submit(ref, params or {}, fresh=fresh, retry=retry, name=name).run
        if wait:
            run.wait(timeout)
            error = error_of(run)
            if error is not None:
                raise error
            if save is not None:
                run.save(save)
        return run

    def submit(
        self,
        workflow: str | Workflow,
        params: Sequence[Setting] | Mapping[str, Any],
        *,
        namespace: Mapping[str, Any] | None = None,
        fresh: bool = False,
        retry: Retry = "failed",
        name: str | None = None,
        from_run: Run | None = None,
    ) -> Submitted:
        """Write the intent and send it, unless the same request is there already. Returns at once.

        Raises
        ------
        WorkflowError, FieldError, HistoryError
            Before anything is sent.
        RunHeld
            If an earlier submit of the same request may have been taken.
        """
        if isinstance(workflow, str):
            workflow = self.workflow(workflow)
        given = settings_from_mapping(params) if not isinstance(params, (list, tuple)) else params
        resolved = resolve(workflow, given, namespace=namespace, open_run=self._open_run)
        base = from_run.params if from_run is not None else {}
        values = {**base, **resolved.params}
        set_params = tuple(dict.fromkeys((*(from_run.record.set_params if from_run else ()), *resolved.set_params)))
        key = request_key(self.identity, workflow.content, values)
        sent = self._upload_pictures(values)
        intent = Intent(
            token=str(uuid.uuid4()),
            identity=self.identity,
            origin=self._origin,
            service=self.label,
            workflow=workflow.name,
            workflow_id=workflow.id,
            params=sent,
            key=key,
            owner=self._owner.name,
            set_params=set_params,
            name=name,
        )
        claim = self.library.history.claim(intent, fresh=fresh, retry=retry)
        run = self._known(claim.record)
        self.library.recent.append(run.token)
        if claim.kind == "held":
            error = error_of(run)
            assert error is not None
            raise error
        if claim.kind == "new":
            submission = Submission(token=run.token, workflow_id=workflow.id, params=sent)
            self._tracker.submit(run, submission, _workflow_key(workflow))
            return Submitted(run, "new", resolved.drawn)
        if name is not None:
            run.update(self.library.history.name(run.token, name))
        if claim.kind == "joined":
            self._watch_foreign(run)
            return Submitted(run, "joined", resolved.drawn)
        if claim.kind == "same":
            self.refresh(run)
            return Submitted(run, "same", resolved.drawn)
        return Submitted(run, "ended", resolved.drawn)

    def cancel(self, run: Run) -> None:
        """Ask the service for an end of the run. `run.status` becomes `cancelled` once the service confirmed it."""
        self._check_place(run)
        if run.status.is_live:
            self._tracker.cancel(run)

    def resume(self, *refs: str) -> list[Run]:
        """Follow runs again: the named ones, else all of this service that nobody follows or that are lost.

        Raises
        ------
        RefError
            If a reference names no run, or one of another service.
        """
        runs = [self._known(self.library.find(ref).run.record) for ref in refs] if refs else self._unfollowed()
        for run in runs:
            self._check_place(run)
        for run in runs:
            self._follow_again(run)
        return runs

    def refresh(self, run: Run) -> bool:
        """Bring a run up to date: watch one that another kernel follows, fetch pictures that are not on disk.

        Returns
        -------
        Whether pictures were wanting and are fetched now, through a fresh check.
        """
        record = run.record
        if record.origin != self._origin:
            return False
        if record.status.is_live:
            self._watch_foreign(run)
            return False
        wanting = [picture for picture in record.pictures if not self._is_on_disk(picture)]
        if record.status is not Status.SUCCESS or not wanting:
            return False
        with run.guard:
            for picture in wanting:
                owed = replace(picture, state="expected", error=None)
                run.update(self.library.history.set_picture(run.token, owed))
        self._tracker.follow(run, _record_key(record))
        return True

    # -- looking ------------------------------------------------------------------------------------------------

    def runs(self, text: str | None = None, **filters: Any) -> list[Run]:
        """Earlier runs, newest first; the filters are those of `Library.runs`."""
        return [self._known(run.record) for run in self.library.runs(text, **filters)]

    def find(self, ref: str) -> Found:
        """What a reference names, with the live run where this client follows it."""
        found = self.library.find(ref)
        run = self._known(found.run.record)
        if found.image is None:
            return Found(run)
        index = found.image.record.index
        return Found(run, next(image for image in run.images if image.record.index == index))

    def live(self) -> list[Run]:
        """The runs this client follows now."""
        return self._tracker.live()

    def news(self) -> list[Run]:
        """The runs of earlier kernels that this client took up and that have ended since; each is told once."""
        ended = [run for run in self._taken_up if run.record.is_settled]
        self._taken_up = [run for run in self._taken_up if run not in ended]
        return ended

    def close(self) -> None:
        """Stop following and listening. Runs go on at the service; the next client takes them up."""
        self._tracker.close()
        if self._receiver is not None:
            self._receiver.close()
        self.service.close()
        self._owner.release()

    # -- for its runs (`run.Follower`) --------------------------------------------------------------------------

    def save(self, run: Run, folder: Path) -> list[Path]:
        return self.library.save(run, folder)

    def picture_path(self, picture: PictureRecord) -> Path:
        return self.library.picture_path(picture)

    # -- within -------------------------------------------------------------------------------------------------

    @property
    def _origin(self) -> str:
        """Where a run is asked about. The sandbox of a home folder is one place, whatever port it has today."""
        return "sandbox" if self.service.kind == "sandbox" else self.service.origin

    def _known(self, record: RunRecord) -> Run:
        with self._runs_lock:
            run = self._runs.get(record.token)
            if run is None:
                run = self._runs[record.token] = Run(record, self)
            elif run.record.status is not record.status and not run.status.is_live:
                run.update(record)
            return run

    def _hear(self, event: Event) -> None:
        self._tracker.hear(event)

    def _published(self) -> Mapping[str, str] | None:
        listed = self._wait_for(self.service.workflows)
        return None if listed is None else {workflow.id: workflow.name for workflow in listed}

    def _described(self, workflow_id: str) -> Mapping[str, Field] | None:
        return self._wait_for(lambda: self.service.fields(workflow_id))

    def _wait_for(self, function: Callable[[], T]) -> T:
        return self._tracker.call(function).result()

    def _open_run(self, ref: str) -> PictureInput:
        found = self.library.find(ref)
        image = found.image if found.image is not None else found.run.images[0]
        return open_picture(image.path, name=image.path.name)

    def _upload_pictures(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values as sent: an input picture is handed over once and stands for what the service calls it."""
        sent = dict(values)
        for field, value in values.items():
            if not isinstance(value, PictureInput):
                continue
            known = self._uploaded.get(value.content_sha256)
            if known is None:
                known = self._wait_for(partial(self._upload, value))
                if known is None:
                    raise WorkflowError(f"{self.label} takes no uploads: give {field} the https address of a picture")
                self._uploaded[value.content_sha256] = known
            sent[field] = known
        return sent

    def _upload(self, picture: PictureInput) -> str | None:
        return self.service.upload(picture.name, picture.load())

    def _check_place(self, run: Run) -> None:
        if run.record.origin != self._origin:
            raise RefError(
                f"{run.ref} was sent to {run.record.service}, and {self.label} knows nothing of it; "
                f"connect to {run.record.service} first"
            )

    def _is_on_disk(self, picture: PictureRecord) -> bool:
        return picture.state == "kept" and self.library.picture_path(picture).is_file()

    def _watch_foreign(self, run: Run) -> None:
        if run.record.owner != self._owner.name:
            self._tracker.watch(run, _record_key(run.record))

    def _take_up(self) -> list[Run]:
        """Follow what dead kernels left with this service."""
        runs = []
        for record in self.library.history.orphans(self.identity):
            if record.origin != self._origin:
                continue
            taken = self.library.history.take_over(record.token, self._owner.name)
            if taken is not None and taken.service_run_id is not None:
                run = self._known(taken)
                runs.append(run)
                self._tracker.follow(run, _record_key(taken))
        return runs

    def _unfollowed(self) -> list[Run]:
        lost = [self._known(run.record) for run in self.library.runs(status=Status.LOST, limit=1000)]
        return [*self._take_up(), *(run for run in lost if run.record.origin == self._origin)]

    def _follow_again(self, run: Run) -> None:
        if run.status is Status.SUCCESS:
            self.refresh(run)
        elif run.status.is_live and run.record.owner != self._owner.name:
            taken = self.library.history.take_over(run.token, self._owner.name)
            if taken is None:
                self._watch_foreign(run)
                return
            run.update(taken)
            self._tracker.follow(run, _record_key(taken))
        elif run.record.service_run_id is not None and not run.status.is_final:
            self._tracker.follow(run, _record_key(run.record))

    def __repr__(self) -> str:
        return f"<Client {self.label}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _workflow_key(workflow: Workflow) -> str:
    """What the time a run takes is remembered under."""
    return workflow.id or workflow.name


def _record_key(record: RunRecord) -> str:
    return record.workflow_id or record.workflow
