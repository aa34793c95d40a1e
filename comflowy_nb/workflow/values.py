"""From what was set to what is sent: every setting expanded, typed by its field, checked, its seed drawn.

What is typed is what is sent. All problems are found before anything is, and told at once.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError, ImageError, LineError, RefError
from comflowy_nb.workflow.axes.images import names_files, pattern_in
from comflowy_nb.workflow.fields import Field, FieldType
from comflowy_nb.workflow.finder import IMAGES
from comflowy_nb.workflow.images import input_of, is_image, open_input
from comflowy_nb.workflow.syntax.body import read_block
from comflowy_nb.workflow.syntax.expansion import NAMES_ALONE, expand, is_name
from comflowy_nb.workflow.syntax.json_values import plain, rounded, shown
from comflowy_nb.workflow.syntax.lists import Item, MultipleValues, Setting, read_selection
from comflowy_nb.workflow.syntax.ranges import has_range, is_range, split_items

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from comflowy_nb.workflow.images import InputImage
    from comflowy_nb.workflow.workflow import Workflow

__all__ = [
    "LARGEST_DRAWN_SEED",
    "Reader",
    "Resolved",
    "generate_seed",
    "resolve",
    "settings_from_mapping",
    "tightest",
]

LARGEST_DRAWN_SEED = 2**53 - 1  # the largest whole number that JavaScript, and so the editor, holds exactly
_SEED_WORD = re.compile(r"random|random#[0-9]+|each")
_SWEEP = "%comflowy sweep takes several"


@dataclass(frozen=True, slots=True)
class Resolved:
    """What is sent: `params` by field id, the ids in the order they were set, and the seeds drawn just now."""

    params: dict[str, Any]
    set_params: tuple[str, ...] = ()
    drawn: dict[str, int] = field(default_factory=dict)


def generate_seed(one: Field | None, field_id: str) -> int:  # noqa: ARG001 - others draw by the id
    """A seed nobody has chosen, from 0 to 2**53 - 1 or the field's largest."""
    low = max(0, int(one.min)) if one is not None and one.min is not None else 0
    high = LARGEST_DRAWN_SEED
    if one is not None and one.max is not None:
        high = max(low, min(high, int(one.max)))
    return low + secrets.randbelow(high - low + 1)


def tightest(workflow: Workflow, field_ids: Sequence[str]) -> Field | None:
    """The field whose seeds fit all of these; None where nothing describes them."""
    fields = [workflow.fields[one] for one in field_ids if one in workflow.fields]
    return min(fields, key=lambda one: LARGEST_DRAWN_SEED if one.max is None else one.max, default=None)


def settings_from_mapping(params: Mapping[str, object]) -> list[Setting]:
    """Settings from the params of a Python call: the values are Python's own."""
    return [Setting(str(key), value, typed=True, computed=True) for key, value in params.items()]


def resolve(
    workflow: Workflow,
    settings: Sequence[Setting],
    *,
    namespace: Mapping[str, Any] | None = None,
    draw: Callable[[Field | None, str], int] = generate_seed,
    open_run: Callable[[str], InputImage] | None = None,
) -> Resolved:
    """The params of one run.

    Parameters
    ----------
    workflow
        Says what the keys mean and which types their fields have.
    settings
        In the order they were typed.
    namespace
        The names that `{name}` may mean; None where nothing expands.
    draw
        Draws a seed for `random`, once for all the fields of `all::seed`.
    open_run
        Gives the image that a reference (`r41[0]`) names, or raises RefError; None where there are none.

    Raises
    ------
    FieldError
        For everything wrong at once: unknown fields, values their fields can't take, fields given twice, names that
        are not defined, images that can't be read, and several values where a run takes one.
    """
    reader = Reader(workflow, namespace, draw, open_run)
    for setting in settings:
        reader.take(setting)
    if reader.problems:
        raise FieldError(*dict.fromkeys(reader.problems))
    return Resolved(reader.params, tuple(reader.params), reader.drawn)


def _no_runs(ref: str) -> InputImage:
    raise RefError(f"run:{ref}: the images of runs can't be read here")


