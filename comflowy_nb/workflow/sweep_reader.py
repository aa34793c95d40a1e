"""Reading the settings of a sweep: each becomes a fixed value, an axis, or a wish for seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from comflowy_nb.errors import FieldError, LineError, PictureError, RefError
from comflowy_nb.workflow.axis_types import Axes, Axis, AxisValue, SeedWish
from comflowy_nb.workflow.canonical import canonical_json
from comflowy_nb.workflow.cells import replace_words
from comflowy_nb.workflow.expansion import expand, expand_text, is_name
from comflowy_nb.workflow.fields import FieldType
from comflowy_nb.workflow.json_values import shown, text_of
from comflowy_nb.workflow.pictures import PictureInput
from comflowy_nb.workflow.ranges import LARGEST_AXIS, looks_like_range, read_range
from comflowy_nb.workflow.several import is_range
from comflowy_nb.workflow.sweep_values import divide, labelled
from comflowy_nb.workflow.values import LARGEST_DRAWN_SEED, Reader, draw_seed, tightest
from comflowy_nb.workflow.written import Item, Labelled, Several, of_python

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.values import Setting
    from comflowy_nb.workflow.workflow import Workflow
    from comflowy_nb.workflow.written import Written

__all__ = ["LARGEST_SWEEP", "SweepReader", "seed_values"]

LARGEST_SWEEP = 100_000  # cells: more is a slip of the pen, and each would be a row of the history
_PICTURES = frozenset({FieldType.IMAGEUPLOAD, FieldType.UNKNOWN})
_NUMBERS = frozenset({FieldType.INT, FieldType.FLOAT})
_TROUBLE = (FieldError, LineError, PictureError, RefError, ValueError)


class SweepReader(Reader):
    """Reads settings one after another; `axes` is what comes of them all."""

    def __init__(
        self,
        workflow: Workflow,
        namespace: Mapping[str, Any] | None,
        open_run: Callable[[str], PictureInput] | None,
    ) -> None:
        super().__init__(workflow, namespace, draw_seed, open_run)
        self._axes: list[Axis] = []
        self._seeds: list[SeedWish] = []
        self._set: list[str] = []
        self._texts: dict[str, str] = {}

    def axes(self) -> Axes:
        """All that was taken.

        Raises
        ------
        FieldError
            If anything was wrong.
        """
        names = [axis.name for axis in self._axes]
        for name in dict.fromkeys(one for one in names if names.count(one) > 1):
            self.problems.append(f"two axes are called {name!r}: their headers could not be told apart")
        axes = Axes(self.params, tuple(self._axes), tuple(self._seeds), tuple(self._set), self._texts)
        if axes.count > LARGEST_SWEEP:
            shape = " x ".join(f"{len(axis.values):,} {axis.name}" for axis in self._axes)
            self.problems.append(f"{shape} are {axes.count:,} cells; a sweep has at most {LARGEST_SWEEP:,}")
        if self.problems:
            raise FieldError(*dict.fromkeys(self.problems))
        return axes

    def take(self, setting: Setting) -> None:
        try:
            field_ids = self.workflow.find(setting.key)
        except FieldError as unknown:
            try:
                presets = self._presets(setting)
            except _TROUBLE as error:
                self.report(setting, FieldError(f"{setting.key}: {error}"))
                return
            if presets is None:
                self.report(setting, unknown)
            else:
                self._take_presets(setting, presets)
            return
        claims = [self._claim_set(field_id, setting) for field_id in field_ids]  # each one tells of itself
        if not all(claims):
            return
        try:
            self._take_fields(setting, field_ids)
        except _TROUBLE as error:
            self.report(setting, error, field_ids[0])

    def _claim_set(self, field_id: str, setting: Setting) -> bool:
        if not self.claim(field_id, setting):
            return False
        self._set.append(field_id)
        return True

    # -- the values of fields ------------------------------------------------------------------------------------

    def _take_fields(self, setting: Setting, field_ids: tuple[str, ...]) -> None:
        one = self.field(field_ids[0])
        written = self._open(one, divide(setting, one, self.namespace))
        if isinstance(written, Labelled) and _is_replace(written):
            self._take_replace(setting, field_ids, written)
        elif isinstance(written, Labelled):
            self._add_values(setting, field_ids, written.pairs)
        elif isinstance(written, Several):
            self._add_values(setting, field_ids, [(None, item) for item in written.items])
        elif (word := self._seed_word(one, written)) is not None:
            self._take_seeds(setting, field_ids, word)
        elif self._range_in(one, written) is not None:
            self._add_values(setting, field_ids, [(None, written)])
        else:
            for field_id in field_ids:
                self.params[field_id] = self._read_one(self.field(field_id), written)

    def _add_values(
        self, setting: Setting, field_ids: tuple[str, ...], pairs: Sequence[tuple[str | None, Written]]
    ) -> None:
        """An axis of what stands in a list, a mapping of labels or a range."""
        if not pairs:
            raise FieldError(f"{self.field(field_ids[0]).where}: there is no value in {setting.key}")
        values: list[AxisValue] = []
        for index, (label, written) in enumerate(pairs, 1):
            place = f"value {label!r}" if label is not None else f"value {index} of {len(pairs)}" if pairs[1:] else ""
            columns = []
            for field_id in field_ids:
                one = self.field(field_id)
                try:
                    columns.append(
                        self._read_labelled(one, written) if label is not None else self._values(one, written)
                    )
                except _TROUBLE as error:
                    self.report(setting, _placed(one.where, place, error))
            if len(columns) < len(field_ids):
                continue
            for row in zip(*columns, strict=True):
                params = dict(zip(field_ids, row, strict=True))
                values.append(AxisValue(params, _text(row[0]) if label is None else label, label is not None))
        self._add_axis(setting, Axis(setting.key, "values", field_ids, tuple(values)), self.field(field_ids[0]).where)

    def _add_axis(self, setting: Setting, axis: Axis, where: str) -> None:
        """Take an axis, and tell of labels and values that it has twice."""
        labels: set[str] = set()
        known: dict[str, AxisValue] = {}
        for value in axis.values:
            if value.is_named and value.label in labels:
                self.report(setting, FieldError(f"{where}: the label {value.label!r} is used twice"))
            if value.is_named and not value.label.strip():
                self.report(setting, FieldError(f"{where}: a label is empty"))
            labels.add(value.label)
            same = "" if axis.kind == "seeds" else canonical_json([value.word, dict(value.params)])
            if same and same in known:
                twice = " and ".join(dict.fromkeys(repr(one.label) for one in (known[same], value)))
                self.report(setting, FieldError(f"{where}: an equal value stands there twice: {twice}"))
            known[same] = value
        if len(axis.values) > LARGEST_AXIS:
            count = f"{len(axis.values):,} values; an axis has at most {LARGEST_AXIS:,}"
            self.report(setting, FieldError(f"{where}: {count}"))
        self._axes.append(axis)

    def _open(self, one: Field | None, written: Written) -> Written:
        """A `{name}` as what it stands for; anything else as it is."""
        if self.namespace is None or not isinstance(written, Item) or written.exact:
            return written
        if not isinstance(written.value, str) or not is_name(written.value):
            return written
        takes_pictures = one is not None and one.type in _PICTURES
        return of_python(expand(written.value, self.namespace), takes_pictures=takes_pictures, exact=True)

    def _values(self, one: Field, written: Written) -> list[Any]:
        """The values of an item: several only if it is a range."""
        item = self._open(one, written)
        if not isinstance(item, Item):
            if one.type is FieldType.UNKNOWN and isinstance(item, Several) and item.text is None:
                return [self.read_object(one, [part.value for part in item.items if isinstance(part, Item)])]
            what = "a list" if isinstance(item, Several) else "a mapping"
            raise FieldError(f"{one.where}: {what} stands where one value is meant; a text of brackets is quoted")
        if not isinstance(item.value, str) or item.exact:
            return [self.read_object(one, item.value)]
        if not item.value and not item.quoted and not item.typed:
            raise FieldError(f'{one.where}: the value is empty; an empty text is written ""')
        word = self._seed_word(one, item)
        if word is not None:
            raise FieldError(f"{one.where}: {word} draws seeds, and stands alone: not in a list, a label or a preset")
        numbers = self._range_in(one, item)
        if numbers is not None:
            try:
                return [one.check(number) for number in read_range(numbers, whole=one.type is FieldType.INT)]
            except ValueError as error:
                raise FieldError(f"{one.where}: {error}") from None
        text = expand_text(item.value, self.namespace)
        return [self.read_item(one, text, as_text=item.quoted or item.typed)]

    def _read_labelled(self, one: Field, written: Written) -> list[Any]:
        values = self._values(one, written)
        if len(values) > 1:
            raise FieldError(f"{one.where}: a range stands where one value is meant")
        return values

    def _read_one(self, one: Field, item: Item) -> Any:
        """The value of an item that stands alone, where nothing typed is the empty text."""
        if isinstance(item.value, str) and not item.value and not item.exact:
            return self.read_item(one, "", as_text=item.quoted or item.typed)
        return self._values(one, item)[0]

    def _range_in(self, one: Field, item: Item) -> str | None:
        """The text of a range, right or wrong."""
        if not isinstance(item.value, str) or item.exact:
            return None
        if one.type not in _NUMBERS and (one.type is not FieldType.UNKNOWN or item.quoted or item.typed):
            return None
        text = expand_text(item.value, self.namespace)
        meant = looks_like_range(text) if one.type in _NUMBERS else is_range(text)
        return text if meant else None

    # -- seeds ---------------------------------------------------------------------------------------------------

    def _seed_word(self, one: Field, item: Item) -> str | None:
        if not isinstance(item.value, str) or item.exact or not one.is_seed:
            return None
        text = expand_text(item.value, self.namespace)
        return text if self.is_seed_word(one, text, quoted=item.quoted) else None

    def _take_seeds(self, setting: Setting, field_ids: tuple[str, ...], word: str) -> None:
        kind, numbered, digits = word.partition("#")
        if not numbered:
            self._seeds.append(SeedWish(field_ids, cast("Literal['random', 'each']", kind)))
            return
        where = self.field(field_ids[0]).where
        if len(digits) > 9:
            raise FieldError(f"{where}: {word} draws too many seeds; an axis has at most {LARGEST_AXIS:,}")
        try:
            values = seed_values(self.workflow, field_ids, int(digits), word)
        except ValueError as error:
            raise FieldError(f"{where}: {error}") from None
        self._add_axis(setting, Axis(setting.key, "seeds", field_ids, values), where)

    # -- search and replace --------------------------------------------------------------------------------------

    def _take_replace(self, setting: Setting, field_ids: tuple[str, ...], written: Labelled) -> None:
        parts = _once(written)
        texts = {field_id: self._searched(self.field(field_id), parts.get("in")) for field_id in field_ids}
        words = _once(cast("Labelled", parts["replace"]))
        if not words:
            raise FieldError(f"{self.field(field_ids[0]).where}: replace names no word")
        for field_id, text in texts.items():
            where = self.field(field_id).where
            found: set[str] = set()
            replace_words(text, {word: word for word in words}, found)
            for word in words:
                if word not in found:
                    inside = f", but within another word that is replaced, in {shown(text)}" if word in text else ""
                    self.report(setting, FieldError(f"{where}: {word!r} is not found{inside or f' in {shown(text)}'}"))
        self._texts |= texts
        for word, node in words.items():
            one = self.field(field_ids[0])
            opened = self._open(one, node)
            pairs: Sequence[tuple[str | None, Written]]
            if isinstance(opened, Labelled):
                pairs = opened.pairs
            else:
                pairs = [(None, item) for item in (opened.items if isinstance(opened, Several) else (opened,))]
            if not pairs:
                self.report(setting, FieldError(f"{one.where}, {word!r}: the list is empty"))
                continue
            values = []
            for label, item in pairs:
                try:
                    new = str(self._plain_text(one, item))
                except _TROUBLE as error:
                    self.report(setting, _placed(one.where, f"the words for {word!r}", error))
                    continue
                params = {field_id: replace_words(text, {word: new}) for field_id, text in texts.items()}
                values.append(AxisValue(params, new if label is None else label, label is not None, word=new))
            self._add_axis(setting, Axis(word, "replace", field_ids, tuple(values)), f"{one.where}, {word!r}")

    def _searched(self, one: Field, given: Written | None) -> str:
        """The text in which words are replaced: the one given, else the workflow's own."""
        if one.type not in {FieldType.STRING, FieldType.UNKNOWN}:
            raise FieldError(f"{one.where}: words can be replaced in a text, and this is of type {one.type}")
        if given is not None:
            return self._plain_text(one, given)
        text: object = one.default
        graph = self.workflow.graph
        if graph is not None and one.node in graph.nodes:
            text = graph.nodes[one.node].get("inputs", {}).get(one.name, text)
        if not isinstance(text, str) or not text:
            raise FieldError(f"{one.where}: the workflow's own text is not known: write {{in: TEXT, replace: ...}}")
        return text

    def _plain_text(self, one: Field, written: Written) -> str:
        item = self._open(one, written)
        if not isinstance(item, Item):
            raise FieldError(f"{one.where}: a text is meant; one with commas or brackets stands in quotes")
        if not item.exact and isinstance(item.value, str):
            if not item.value and not item.quoted and not item.typed:
                raise FieldError(f'{one.where}: the text is empty; an empty one is written ""')
            return expand_text(item.value, self.namespace)
        if isinstance(item.value, (str, int, float)) and not isinstance(item.value, bool):
            return str(item.value)
        raise FieldError(f"{one.where}: {shown(item.value)} is not a text")

    # -- presets -------------------------------------------------------------------------------------------------

    def _presets(self, setting: Setting) -> list[tuple[str, Labelled]] | None:
        """The presets of a setting whose key is no field; None if it is no such setting."""
        key = setting.key
        taken = key in self.workflow.aliases or any(one.name == key for one in self.workflow.fields.values())
        if not self.workflow.is_described or "::" in key or taken:
            return None
        found: Written | None = labelled(setting)
        if found is None and isinstance(setting.value, str):
            found = self._open(None, Item(setting.value))
        if not isinstance(found, Labelled):
            return None
        presets = [(label, self._open(None, node)) for label, node in found.pairs]
        odd = next((label for label, node in presets if not isinstance(node, Labelled)), None)
        if odd is None:
            return cast("list[tuple[str, Labelled]]", presets)
        if all(not isinstance(node, Labelled) for _, node in presets):
            return None
        raise FieldError(f"the preset {odd!r} is no mapping of fields like {{cfg: 4, steps: 20}}")

    def _take_presets(self, setting: Setting, presets: list[tuple[str, Labelled]]) -> None:
        if not presets:
            self.report(setting, FieldError(f"{setting.key}: there is no preset in it"))
            return
        mine: dict[str, bool] = {}  # field id -> whether it is this axis's
        values = []
        for label, fields in presets:
            params: dict[str, Any] = {}
            told = len(self.problems)
            if not fields.pairs:
                self.report(setting, FieldError(f"{setting.key}, preset {label!r}: it sets nothing"))
            for key, node in fields.pairs:
                try:
                    for field_id in self.workflow.find(key):
                        if field_id not in mine:
                            mine[field_id] = self._claim_set(field_id, setting)
                        if field_id in params:
                            raise FieldError(f"{self.field(field_id).where} is set twice")
                        params[field_id] = self._read_labelled(self.field(field_id), node)[0]
                except _TROUBLE as error:
                    self.report(setting, FieldError(*(f"{setting.key}, preset {label!r}: {error}".split("\n"))))
            if len(self.problems) == told:
                values.append(AxisValue(params, label, is_named=True))
        self._add_axis(setting, Axis(setting.key, "preset", tuple(mine), tuple(values)), setting.key)


