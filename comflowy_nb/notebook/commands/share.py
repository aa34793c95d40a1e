"""`%comflowy save` and `%comflowy load`: write files to share, and read shared files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.images.save_target import kind_of_target
from comflowy_nb.notebook.display.html import paragraph
from comflowy_nb.settings import expand_home
from comflowy_nb.workflow.syntax.json_values import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from comflowy_nb.archive.loader import Loaded
    from comflowy_nb.notebook.magic_line.request import Request
    from comflowy_nb.notebook.session import Session


_MAX_NAMED_FILES = 4
_MAX_LISTED_REFS = 6


def save(session: Session, request: Request) -> None:
    """Print the contents and the size of the files, and write them."""
    from comflowy_nb.sharing.save import find_all, options_of, plan_save  # noqa: PLC0415 - loads Pillow

    *refs, word = request.words
    typed = request.text(word)
    found = [item for ref in refs for item in find_all(request.ref(ref), session.find)]
    where = {word.key or "": word.value or "" for word in request.fields}
    options = options_of(**request.arguments("without", "full", "along", "duration"), where=where)
    target = expand_home(typed)
    plan = plan_save(session.library, found, target, options)
    if plan.lines:
        session.say(paragraph(*plan.lines))
    paths = plan.write()
    session.say(paragraph(*saved_lines(paths, target, typed), *plan.notes()))


def saved_lines(paths: Sequence[Path], target: Path, typed: str) -> list[str]:
    """Return the names of written files, without their folders: a path may contain a user's name."""
    names = [path.name for path in paths]
    shown = ", ".join(names)
    if len(names) > _MAX_NAMED_FILES:
        shown = f"{', '.join(names[: _MAX_NAMED_FILES - 1])} ... {names[-1]}"
    if kind_of_target(target) != "folder":
        return [f"saved: {shown}"]
    count = f"{len(names)} files: " if len(names) > _MAX_NAMED_FILES else ""
    return [f"saved in {target.name or typed}: {count}{shown}"]


def save_to(session: Session, target: str, save: Callable[[Path], list[Path]]) -> None:
    """Save copies to the target of `--save`, and show only the names of the files."""
    path = expand_home(target)
    session.say(paragraph(*saved_lines(save(path), path, target)))


def load(session: Session, request: Request) -> Loaded:
    """Load an archive or a file of ratings into the history, and print its new references."""
    loaded = session.library.load(request.text(request.words[0]), **request.arguments("by"))
    session.mark_drawn(loaded)
    session.say(paragraph(*_loaded_lines(loaded)))
    return loaded


def _loaded_lines(loaded: Loaded) -> list[str]:
    parts = [*loaded.sweeps]
    if loaded.runs:
        parts.append(_count(len(loaded.runs), "run") if loaded.sweeps else listed(loaded.runs, _MAX_LISTED_REFS))
    if loaded.images:
        parts.append(_count(loaded.images, "image"))
    if loaded.ratings:
        parts.append(f"{_count(loaded.ratings, 'rating')} by {loaded.source}")
    lines = [f"loaded from {loaded.file}: {', '.join(parts)}" if parts else f"nothing new in {loaded.file}"]
    if loaded.known:
        lines.append(f"already in the history: {listed(loaded.known, _MAX_LISTED_REFS)}")
    if loaded.unknown_images:
        verb = "is" if loaded.unknown_images == 1 else "are"
        lines.append(f"{_count(loaded.unknown_images, 'image')} of the file {verb} not in the history")
    lines += [f"the name {old} is in use here, so {old} is renamed {new}" for old, new in loaded.renamed.items()]
    first = next(iter((*loaded.sweeps, *loaded.runs)), None)
    if first is not None:
        lines.append(f"to show it: %comflowy show {first}")
    return lines


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
