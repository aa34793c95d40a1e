"""Convert settings to params: expand, type and check every setting, and generate the seeds of one run.

All problems are reported together, before anything is submitted.
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
from comflowy_nb.workflow.images import IMAGE_SUFFIXES, input_of, is_image, open_input
from comflowy_nb.workflow.syntax.body import read_block
from comflowy_nb.workflow.syntax.json_values import plain, rounded, shown
from comflowy_nb.workflow.syntax.line import NAMES_ALONE, expand, is_name
from comflowy_nb.workflow.syntax.lists import Item, MultipleValues, Setting, read_selection
from comflowy_nb.workflow.syntax.ranges import has_range, is_range, split_items

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from comflowy_nb.workflow.images import InputImage
    from comflowy_nb.workflow.workflow import Workflow

__all__ = [
    "MAX_GENERATED_SEED",
    "Resolved",
    "SettingLog",
    "ValueReader",
    "generate_seed",
    "narrowest_field",
    "resolve",
    "settings_from_mapping",
]

MAX_GENERATED_SEED = 2**53 - 1  # the largest integer that JavaScript, and so the editor, represents exactly
_SEED_WORD = re.compile(r"random|random#[0-9]+|each")


@dataclass(frozen=True, slots=True)
class Resolved:
    """The params of one run.

    Attributes
    ----------
    params
        Field id -> value.
    set_params
        The field ids in the order they were set.
    generated_seeds
        Field id -> seed generated for `random`.
    """

    params: dict[str, Any]
    set_params: tuple[str, ...] = ()
    generated_seeds: dict[str, int] = field(default_factory=dict)


def generate_seed(one: Field | None) -> int:
    """Return a random seed from 0, or the field's minimum, to `MAX_GENERATED_SEED` or the field's maximum."""
    low = max(0, int(one.min)) if one is not None and one.min is not None else 0
    high = MAX_GENERATED_SEED
    if one is not None and one.max is not None:
        high = max(low, min(high, int(one.max)))
    return low + secrets.randbelow(high - low + 1)


def narrowest_field(workflow: Workflow, field_ids: Sequence[str]) -> Field | None:
    """Return the field with the smallest maximum, whose seeds fit all of them; None if none is described."""
    fields = [workflow.fields[one] for one in field_ids if one in workflow.fields]
    return min(fields, key=lambda one: MAX_GENERATED_SEED if one.max is None else one.max, default=None)


def settings_from_mapping(params: Mapping[str, object]) -> list[Setting]:
    """Return the params of a Python call as settings."""
    return [Setting(str(key), value, typed=True, computed=True) for key, value in params.items()]


def resolve(
    workflow: Workflow,
    settings: Sequence[Setting],
    *,
    namespace: Mapping[str, Any] | None = None,
    open_run: Callable[[str], InputImage] | None = None,
) -> Resolved:
    """Return the params of one run.

    Parameters
    ----------
    workflow
        Defines the fields that the keys name, and their types.
    settings
        In the order they were typed.
    namespace
        The variables that `{name}` may refer to; None disables expansion.
    open_run
        Return the image of a reference (`r41[0]`) or raise RefError; None if references are not available.

    Returns
    -------
    The params, their order, and the generated seeds (one seed for all fields of `all::seed`).

    Raises
    ------
    FieldError
        With all problems: unknown fields, invalid values, fields set twice, undefined names, unreadable images, and
        lists of values.
    """
    log = SettingLog(workflow)
    reader = _RunReader(workflow, log, ValueReader(namespace, open_run))
    for setting in settings:
        reader.read(setting)
    if log.problems:
        raise FieldError(*dict.fromkeys(log.problems))
    return Resolved(reader.params, tuple(reader.params), reader.generated_seeds)


class SettingLog:
    """Record of which setting set each field, and of all problems found."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self._setting_of: dict[str, Setting] = {}
        self.problems: list[str] = []

    def field(self, field_id: str) -> Field:
        """Return the field of an id, of unknown type if it is not described."""
        return self._workflow.fields.get(field_id) or Field(field_id)

    def reserve(self, field_id: str, setting: Setting) -> bool:
        """Return True if this setting is the first for the field; report a second one."""
        if field_id in self._setting_of:
            self._report_twice(field_id, self._setting_of[field_id], setting)
            return False
        self._setting_of[field_id] = setting
        return True

    def report(self, setting: Setting, error: Exception, field_id: str | None = None) -> None:
        """Add a problem, with the field and the line of the setting."""
        text, *more = error.problems if isinstance(error, FieldError) else (str(error),)
        if field_id is not None and not isinstance(error, FieldError):
            text = f"{self.field(field_id).where}: {text}"
        self.problems += [f"{setting.where}: {text}" if "line " in setting.where else text, *more]

    def _report_twice(self, field_id: str, first: Setting, setting: Setting) -> None:
        where = self.field(field_id).where
        if first.where == setting.where == "the line":
            keys = "" if first.key == setting.key else f", as {first.key} and as {setting.key}"
            name = first.key if first.key == setting.key else where
            self.problems.append(f"{name} is set twice on this line{keys}. Keep one.")
            return
        both = [f"{one.key} ({one.where})" if one.where else one.key for one in (first, setting)]
        self.problems.append(f"{where} is set twice: {' and '.join(both)}. Keep one.")


