"""The commands `disk`, `prune` and `delete`: show the disk usage of the home folder, and remove files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from comflowy_nb.errors import counted
from comflowy_nb.images.disk_usage import DISK_PARTS, measure_disk, size_text
from comflowy_nb.notebook.display.html import join, paragraph, table
from comflowy_nb.notebook.display.status_line import day

if TYPE_CHECKING:
    from comflowy_nb.client import Client
    from comflowy_nb.images.delete import Deleted
    from comflowy_nb.images.prune import Pruned
    from comflowy_nb.library import Library
    from comflowy_nb.notebook.magic_line.request import Request
    from comflowy_nb.notebook.session import Session


_ALWAYS_SHOWN = {"originals", "thumbnails", "other outputs", "sandbox", "history"}
_MAX_LISTED_WORKFLOWS = 5
_MAX_LISTED_REFS = 8


def disk(session: Session, request: Request) -> None:
    """Show the files by kind, the largest workflows, and the size of the originals that a prune would remove."""
    del request
    usage = session.library.disk()
    rows = [
        (part, f"{used.files:,}", size_text(used.size_bytes), DISK_PARTS[part])
        for part, used in usage.parts.items()
        if used.files or part in _ALWAYS_SHOWN
    ]
    rows.append(("total", f"{usage.total.files:,}", size_text(usage.total.size_bytes), ""))
    parts = [table(("part", "files", "size", "content"), rows)]
    largest = list(usage.workflows.items())
    if largest:
        shown = [
            (name, f"{used.files:,}", size_text(used.size_bytes)) for name, used in largest[:_MAX_LISTED_WORKFLOWS]
        ]
        parts.append(table(("workflow", "files", "size"), shown))
    lines = []
    if len(largest) > _MAX_LISTED_WORKFLOWS:
        lines.append(f"and {len(largest) - _MAX_LISTED_WORKFLOWS} more workflows")
    if usage.unknown.files:
        lines.append(
            f"{_files(usage.unknown.files)} ({size_text(usage.unknown.size_bytes)}) of runs that are unknown here"
        )
    count, size_bytes = usage.prunable
    freed = f"{size_text(size_bytes)}: {_originals(count)}" if count else "nothing"
    lines.append(f"%comflowy prune --older 30d would free {freed}")
    session.say(join(*parts, paragraph(*lines)))


def disk_line(library: Library) -> str:
    """Return one line about the disk usage, for `%comflowy` without a command."""
    usage = measure_disk(library.home, library.history.cleanup, by_workflow=False)
    total, originals = usage.total, usage.parts["originals"]
    return f"on disk: {size_text(total.size_bytes)}, of it {_originals(originals.files)}: %comflowy disk"


def prune(session: Session, request: Request) -> None:
    """Show the number of originals that are old enough, ask for confirmation, and remove them."""
    options = request.options
    if "older" not in options:
        raise UsageError(f"prune needs an age: %comflowy {request.command.usage}, such as --older 60d")
    age = _age_text(options["older"])
    count = 0

    def confirm(planned: Pruned) -> bool:
        nonlocal count
        count = planned.images.files
        session.say(paragraph(*_plan_of_prune(planned)))
        command = f"%comflowy prune --older {age}{' --all' if 'all' in options else ''} --yes"
        return _is_confirmed(session, request, f"Remove {_originals(count)}?", command)

    result = _client_or_library(session).prune(
        options["older"], all="all" in options, dry_run="dry-run" in options, confirm=confirm
    )
    if "dry-run" in options:
        session.say(paragraph(*_plan_of_prune(result), "nothing was removed (--dry-run)"))
    elif result.is_done:
        lines = _plan_of_prune(result)
        if count:
            lines = [f"{_originals(result.images.files)} removed, {size_text(result.images.size_bytes)} freed"]
        if count > result.images.files:
            left = _originals(count - result.images.files)
            lines.append(f"{left} left: changed meanwhile, without a thumbnail, or in use (the next prune removes it)")
        session.say(paragraph(*lines))
    else:
        session.say(paragraph("nothing was removed"))


def delete(session: Session, request: Request) -> None:
    """Show what will be deleted and which requests would run again, ask for confirmation, and delete."""
    refs = [request.ref(word) for word in request.words]

    def confirm(planned: Deleted) -> bool:
        session.say(paragraph(*_plan_of_delete(planned)))
        names = " ".join(ref if isinstance(ref, str) else ref.ref for ref in refs)
        return _is_confirmed(session, request, f"Delete {_deleted_text(planned)}?", f"%comflowy delete {names} --yes")

    is_dry = "dry-run" in request.options
    found = _client_or_library(session).delete(*refs, dry_run=is_dry, confirm=confirm)
    is_empty = not found.runs and not found.sweeps
    if is_dry:
        lines = _kept_lines(found) if is_empty else _plan_of_delete(found)
        session.say(paragraph(*lines, "nothing was deleted (--dry-run)"))
    elif found.is_done:
        session.forget_sweeps()
        session.say(paragraph(f"{_deleted_text(found)} deleted, {size_text(found.files.size_bytes)} freed"))
    else:
        # Before the question, `confirm` has shown the plan with the kept runs.
        session.say(paragraph("nothing was deleted", *(_kept_lines(found) if is_empty else [])))


def _client_or_library(session: Session) -> Client | Library:
    """Return the client, which also updates its Run objects, or the library if no service is connected."""
    return session.client if session.client is not None else session.library


def _is_confirmed(session: Session, request: Request, question: str, command: str) -> bool:
    """Ask for confirmation, unless `--yes` was typed. Raise a UsageError if the user can't answer."""
    if "yes" in request.options:
        return True
    if not session.can_answer:
        done = "deleted" if request.command.name == "delete" else "removed"
        raise UsageError(
            f"{request.command.name} can't ask for confirmation here, so nothing was {done}. To confirm: {command}"
        )
    return session.ask_confirmation(question)