class Reader:
    """Reads settings one after another; what is wrong with them gathers in `problems`."""

    def __init__(
        self,
        workflow: Workflow,
        namespace: Mapping[str, Any] | None,
        draw: Callable[[Field | None, str], int],
        open_run: Callable[[str], InputImage] | None,
    ) -> None:
        self.workflow = workflow
        self.namespace = namespace
        self.draw = draw
        self.open_run = open_run or _no_runs
        self.params: dict[str, Any] = {}
        self.drawn: dict[str, int] = {}
        self.problems: list[str] = []
        self._given: dict[str, Setting] = {}

    def take(self, setting: Setting) -> None:
        try:
            field_ids = self.workflow.find(setting.key)
        except FieldError as error:
            self.report(setting, error)
            return
        for field_id in field_ids:
            if not self.claim(field_id, setting):
                continue
            try:
                self.params[field_id] = self._read(setting, field_id, field_ids)
            except (FieldError, LineError, ImageError, RefError) as error:
                self.report(setting, error, field_id)

    def claim(self, field_id: str, setting: Setting) -> bool:
        """Whether this setting is the first for its field; a second one is a problem."""
        if field_id in self._given:
            self._report_twice(field_id, setting)
            return False
        self._given[field_id] = setting
        return True

    def report(self, setting: Setting, error: Exception, field_id: str | None = None) -> None:
        text = str(error)
        if field_id is not None and not isinstance(error, FieldError):
            text = f"{self.field(field_id).where}: {text}"
        self.problems.append(f"{setting.where}: {text}" if "line " in setting.where else text)

    def _report_twice(self, field_id: str, setting: Setting) -> None:
        first = self._given[field_id]
        where = self.field(field_id).where
        if first.where == setting.where == "the line":
            keys = "" if first.key == setting.key else f", as {first.key} and as {setting.key}"
            name = first.key if first.key == setting.key else where
            self.problems.append(f"{name} is set twice on this line{keys}. Keep one.")
            return
        places = [f"{one.key} ({one.where})" if one.where else one.key for one in (first, setting)]
        self.problems.append(f"{where} is set twice: {' and '.join(places)}. Keep one.")

    def field(self, field_id: str) -> Field:
        return self.workflow.fields.get(field_id) or Field(field_id)

    def _read(self, setting: Setting, field_id: str, together: tuple[str, ...]) -> Any:
        one = self.field(field_id)
        value, quoted = setting.value, setting.quoted
        if setting.plain is not None and one.type is not FieldType.STRING:
            value, quoted = setting.plain
            if setting.is_list and not one.is_multiple:
                raise FieldError(f"{one.where}: a list of values, but a run takes one; {_SWEEP}")
        if one.is_multiple and isinstance(value, str) and not (self.namespace is not None and is_name(value)):
            return one.check(self._selection(setting, value))
        if not isinstance(value, str):
            return self._read_object(one, value if not setting.computed or one.holds(plain(value)) else rounded(value))
        meaning = expand(value, self.namespace)
        if self.namespace is not None and is_name(value):
            return self._read_object(one, rounded(meaning), name=value)
        if self.is_seed_word(one, meaning, quoted=quoted):
            return self._draw_seed(one, meaning, together)
        image = self._read_image(one, meaning)
        if image is not None:
            return image
        if not quoted:
            self.check_not_a_file(one, meaning, typed=setting.typed)
        if one.type is FieldType.UNKNOWN and (quoted or setting.typed):
            return meaning
        return self._read_text(one, meaning)

    def _selection(self, setting: Setting, text: str) -> object:
        """The options that a text names for a field that takes several."""
        if setting.is_list and setting.block is not None:
            block = read_block(setting.block, is_text=False)
            if isinstance(block, MultipleValues):
                return [expand(str(item.value), self.namespace) for item in block.items if isinstance(item, Item)]
        if setting.quoted:
            return expand(text, self.namespace)
        chosen = read_selection(text)
        if isinstance(chosen, list):
            return [expand(item, self.namespace) if isinstance(item, str) else item for item in chosen]
        return expand(text, self.namespace)

    def _read_text(self, one: Field, text: str) -> Any:
        if one.type is FieldType.UNKNOWN and has_range(text):
            raise FieldError(f"{one.where}: {shown(text)} is a range, but a run takes one value; {_SWEEP}")
        try:
            return self.read_typed(one, text)
        except FieldError:
            if not _is_several(one, text):
                raise
        raise FieldError(f"{one.where}: {shown(text)} is several values, but a run takes one; {_SWEEP}")

    def _read_object(self, one: Field, value: object, name: str | None = None) -> Any:
        """A value of Python or JSON; `name` is the `{name}` it came from."""
        value = plain(value)
        if one.type in {FieldType.IMAGEUPLOAD, FieldType.UNKNOWN} and (is_image(value) or isinstance(value, str)):
            return self.read_object(one, value)
        several = isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))
        may_be_list = one.is_multiple or one.holds(value)
        if several and not may_be_list and (name is not None or one.type is not FieldType.UNKNOWN):
            what = f"{name} is a {type(value).__name__}" if name else f"{shown(value)} is several values"
            raise FieldError(f"{one.where}: {what}, but a run takes one value; {_SWEEP}")
        return self.read_object(one, value)

    def read_item(self, one: Field, text: str, *, as_text: bool) -> Any:
        """One value from an expanded text; `as_text` where an unknown type takes it verbatim."""
        image = self._read_image(one, text)
        if image is not None:
            return image
        return text if one.type is FieldType.UNKNOWN and as_text else self.read_typed(one, text)

    def read_typed(self, one: Field, text: str) -> Any:
        """One value from an expanded text, by its field's type."""
        try:
            return one.read(text)
        except FieldError as error:
            if _is_several(one, text):
                together = ",".join(part.strip() for part in text.split(","))
                raise FieldError(f"{error}; several values stand without quotes: {one.name}={together}") from None
            if self.namespace is not None and text.startswith("{"):
                raise FieldError(f"{error}; {NAMES_ALONE.format(field=one.name)}") from None
            raise

    def read_object(self, one: Field, value: object) -> Any:
        """One value of Python or JSON."""
        value = plain(value)
        if one.type in {FieldType.IMAGEUPLOAD, FieldType.UNKNOWN}:
            if is_image(value):
                return input_of(value)
            if isinstance(value, str):
                self.check_not_a_file(one, value, typed=True)
                return self._read_image(one, value) or value
        return one.check(value)

    def check_not_a_file(self, one: Field, text: str, *, typed: bool) -> None:
        """Check that a text is not the bare path of an image file on this machine, which only `file:PATH` uploads.

        Raises
        ------
        FieldError
            If it is, and the server does not list an image of that name.
        """
        if one.type is FieldType.IMAGEUPLOAD:
            is_candidate = text != one.default and text not in one.options
        else:  # nothing says that it is an image; a typed value is always text
            is_candidate = one.type is FieldType.UNKNOWN and not typed and text.lower().endswith(tuple(IMAGES))
        if is_candidate and not text.startswith(("file:", "run:")) and names_files(text):
            quoted = "" if typed else f'; "{text}" in quotes is submitted as typed'
            raise FieldError(
                f"{one.where}: {shown(text)} is a file on this machine, not on the server. Did you mean file:{text}? "
                f"That uploads your file{quoted}"
            )

    def is_seed_word(self, one: Field, text: str, *, quoted: bool) -> bool:
        if not one.is_seed or not _SEED_WORD.fullmatch(text):
            return False
        if one.type is FieldType.UNKNOWN:
            return not quoted  # quoted is text; the strings of a payload are no more quoted than its numbers
        return one.type in {FieldType.INT, FieldType.FLOAT}

    def _draw_seed(self, one: Field, word: str, together: tuple[str, ...]) -> int:
        if word != "random":
            tip = "run --count N, or seed=random#N in a sweep" if word != "each" else "%comflowy sweep"
            raise FieldError(f"{one.where}: {word} draws several seeds, but a run takes one; {tip}")
        seed = next((self.drawn[other] for other in together if other in self.drawn), None)
        if seed is None:
            seed = self.draw(tightest(self.workflow, together), one.id)
        self.drawn[one.id] = seed
        return seed

    def _read_image(self, one: Field, text: str) -> InputImage | None:
        """The image that `file:PATH` or `run:REF[0]` names, where that is what the text means."""
        if one.type not in {FieldType.IMAGEUPLOAD, FieldType.UNKNOWN}:
            return None
        kind, colon, rest = text.partition(":")
        if not colon or not rest or kind not in {"file", "run"}:
            return None
        if one.type is FieldType.IMAGEUPLOAD and pattern_in(text) is not None:
            raise FieldError(f"{one.where}: {rest} may name several files, but a run takes one; {_SWEEP}")
        try:
            if kind == "file":
                return open_input(rest)
            return self.open_run(rest)
        except (ImageError, RefError):
            if one.type is FieldType.UNKNOWN:  # a text that begins so
                return None
            raise


def _is_several(one: Field, text: str) -> bool:
    """Return whether an invalid value of a field reads as several values: a range, or a list of valid values."""
    if one.type in {FieldType.STRING, FieldType.IMAGEUPLOAD}:
        return False
    numeric = one.type in {FieldType.INT, FieldType.FLOAT}
    items = split_items(text)
    if items == [text]:
        return numeric and is_range(text)
    return all(item and (_is_readable(one, item) or (numeric and is_range(item))) for item in items)


def _is_readable(one: Field, text: str) -> bool:
    try:
        one.read(text)
    except FieldError:
        return False
    return True