class _RunReader:
    """Reads the settings of one run, each as one value."""

    def __init__(self, workflow: Workflow, log: SettingLog, values: ValueReader) -> None:
        self._workflow = workflow
        self._log = log
        self._values = values
        self.params: dict[str, Any] = {}
        self.generated_seeds: dict[str, int] = {}

    def read(self, setting: Setting) -> None:
        try:
            field_ids = self._workflow.find(setting.key)
        except FieldError as error:
            self._log.report(setting, error)
            return
        for field_id in field_ids:
            if not self._log.reserve(field_id, setting):
                continue
            try:
                self.params[field_id] = self._read(setting, self._log.field(field_id), field_ids)
            except (FieldError, LineError, ImageError, RefError) as error:
                self._log.report(setting, error, field_id)

    def _read(self, setting: Setting, one: Field, field_ids: tuple[str, ...]) -> Any:
        namespace = self._values.namespace
        value, quoted = setting.value, setting.quoted
        if setting.plain is not None and one.type is not FieldType.STRING:
            value, quoted = setting.plain
            if setting.is_list and not one.is_multiple:
                raise _several_values(one, "a list of values")
        is_expanded = isinstance(value, str) and namespace is not None and is_name(value)
        if one.is_multiple and isinstance(value, str) and not is_expanded:
            return one.check(self._selection(setting, value))
        if not isinstance(value, str):
            return self._read_object(one, value if not setting.computed or one.holds(plain(value)) else rounded(value))
        text = expand(value, namespace)
        if is_expanded:
            return self._read_object(one, rounded(text), name=value)
        if self._values.is_seed_word(one, text, quoted=quoted):
            return self._generate_seed(one, text, field_ids)
        image = self._values.read_image(one, text)
        if image is not None:
            return image
        if not quoted:
            self._values.check_not_a_file(one, text, typed=setting.typed)
        if one.type is FieldType.UNKNOWN and (quoted or setting.typed):
            return text
        return self._read_text(one, text)

    def _selection(self, setting: Setting, text: str) -> object:
        """Return the options that a text names for a field that takes several."""
        namespace = self._values.namespace
        if setting.is_list and setting.block is not None:
            block = read_block(setting.block, is_text=False)
            if isinstance(block, MultipleValues):
                return [expand(str(item.value), namespace) for item in block.items if isinstance(item, Item)]
        chosen = text if setting.quoted else read_selection(text)
        if isinstance(chosen, list):
            return [expand(item, namespace) if isinstance(item, str) else item for item in chosen]
        return expand(text, namespace)

    def _read_text(self, one: Field, text: str) -> Any:
        if one.type is FieldType.UNKNOWN and has_range(text):
            raise _several_values(one, f"{shown(text)} is a range")
        try:
            return self._values.read_typed(one, text)
        except FieldError:
            if not _is_several(one, text):
                raise
        raise _several_values(one, f"{shown(text)} is several values")

    def _read_object(self, one: Field, value: object, name: str | None = None) -> Any:
        """Return a Python or JSON value as submitted; `name` is the `{name}` it came from."""
        value = plain(value)
        is_list = isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))
        may_be_list = one.is_multiple or one.holds(value) or (one.type.takes_images and is_image(value))
        if is_list and not may_be_list and (name is not None or one.type is not FieldType.UNKNOWN):
            raise _several_values(
                one, f"{name} is a {type(value).__name__}" if name else f"{shown(value)} is several values"
            )
        return self._values.read_object(one, value)

    def _generate_seed(self, one: Field, word: str, field_ids: tuple[str, ...]) -> int:
        if word != "random":
            tip = "run --count N, or seed=random#N in a sweep" if word != "each" else "%comflowy sweep takes several"
            raise FieldError(f"{one.where}: {word} generates several seeds, but a run takes one; {tip}")
        seed = next((self.generated_seeds[other] for other in field_ids if other in self.generated_seeds), None)
        if seed is None:
            seed = generate_seed(narrowest_field(self._workflow, field_ids))
        self.generated_seeds[one.id] = seed
        return seed