def _plan_of_prune(planned: Pruned) -> list[str]:
    count, size_bytes = planned.images
    if not count:
        return ["nothing to prune", *_protected_lines(planned)]
    assert planned.oldest is not None
    assert planned.newest is not None
    first, last = day(planned.oldest), day(planned.newest)
    when = f"{'at' if ':' in first else 'on'} {first}" if first == last else f"from {first} to {last}"
    runs = counted(len(planned.runs), "run")
    return [
        f"{_originals(count)} of {runs} that ended {when}: {size_text(size_bytes)}",
        *_protected_lines(planned),
        "The history and the thumbnails stay: the same request still submits nothing.",
    ]


def _protected_lines(planned: Pruned) -> list[str]:
    """Return a line about the originals that are kept because they are named, rated, noted or inputs."""
    count = planned.protected
    if not count:
        return []
    if count == 1:
        why = "it has a name, a rating or a note, or is an input of another run"
        return [f"1 original as old stays, because {why}; --all removes it too"]
    why = "they have a name, a rating or a note, or are inputs of other runs"
    return [f"{_originals(count)} as old stay, because {why}; --all removes them too"]


def _plan_of_delete(planned: Deleted) -> list[str]:
    lines = [
        f"{_deleted_text(planned)}: {_files(planned.files.files)}, {size_text(planned.files.size_bytes)}",
        *_kept_lines(planned),
    ]
    if planned.repeats:
        request = "The same request" if planned.repeats == 1 else "The same requests"
        lines.append(f"{request} would then be submitted again{' and cost again' * planned.costs_money}.")
    return lines


def _kept_lines(planned: Deleted) -> list[str]:
    """Return a line for each run that is not deleted."""
    lines = [f"{ref} stays: {why}" for ref, why in list(planned.kept.items())[:_MAX_LISTED_REFS]]
    more = len(planned.kept) - len(lines)
    return [*lines, *([f"and {more} more stay"] if more > 0 else [])]


def _deleted_text(found: Deleted) -> str:
    """Return the references of the deleted runs and sweeps: `s3 with 12 runs`, `r41`."""
    if found.sweeps and found.runs:
        return f"{', '.join(found.sweeps)} with {counted(len(found.runs), 'run')}"
    refs = [*found.sweeps, *found.runs]
    more = f" and {len(refs) - _MAX_LISTED_REFS} more" if len(refs) > _MAX_LISTED_REFS else ""
    return f"{', '.join(refs[:_MAX_LISTED_REFS])}{more}"


def _originals(count: int) -> str:
    return f"{count:,} original{'s' * (count != 1)}"


def _files(count: int) -> str:
    return f"{count:,} file{'s' * (count != 1)}"


def _age_text(seconds: float) -> str:
    """Format a duration so that it can be typed: `60d`, `12h`, `90`."""
    for unit, unit_s in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % unit_s == 0:
            return f"{seconds / unit_s:g}{unit}"
    return f"{seconds:g}"