def seed_values(workflow: Workflow, field_ids: Sequence[str], count: int, word: str) -> tuple[AxisValue, ...]:
    """The values of an axis of N drawn seeds.

    Raises
    ------
    ValueError
        If there are none, too many, or more than the fields can tell apart.
    """
    if count < 1:
        raise ValueError(f"{word} draws no seed at all")
    if count > LARGEST_AXIS:
        raise ValueError(f"{word} draws {count:,} seeds; an axis has at most {LARGEST_AXIS:,}")
    one = tightest(workflow, field_ids)
    low = max(0, one.min or 0) if one is not None else 0
    high = LARGEST_DRAWN_SEED if one is None or one.max is None else min(one.max, LARGEST_DRAWN_SEED)
    if count > (high - low + 1) / 2:
        raise ValueError(f"{word} draws too many seeds for a field that goes from {low:g} to {high:g}")
    return tuple(AxisValue({}, str(index)) for index in range(1, count + 1))


def _is_replace(written: Labelled) -> bool:
    labels = {label for label, _ in written.pairs}
    inner = next((node for label, node in written.pairs if label == "replace"), None)
    return isinstance(inner, Labelled) and labels <= {"in", "replace"}


def _once(written: Labelled) -> dict[str, Written]:
    found: dict[str, Written] = {}
    for label, node in written.pairs:
        if label in found:
            raise ValueError(f"{label!r} stands there twice")
        if not label:
            raise ValueError("an empty word can't be replaced")
        found[label] = node
    return found


def _placed(where: str, place: str, error: Exception) -> FieldError:
    """The error with the place of its value in the list."""
    text = str(error).removeprefix(f"{where}: ")
    return FieldError(f"{where}, {place}: {text}" if place else f"{where}: {text}")


def _text(value: object) -> str:
    """What a header says of a value."""
    if isinstance(value, PictureInput):
        return value.name
    return text_of(int(value) if isinstance(value, float) and value.is_integer() else value)
