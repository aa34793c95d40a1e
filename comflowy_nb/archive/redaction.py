"""Remove prompts, seeds, notes, the workflow, input images or metadata from an archive (`--without`).

The written bytes must not contain a removed part anywhere. A prompt also occurs in the graph, in labels of axes, in
errors, in file names and in the metadata of images. Therefore a text is kept only if it is known to be a choice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

from comflowy_nb.archive.collect import collect, map_texts
from comflowy_nb.errors import SettingsError, nearest_tip
from comflowy_nb.images.save_target import PARTS
from comflowy_nb.layout.value_text import bare_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from comflowy_nb.archive.collect import Collected
    from comflowy_nb.archive.manifest import AxisEntry, Manifest, RunEntry, SweepEntry
    from comflowy_nb.database.records import ImageRecord, RunRecord, SweepRecord
    from comflowy_nb.database.runs import History


_IN_METADATA = frozenset({"prompts", "seeds", "workflow", "inputs", "metadata"})  # the graph in an image has these
LEFT_OUT = "(left out)"

# Text fields whose values are choices, not texts that a user writes. Other text fields count as prompts.
_CHOICES = frozenset(
    {
        "sampler", "scheduler", "upscale_method", "method", "mode", "type", "device", "weight_dtype", "dtype",
        "format", "crop", "channel", "blend_mode", "interpolation", "precision", "preset_size", "resolution",
    }
)  # fmt: skip
_CHOICE_ENDS = ("_name", "_method", "_mode", "_type", "_dtype", "_format", "_device")
_MEDIA = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".mp4", ".webm", ".mov", ".wav", ".mp3", ".flac"})
_MEDIA_NAMES = ("image", "mask", "video", "audio")
_MIN_SEED_DIGITS = 5  # shorter numbers are too common to replace in other texts

_Change: TypeAlias = "Callable[[str, str, Any], Any]"  # node id, field name and value -> new value


def parse_parts(without: str | Iterable[str]) -> frozenset[str]:
    """Return the parts to leave out.

    Raises
    ------
    SettingsError
        If one is unknown.
    """
    if isinstance(without, str):
        without = without.split(",")
    names: list[Any] = list(without) if isinstance(without, Iterable) else [without]
    parts = [name.strip() if isinstance(name, str) else name for name in names]
    parts = [part for part in parts if part != ""]
    for part in parts:
        if part not in PARTS:
            tip = nearest_tip(str(part), PARTS)
            use = f"{tip} Use" if tip else ": use"
            raise SettingsError(f"can't leave out {part!r}{use} {', '.join(PARTS)}")
    return frozenset(parts)


def strips_metadata(parts: frozenset[str]) -> bool:
    """Return whether image metadata must be removed because it contains an omitted part."""
    return bool(parts & _IN_METADATA)


def collect_without(
    history: History,
    home: Path,
    runs: Sequence[tuple[RunRecord, ImageRecord | None]],
    sweeps: Sequence[SweepRecord],
    parts: frozenset[str],
) -> Collected:
    """Collect runs and sweeps as `collect` does, without some parts. Files keep their metadata: see `strips_metadata`.

    Every format that `save` writes starts from this result.
    """
    collected = collect(history, home, runs, sweeps)
    _leave_out(collected, parts)
    return collected


def _leave_out(collected: Collected, parts: frozenset[str]) -> None:
    manifest = collected.manifest
    manifest.left_out = [part for part in PARTS if part in parts]
    if "notes" in parts:
        _leave_out_notes(manifest)
    if "inputs" in parts:
        _leave_out_inputs(collected)
    if "seeds" in parts:
        _leave_out_seeds(manifest)
    if "prompts" in parts:
        _leave_out_prompts(manifest)
    if "workflow" in parts:
        manifest.graphs = {}
        for entry in manifest.records:
            entry.workflow, entry.workflow_id = "workflow", None
        for run in manifest.runs:
            run.graph = None


def _leave_out_notes(manifest: Manifest) -> None:
    for image in (image for run in manifest.runs for image in run.outputs):
        for rating in image.ratings:
            rating.note = None
        image.ratings = [rating for rating in image.ratings if rating.rating is not None or rating.rejected]


# -- input images -----------------------------------------------------------------------------------------------------


def _leave_out_inputs(collected: Collected) -> None:
    manifest = collected.manifest
    known = {name for image in manifest.inputs for name in image.names}

    def change(_: str, name: str, value: Any) -> Any:
        is_input = isinstance(value, str) and (value in known or _is_media(name, value))
        return LEFT_OUT if is_input or _is_image(value) else value

    for sweep in manifest.sweeps:
        for axis in _axes_of(sweep):
            for number, value in enumerate(axis.values or (), 1):
                if any(change("", bare_name(key), param) != param for key, param in value.params.items()):
                    value.label = value.label if value.is_named else f"image {number}"
    _change_values(manifest, change)
    manifest.inputs = []
    collected.inputs.clear()
    _scrub(manifest, known)


def _is_image(value: Any) -> bool:
    return isinstance(value, dict) and "image" in value


def _is_media(name: str, value: str) -> bool:
    """Return True for the name of an uploaded file."""
    return name.lower().startswith(_MEDIA_NAMES) and PurePosixPath(value).suffix.lower() in _MEDIA


# -- seeds ------------------------------------------------------------------------------------------------------------


def _leave_out_seeds(manifest: Manifest) -> None:
    found: set[str] = set()

    def change(_: str, name: str, value: Any) -> Any:
        if not _is_seed(name) or isinstance(value, list | dict):
            return value
        found.add(str(value))
        return None

    for sweep in manifest.sweeps:
        sweep.spec.pinned, sweep.spec.where = {}, None
        for axis in _axes_of(sweep):
            if axis.fields and all(_is_seed(bare_name(key)) for key in axis.fields):
                for number, value in enumerate(axis.values or (), 1):
                    value.label = value.label if value.is_named else str(number)
    _change_values(manifest, change)
    for run in manifest.runs:
        run.set_params = [key for key in run.set_params if not _is_seed(bare_name(key))]
    for sweep in manifest.sweeps:
        sweep.spec.set_params = [key for key in sweep.spec.set_params if not _is_seed(bare_name(key))]
    _scrub(manifest, {text for text in found if len(text) >= _MIN_SEED_DIGITS})


def _is_seed(name: str) -> bool:
    return "seed" in name.lower()


# -- prompts ----------------------------------------------------------------------------------------------------------


def _leave_out_prompts(manifest: Manifest) -> None:
    inputs = {name for image in manifest.inputs for name in image.names}
    texts = _find_prompts(manifest, inputs, in_graphs=False)
    # Numbers distinguish different prompts.
    marks = {text: LEFT_OUT if len(texts) == 1 else f"(left out {number})" for number, text in enumerate(texts, 1)}

    def change(_: str, name: str, value: Any) -> Any:
        if not _is_prompt(name, value, inputs):
            return value
        return map_texts(value, lambda text: marks.get(text, LEFT_OUT)) if not isinstance(value, dict) else LEFT_OUT

    searched = {*texts, *_find_prompts(manifest, inputs, in_graphs=True)}
    for sweep in manifest.sweeps:
        _leave_out_of_axes(sweep, marks, inputs, searched)
    _change_values(manifest, change)
    for graph in manifest.graphs.values():
        for node in graph.values():
            node.pop("_meta", None)  # the titles that a user writes
    for run in manifest.runs:
        run.error = None if run.error is None else LEFT_OUT
    lines = {line.strip() for text in searched for line in text.splitlines()}
    _scrub(manifest, searched | lines)


def _find_prompts(manifest: Manifest, inputs: set[str], *, in_graphs: bool) -> list[str]:
    """Return the texts that count as prompts, in axis order; with `in_graphs` also prompts in graphs."""
    found: dict[str, None] = {}

    def add_prompts(_: str, name: str, value: Any) -> Any:
        if _is_prompt(name, value, inputs):
            map_texts(value, lambda text: found.setdefault(text) or text)
        return value

    _change_values(manifest, add_prompts, in_graphs=in_graphs)
    return [text for text in found if text.strip()]


def _is_prompt(name: str, value: Any, inputs: set[str]) -> bool:
    if isinstance(value, list | dict):
        return not _is_image(value) and any(map(str.strip, _texts_in(value)))
    if not isinstance(value, str) or not value.strip() or value == LEFT_OUT or value in inputs:
        return False
    is_choice = name in _CHOICES or name.endswith(_CHOICE_ENDS)
    return not is_choice and not _is_media(name, value)


def _texts_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts_in(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts_in(item)]
    return [value] if isinstance(value, str) else []


def _leave_out_of_axes(sweep: SweepEntry, marks: Mapping[str, str], inputs: set[str], searched: set[str]) -> None:
    """Replace the labels of prompts, and the words that an axis replaces in a prompt."""
    spec = sweep.spec
    spec.where = None
    searched |= set(spec.texts.values())
    spec.texts = dict.fromkeys(spec.texts, LEFT_OUT)
    for number, axis in enumerate(_axes_of(sweep), 1):
        is_replacing = axis.kind == "replace"
        if is_replacing and axis.name is not None:
            searched |= {axis.name, *(value.word for value in axis.values or () if value.word)}
            old, axis.name = axis.name, f"word {number}"
            spec.layout = {side: axis.name if name == old else name for side, name in spec.layout.items()}
        for index, value in enumerate(axis.values or (), 1):
            texts = [param for key, param in value.params.items() if _is_prompt(bare_name(key), param, inputs)]
            if is_replacing or (texts and not value.is_named):
                first = texts[0] if texts and isinstance(texts[0], str) else ""
                value.label = marks.get(first, f"(left out {index})") if not is_replacing else f"word {index}"
            if value.word is not None:
                value.word = f"word {index}"


# -- all records ------------------------------------------------------------------------------------------------------


def _axes_of(sweep: SweepEntry) -> list[AxisEntry]:
    return [simple for axis in sweep.spec.axes for simple in axis.simple]


def _change_values(manifest: Manifest, change: _Change, *, in_graphs: bool = True) -> None:
    """Apply `change` to each field value. The result None removes a param, and sets a graph input to 0."""

    def params(values: Mapping[str, Any]) -> dict[str, Any]:
        changed = {key: change(key.partition("::")[0], bare_name(key), value) for key, value in values.items()}
        return {key: value for key, value in changed.items() if value is not None or values[key] is None}

    for sweep in manifest.sweeps:
        for axis in _axes_of(sweep):
            for value in axis.values or ():
                value.params = params(value.params)
        sweep.spec.fixed = params(sweep.spec.fixed)
        for cell in sweep.cells:
            cell.params = params(cell.params)
    for run in manifest.runs:
        run.params = params(run.params)
    for graph in manifest.graphs.values() if in_graphs else ():
        for node_id, node in graph.items():
            inputs = node.get("inputs")
            if isinstance(inputs, dict):
                changed = {name: _changed_input(change, node_id, name, value) for name, value in inputs.items()}
                node["inputs"] = {name: 0 if value is None else value for name, value in changed.items()}


def _changed_input(change: _Change, node_id: str, name: str, value: Any) -> Any:
    """Return the new value of an input. A link to another node is unchanged."""
    is_link = isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)
    return value if is_link or value is None else change(node_id, name, value)


def _scrub(manifest: Manifest, searched: Iterable[str]) -> None:
    """Replace removed texts inside labels, info, notes and errors. A name that contains one is removed."""
    words = sorted({text.strip() for text in searched if re.search(r"\w", text)}, key=len, reverse=True)
    if not words:
        return
    pattern = re.compile("|".join(f"(?<!\\w){re.escape(word)}(?!\\w)" for word in words), re.IGNORECASE)

    def scrub(text: str) -> str:
        return pattern.sub(LEFT_OUT, text)

    for sweep in manifest.sweeps:
        sweep.name = sweep.name if sweep.name is None or scrub(sweep.name) == sweep.name else None
        for axis in _axes_of(sweep):
            for value in axis.values or ():
                value.label = scrub(value.label)
                value.info = {name: scrub(text) for name, text in value.info.items()}
    for run in manifest.runs:
        _scrub_run(run, scrub)


def _scrub_run(run: RunEntry, scrub: Callable[[str], str]) -> None:
    run.name = run.name if run.name is None or scrub(run.name) == run.name else None
    run.error = None if run.error is None else scrub(run.error)
    for image in run.outputs:
        image.error = None if image.error is None else scrub(image.error)
        for rating in image.ratings:
            rating.note = None if rating.note is None else scrub(rating.note)
        for score in image.scores:
            score.error = None if score.error is None else scrub(score.error)