class ValueReader:
    """Reads single values by the type of their field.

    Parameters
    ----------
    namespace
        The variables that `{name}` may refer to; None disables expansion.
    open_run
        Return the image of a reference, or raise RefError.
    """

    def __init__(self, namespace: Mapping[str, Any] | None, open_run: Callable[[str], InputImage] | None) -> None:
        self.namespace = namespace
        self._open_run = open_run or _no_runs

    def read_item(self, one: Field, text: str, *, as_text: bool) -> Any:
        """Return the value of an expanded text; `as_text` keeps it verbatim if the type is unknown."""
        image = self.read_image(one, text)
        if image is not None:
            return image
        return text if one.type is FieldType.UNKNOWN and as_text else self.read_typed(one, text)

    def read_typed(self, one: Field, text: str) -> Any:
        """Return the value of an expanded text by the type of its field."""
        try:
            return one.read(text)
        except FieldError as error:
            if _is_several(one, text):
                unspaced = ",".join(part.strip() for part in text.split(","))
                raise FieldError(f"{error}; several values are written without quotes: {one.name}={unspaced}") from None
            if self.namespace is not None and text.startswith("{"):
                raise FieldError(f"{error}; {NAMES_ALONE.format(field=one.name)}") from None
            raise

    def read_object(self, one: Field, value: object) -> Any:
        """Return a Python or JSON value as submitted."""
        value = plain(value)
        if one.type.takes_images:
            if is_image(value):
                return input_of(value)
            if isinstance(value, str):
                self.check_not_a_file(one, value, typed=True)
                return self.read_image(one, value) or value
        return one.check(value)

    def read_image(self, one: Field, text: str) -> InputImage | None:
        """Return the image that `file:PATH` or `run:REF[0]` names; None for any other text."""
        kind, _, rest = text.partition(":")
        if not one.type.takes_images or not rest or kind not in {"file", "run"}:
            return None
        if one.type is FieldType.IMAGEUPLOAD and pattern_in(text) is not None:
            raise _several_values(one, f"{rest} may name several files")
        try:
            return open_input(rest) if kind == "file" else self._open_run(rest)
        except (ImageError, RefError):
            if one.type is FieldType.UNKNOWN:  # a prompt may begin with `file:`
                return None
            raise

    def check_not_a_file(self, one: Field, text: str, *, typed: bool) -> None:
        """Check that a text is not the bare path of an image file on this machine, which only `file:PATH` uploads.

        Raises
        ------
        FieldError
            If it is, and the server does not list an image of that name.
        """
        if one.type is FieldType.IMAGEUPLOAD:
            is_candidate = text != one.default and text not in one.options
        else:  # the field may not be an image; a typed value is always text
            is_candidate = one.type is FieldType.UNKNOWN and not typed and text.lower().endswith(tuple(IMAGE_SUFFIXES))
        if is_candidate and not text.startswith(("file:", "run:")) and names_files(text):
            quoted = "" if typed else f'; "{text}" in quotes is submitted as typed'
            raise FieldError(
                f"{one.where}: {shown(text)} is a file on this machine, not on the server. Did you mean file:{text}? "
                f"That uploads your file{quoted}"
            )

    def is_seed_word(self, one: Field, text: str, *, quoted: bool) -> bool:
        """Return True if a text is `random`, `random#N` or `each` for a seed field."""
        if not one.is_seed or not _SEED_WORD.fullmatch(text):
            return False
        # in a field of unknown type, quotes make it text (strings of a payload always have quotes)
        return one.type.is_number or (one.type is FieldType.UNKNOWN and not quoted)


def _no_runs(ref: str) -> InputImage:
    raise RefError(f"run:{ref}: images of runs are not available here")


def _several_values(one: Field, problem: str) -> FieldError:
    return FieldError(f"{one.where}: {problem}, but a run takes one value; %comflowy sweep takes several")


def _is_several(one: Field, text: str) -> bool:
    """Return True if an invalid value of a field is a range or a list of valid values."""
    if one.type in {FieldType.STRING, FieldType.IMAGEUPLOAD}:
        return False
    items = split_items(text)
    if items == [text]:
        return one.type.is_number and is_range(text)
    return all(item and (_is_readable(one, item) or (one.type.is_number and is_range(item))) for item in items)


def _is_readable(one: Field, text: str) -> bool:
    try:
        one.read(text)
    except FieldError:
        return False
    return True
