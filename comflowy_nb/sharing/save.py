"""Plan a save: choose the format by the target's suffix, and describe the contents before writing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from comflowy_nb.archive.redaction import parse_parts, strips_metadata
from comflowy_nb.archive.writer import Archive, contents_of
from comflowy_nb.errors import ImageError, RefError, SettingsError
from comflowy_nb.images.disk_usage import size_text
from comflowy_nb.images.save_target import ANIMATIONS, check_sweep_target, kind_of_target, write_new, writing_to
from comflowy_nb.library import Found, open_library
from comflowy_nb.sharing.collected import SavedContent
from comflowy_nb.sweeps.sweep import Sweep, SweepCell
from comflowy_nb.tracking.run import Run, RunImage
from comflowy_nb.workflow.syntax.json_values import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from comflowy_nb.database.records import ImageRecord, RunRecord, SweepRecord
    from comflowy_nb.library import Library


FRAME_S = 0.5
_MAX_TITLES = 6


@dataclass(frozen=True, slots=True)
class SaveOptions:
    """The options of a save.

    Attributes
    ----------
    without
        The parts that are left out; see `redaction.PARTS`.
    full
        In a page, embed the images in full size.
    along, frame_s, where
        For an animation: the axis, the duration of a frame in seconds, and axis name -> value for other axes.
    """

    without: frozenset[str] = frozenset()
    full: bool = False
    along: str | None = None
    frame_s: float | None = None
    where: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _SaveRequest:
    """The arguments of a save: runs (each with one image, or None for all), sweeps, the target and the options."""

    library: Library
    runs: tuple[tuple[RunRecord, ImageRecord | None], ...]
    sweeps: tuple[SweepRecord, ...]
    target: Path
    options: SaveOptions

    def content(self) -> SavedContent:
        """Return the sweeps and runs without the parts to leave out. Raise an ImageError if they have no images."""
        content = SavedContent(self.library.history, self.library.home, self.runs, self.sweeps, self.options.without)
        if not any(run.record.images for run in content.all_runs):
            refs = ", ".join([*(sweep.ref for sweep in self.sweeps), *(run.ref for run, _ in self.runs)])
            raise ImageError(f"there are no images of {refs} to save")
        return content


@dataclass(slots=True)
class SavePlan:
    """A planned save: its description for the user, the function that writes it, and notes for after the write."""

    lines: list[str]
    write: Callable[[], list[Path]]
    notes: Callable[[], list[str]] = list


def options_of(
    without: str | Iterable[str] = (),
    *,
    full: bool = False,
    along: str | None = None,
    duration: float | None = None,
    where: Mapping[str, Any] | None = None,
) -> SaveOptions:
    """Return the checked options of `comflowy_nb.save`."""
    values = {name: value if isinstance(value, str) else f"{value}" for name, value in (where or {}).items()}
    return SaveOptions(parse_parts(without), full, along, duration, values)


def save_sweep_to(sweep: Sweep, images_folder: Path, target: Path, **options: Any) -> list[Path]:
    """Save a sweep; see `Sweep.save`."""
    chosen = options_of(**options)
    if kind_of_target(target) == "folder" and chosen == SaveOptions():
        from comflowy_nb.sweeps.save import save_sweep  # noqa: PLC0415 - loads matplotlib

        return save_sweep(sweep, images_folder, target)
    if chosen.along is None:
        check_sweep_target(target)
    if sweep.record is None:
        raise ImageError(f"{sweep.ref} has no images to save, because it is only a plan: client.sweep runs it")
    library = open_library(images_folder.parent)
    return plan_save(library, [Found(sweep.record)], target, chosen).write()


def find_all(what: Any, find: Callable[[str], Found]) -> list[Found]:
    """Find the runs, images and sweeps that references, objects or lists of them name.

    Raises
    ------
    RefError
        If an item is another object, or a reference does not exist.
    """
    if isinstance(what, list | tuple):
        return [found for item in what for found in find_all(item, find)]
    if isinstance(what, str):
        return [find(what)]
    if isinstance(what, Found):
        return [what]
    if isinstance(what, Sweep) and what.record is not None:
        return [Found(what.record)]
    if isinstance(what, SweepCell) and what.run is not None:
        return [Found(what.run)]
    if isinstance(what, RunImage):
        return [Found(what.run, what)]
    if isinstance(what, Run):
        return [Found(what)]
    raise RefError(f"{shown(what)} can't be saved: use a run, an image of a run, a sweep, or a reference such as s1")


def save_run_to(library: Library, run: Run, target: Path) -> list[Path]:
    """Save a run; see `Client.run`."""
    return plan_save(library, [Found(run)], target, SaveOptions()).write()


def plan_save(library: Library, found: Sequence[Found], target: Path, options: SaveOptions) -> SavePlan:
    """Plan a save of runs, images of runs and sweeps.

    Raises
    ------
    SettingsError
        If the target does not fit the runs and sweeps, or an option does not fit the target.
    ImageError
        If there are no images.
    """
    runs = tuple((item.run.record, item.image.record if item.image else None) for item in found if item.sweep is None)
    sweeps = tuple(item.sweep for item in found if item.sweep is not None)
    request = _SaveRequest(library, runs, sweeps, target, options)
    kind, suffix = kind_of_target(target), target.suffix.lower()
    _check_options(options, kind, suffix, target.name)
    if options.along is not None:
        return _plan_animation(request)
    if kind == "zip":
        archive = Archive(library.history, library.home, runs, sweeps, options.without)
        return SavePlan(archive.lines(target.name), lambda: [archive.write(target)], archive.notes)
    if kind == "page":
        return _plan_page(request)
    if kind == "pdf" or (suffix == ".png" and kind == "image" and (sweeps or len(runs) > 1)):
        return _plan_figure(request)
    if sweeps:
        check_sweep_target(target)
    return _plan_copies(request)


def _check_options(options: SaveOptions, kind: str, suffix: str, name: str) -> None:
    if options.full and kind != "page":
        raise SettingsError(f"--full is for a page (NAME.html), not for {name}")
    if options.along is None and (options.frame_s is not None or options.where):
        raise SettingsError("--duration and FIELD=VALUE are for an animation: save s1 cfg.gif --along cfg")
    if options.along is not None and (suffix not in ANIMATIONS or kind != "image"):
        raise SettingsError(f"--along is for an animation (NAME.gif or NAME.webp), not for {name}")


# -- figures and animations -------------------------------------------------------------------------------------------


def _plan_figure(request: _SaveRequest) -> SavePlan:
    from comflowy_nb.painting.files import encode_pdf, encode_png  # noqa: PLC0415 - loads matplotlib
    from comflowy_nb.sharing.figure import figure_pages  # noqa: PLC0415 - as above

    target, options = request.target, request.options
    if request.sweeps and (request.runs or len(request.sweeps) > 1):
        raise SettingsError(f"{target.name} is the grid of one sweep, or of runs: name one sweep, or only runs")
    saved = request.content()
    title = _title(saved)
    sweep = saved.sweeps[0] if saved.sweeps else None
    pages = figure_pages(sweep, saved.runs, reads_graphs=not strips_metadata(options.without))
    if target.suffix.lower() == ".pdf":
        contents = [encode_pdf(pages, title)]
    else:
        contents = [encode_png(page, title) for page in pages]
    size_bytes = sum(map(len, contents))
    count = f" on {len(contents)} pages" if len(contents) > 1 else ""

    def write() -> list[Path]:
        paths = [target, *(target.with_stem(f"{target.stem}_{number}") for number in range(2, len(contents) + 1))]
        with writing_to(target.parent, f"{target.name} can't be written"):
            return [write_new(path, content) for path, content in zip(paths, contents, strict=True)]

    return SavePlan(_lines(saved, request, f"the grid of {{}}{count}", size_bytes), write)


def _plan_animation(request: _SaveRequest) -> SavePlan:
    from comflowy_nb.sharing.animation import check_frame_s, choose_frames, encode_animation  # noqa: PLC0415 - matplotlib

    target, options = request.target, request.options
    if request.runs or len(request.sweeps) != 1:
        raise SettingsError(f"an animation shows one sweep: save s1 {target.name} --along cfg")
    frame_s = FRAME_S if options.frame_s is None else options.frame_s
    check_frame_s(frame_s)
    saved = request.content()
    (sweep,) = saved.sweeps
    axis, frames, missing = choose_frames(sweep, options.along or "", options.where)
    content = encode_animation(sweep, axis, frames, suffix=target.suffix.lower()[1:], frame_s=frame_s)
    fixed = ", ".join(f"{name} {label}" for name, label in frames[0][0].labels.items() if name != axis.name)
    what = f"{len(frames)} frames along {axis.name}{f' at {fixed}' if fixed else ''}, {frame_s:g} s each"
    lines = _lines(saved, request, what, len(content))
    if missing:
        lines.append(f"without an image, so left out: {', '.join(missing)}")

    def write() -> list[Path]:
        with writing_to(target.parent, f"{target.name} can't be written"):
            return [write_new(target, content)]

    return SavePlan(lines, write)


def _title(saved: SavedContent) -> str:
    records = [*(sweep.record for sweep in saved.sweeps), *(run.record for run in saved.runs)]
    names = [" ".join(filter(None, (record.ref, record.name))) for record in records if record is not None]
    return ", ".join(names[:_MAX_TITLES])


def _lines(saved: SavedContent, request: _SaveRequest, what: str, size_bytes: int | None = None) -> list[str]:
    """Return lines for the user: the contents, the size, and the omitted parts. `what` has `{}` for the contents."""
    contents = contents_of(saved.collected)
    size = f", {size_text(size_bytes)}" if size_bytes is not None else ""
    lines = [f"{request.target.name}: {what.replace('{}', contents.what)}{size}"]
    if request.options.without:
        lines.append(contents.parts_text(request.options.without))
    return lines


# -- copies -----------------------------------------------------------------------------------------------------------


def _plan_copies(request: _SaveRequest) -> SavePlan:
    """Plan copies in a folder, or a copy of one image."""
    library, target, parts = request.library, request.target, request.options.without
    if kind_of_target(target) == "image" and len(request.runs) > 1:
        raise SettingsError(
            f"{target.name} can contain only one image: use a folder ({target.stem}) or {target.stem}.zip"
        )
    saved = request.content() if parts else None
    metadata_options: dict[str, bool] = {"strips": strips_metadata(parts), "adds_params": "metadata" not in parts}

    def write() -> list[Path]:
        from comflowy_nb.images.save import save_run  # noqa: PLC0415 - loads Pillow

        records = {} if saved is None else {run.token: run.record for run in saved.runs}
        paths = []
        for run, image in request.runs:
            paths += save_run(records.get(run.token, run), library.folder, target, only=image, **metadata_options)
        if request.sweeps:
            from comflowy_nb.sweeps.save import save_sweep  # noqa: PLC0415 - loads matplotlib

            for sweep in map(library.sweep, request.sweeps) if saved is None else saved.sweeps:
                paths += save_sweep(sweep, library.folder, target, **metadata_options)
        return paths

    return SavePlan([] if saved is None else _lines(saved, request, "{}"), write)


# -- pages ------------------------------------------------------------------------------------------------------------


def _plan_page(request: _SaveRequest) -> SavePlan:
    from comflowy_nb.sharing.save_page import SavedPage  # noqa: PLC0415 - loads the exploration

    options = request.options
    saved = request.content()
    page = SavedPage(saved, full=options.full, strips=strips_metadata(options.without))
    size = size_text(page.size_bytes)
    lines = _lines(saved, request, f"{{}} {page.how}, {size}")
    if not options.without:
        lines.append(contents_of(saved.collected).parts_text(frozenset()))
    if page.left_out:
        lines.append(f"shown by a preview or not at all, because their metadata can't be removed: {page.left_out}")
    if page.is_folder:
        name = request.target.stem
        lines.append(f"too large for one file, so saved as a folder: {name}/index.html")
    elif not options.full:
        lines.append("--full embeds the images in full size")
    return SavePlan(lines, lambda: [page.write(request.target)], page.notes)
