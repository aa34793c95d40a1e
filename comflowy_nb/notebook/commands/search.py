"""The commands `runs` and `sweeps`: search earlier runs and sweeps, and list them. In `runs` a sweep is one row."""

from __future__ import annotations

import re
import textwrap
import time
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from comflowy_nb.database.process_locks import dead_owners
from comflowy_nb.database.queries.field_filters import REVIEW_NAMES, AnyOf, may_equal, read_wanted
from comflowy_nb.database.queries.search import parse_run_condition
from comflowy_nb.database.references import parse_ref
from comflowy_nb.errors import RefError, nearest_tip
from comflowy_nb.layout.review_text import mark_of
from comflowy_nb.layout.value_text import name_fields, time_text, write_value
from comflowy_nb.notebook.display.html import join, paragraph, table
from comflowy_nb.notebook.display.show import RunList, mark_shown
from comflowy_nb.notebook.display.status_line import day
from comflowy_nb.notebook.display.sweep_list import (
    counts_text,
    describe_axes,
    submit_command,
    summary_duration,
    sweeps_table,
    unfinished_line,
)
from comflowy_nb.notebook.display.sweep_status_text import cells_table, plain_sweep_line
from comflowy_nb.tracking.reviews import best_review, read_reviews
from comflowy_nb.workflow.syntax.comparisons import kind_of
from comflowy_nb.workflow.syntax.json_values import shown
from comflowy_nb.workflow.syntax.line import expand, expand_text, unquote
from comflowy_nb.workflow.syntax.ranges import is_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from comflowy_nb.database.queries.search import RunRow
    from comflowy_nb.database.queries.sweep_summaries import SweepSummary
    from comflowy_nb.library import Found
    from comflowy_nb.notebook.magic_line.request import Request
    from comflowy_nb.notebook.session import Session
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.workflow.syntax.line import Word


_INEQUALITY = re.compile(r"(?P<name>`[^`]+`|(?:\w|.*::)[^<>=!`\"']*)(?P<sign>[<>])(?P<value>[^<>=]+)")
_SIGNS = frozenset({"<", ">", "<=", ">=", "!=", "=="})
_MAX_EXAMPLES, _MAX_EXAMPLE_CHARS = 5, 28  # limits of the example values in a note about a field
DEFAULT_LIMIT = 20  # rows, without --limit
_CONSTANTS = frozenset({"true", "false", "null"})
_MAX_NAMED = 4
_MAX_AGE_S = 30 * 86400.0  # older unfinished sweeps are only in `%comflowy sweeps`


def runs(session: Session, request: Request) -> RunList:
    """List earlier runs, newest first."""
    options = request.options
    is_search = bool(request.words or request.fields or options)
    if len(request.words) == 1 and not request.fields and not options:
        named = _find_reference(session, request.ref(request.words[0]))
        if named is not None and named.sweep is not None:
            sweep = session.sweep(named.sweep)
            session.say(join(paragraph(plain_sweep_line(sweep)), cells_table(sweep)))
            return mark_shown(session, sweep.runs)
        if named is not None:
            mark = mark_of(best_review(named.run.images, read_reviews(named.run.images)).own)
            session.say(_table([_run_row(named.run, mark)]))
            return mark_shown(session, [named.run])
    words, params, where = _read_filters(request)
    history, limit = session.library.history, options.get("limit", DEFAULT_LIMIT)
    filters: dict[str, Any] = {
        "params": params,
        "where": where,
        "since": request.since,
        "status": options.get("status"),
        "workflow": options.get("workflow"),
        "limit": limit + 1,  # request one more row, to detect whether there are more
    }
    if params or where is not None or "cells" in options:
        found = session.library.runs(" ".join(words) or None, **filters)
        is_cut, found = len(found) > limit, found[:limit]
        cells = history.sweeps.cell_refs([run.token for run in found])
        reviews = read_reviews(image for run in found for image in run.images)
        content = _table(
            _run_row(run, mark_of(best_review(run.images, reviews).own), cells.get(run.token, "")) for run in found
        )
    else:
        rows = history.search_rows(" ".join(words) or None, **filters)
        is_cut, rows = len(rows) > limit, rows[:limit]
        found = [session.library.run(record) for row in rows for record in row.runs]
        content = rows_table(session, rows)
    if found:
        session.say(join(content, *([more_line("runs", limit)] if is_cut else [])))
    elif is_search and (count := history.count()):
        session.say(paragraph(*_nothing_found(session, request, count, params, where)))
    else:
        session.say(paragraph("no runs yet: %comflowy run default"))
    return mark_shown(session, found)


def more_line(command: str, limit: int) -> dict[str, str]:
    """Return the line below an incomplete list: the command that lists more."""
    return paragraph(f"the newest {limit}; there are more: {command} --limit {5 * limit} shows up to {5 * limit}")


def rows_table(session: Session, rows: Sequence[RunRow]) -> dict[str, str]:
    """Return a table of runs and sweeps: reference, status, rating, times and set values."""
    library = session.library
    summaries = library.history.sweeps.summaries([row.sweep for row in rows if row.sweep is not None])
    by_token = {summary.record.token: summary for summary in summaries}
    runs_of = [[library.run(record) for record in row.runs] for row in rows]
    reviews = read_reviews(image for runs in runs_of for run in runs for image in run.images)
    table_rows = []
    for row, runs in zip(rows, runs_of, strict=True):
        mark = mark_of(best_review((image for run in runs for image in run.images), reviews).own)
        summary = by_token.get(row.sweep or "")
        table_rows.append(_run_row(runs[0], mark) if summary is None else _sweep_row(summary, mark))
    return _table(table_rows)


# -- reading the filters --------------------------------------------------------------------------------------------


def _read_filters(request: Request) -> tuple[list[str], dict[str, Any], str | None]:
    """Return the words of the text, the values of FIELD=VALUE, and the condition.

    Raises
    ------
    UsageError
        If a condition contains spaces, or a field is set twice.
    """
    words: list[str] = []
    params: dict[str, Any] = {}
    conditions: list[str] = []
    for word in request.words:
        condition = _read_inequality(word, request)
        if condition is not None:
            conditions.append(condition)
        elif word.text in _SIGNS and not word.quoted:
            raise UsageError(f'write a condition without spaces, as cfg{word.text}3, or --where "cfg {word.text} 3"')
        else:
            words.append(request.text(word))
    for word in request.fields:
        condition = _read_comparison(word, request)
        if condition is not None:
            conditions.append(condition)
            continue
        key = word.key or ""
        if key in params:
            raise UsageError(f"{key} is set twice. For either value: {key}=A,B")
        params[key] = _read_wanted(expand(word.value or "", request.namespace), is_quoted=word.quoted)
    if "where" in request.options:
        conditions.append(request.options["where"])
    if len(conditions) > 1:
        for condition in conditions:
            parse_run_condition(condition)  # checked here so that an error contains the typed text
        conditions = [f"({condition})" for condition in conditions]
    return words, params, " and ".join(conditions) or None


def _read_wanted(value: Any, *, is_quoted: bool) -> Any:
    """Return the wanted value of a field. A Python list means alternatives, as `a,b` does."""
    if isinstance(value, list | tuple):
        return AnyOf(list(value), tuple(value))
    return read_wanted(value) if isinstance(value, str) and not is_quoted else value


def _read_inequality(word: Word, request: Request) -> str | None:
    """Parse a word such as `cfg>3`, whose value is a number. Return its condition; None for any other word."""
    found = None if word.quoted else _INEQUALITY.fullmatch(word.text)
    if found is None:
        return None
    value = expand_text(found["value"], request.namespace)
    return _condition(found["name"], found["sign"], value) if is_number(value) else None


def _read_comparison(word: Word, request: Request) -> str | None:
    """Parse a word such as `steps<=20`, `sampler_name!=euler` or `cfg==7`. Return None for FIELD=VALUE."""
    key, value = word.key or "", word.value or ""
    if key[-1:] in {"<", ">", "!"}:
        name, sign, is_quoted = key[:-1], f"{key[-1]}=", word.quoted
    elif value.startswith("=") and not word.quoted:
        name, sign = key, "=="
        value, is_quoted = unquote(value[1:])
    else:
        return None
    if not name or not (value or is_quoted):
        raise UsageError(f"invalid condition {word.raw!r}: write it as cfg>=3 or sampler_name!=euler")
    return _condition(name, sign, expand_text(value, request.namespace), is_quoted=is_quoted)


def _condition(name: str, sign: str, value: str, *, is_quoted: bool = False) -> str:
    """Return a condition in the grammar of `--where`."""
    if is_quoted or not (is_number(value) or value.lower() in _CONSTANTS):
        quote = "'" if '"' in value else '"'
        if quote in value:
            raise UsageError(f"a condition can't contain a text with both kinds of quotes: {value}")
        value = f"{quote}{value}{quote}"
    return f"`{name.strip('`')}` {sign} {value}"


# -- showing --------------------------------------------------------------------------------------------------------


def _run_row(run: Run, mark: str, cell: str = "") -> tuple[str, ...]:
    record = run.record
    names = name_fields(record.set_params)
    values = [f"{names[key]}={write_value(record.params[key])}" for key in record.set_params if key in record.params]
    status = str(record.status) if record.status.is_live or not run.error else f"{record.status}: {run.error}"
    took, queued = ("" if time_s is None else time_text(time_s) for time_s in (record.seconds, record.queued_s))
    started = day(record.created_at)
    name = record.name or ""
    head = (record.ref, cell, name, record.workflow, record.ran_on)
    return *head, status, mark, started, took, queued, " ".join(values)


def _sweep_row(summary: SweepSummary, mark: str) -> tuple[str, ...]:
    record = summary.record
    took = summary_duration(summary)
    status, started = counts_text(summary), day(record.created_at)
    name = record.name or ""
    head = (record.ref, "", name, record.workflow, record.ran_on)
    return *head, status, mark, started, took, "", describe_axes(record.spec)


def _table(rows: Iterable[tuple[str, ...]]) -> dict[str, str]:
    """Return the table. If all rows have the same service, omit the column of services."""
    rows = list(rows)
    if len({row[4] for row in rows}) == 1:
        rows = [(*row[:4], "", *row[5:]) for row in rows]
    return table(("run", "cell", "name", "workflow", "on", "status", "rating", "when", "took", "queued", "set"), rows)


def _nothing_found(
    session: Session, request: Request, count: int, params: Mapping[str, Any], where: str | None
) -> list[str]:
    """Return lines about a search without results: unknown fields, and values of another type than the field has."""
    runs_text = "1 run" if count == 1 else f"{count:,} runs"
    lines = [f"No runs match. %comflowy runs shows the latest. The history has {runs_text}."]
    history = session.library.history
    conditions = [] if where is None else [parse_run_condition(where)]
    names = dict.fromkeys([*params, *(name for condition in conditions for name in condition.names)])
    review_names = {*REVIEW_NAMES, *(history.scores.names() if names else ())}  # not names of fields
    names = dict.fromkeys(name for name in names if name not in review_names)
    matches = [match for word in request.words if not word.quoted and (match := _INEQUALITY.fullmatch(word.text))]
    known = sorted(history.field_names()) if names or matches else []
    for name in names:
        near = nearest_tip(name, [key for key in known if ("::" in key) is ("::" in name)])
        lines += [f"No run has a field {name}{near or '.'}"] if name not in known else []
    for match in matches:  # searched as text, because the value is not a number
        name = match["name"].strip("`")
        if name in known and not is_number(match["value"]):
            conditions.append(parse_run_condition(_condition(name, match["sign"], match["value"])))
            names[name] = None
    values = {name: history.known_values(name) for name in names}
    wrong = {
        name: wanted.whole if isinstance(wanted, AnyOf) else wanted
        for name, wanted in params.items()
        if values.get(name) and not any(may_equal(value, wanted) for value in values[name])
    }
    for condition in conditions:
        wrong |= condition.impossible(values)
    return [*lines, *(_type_note(name, values[name], wanted) for name, wanted in wrong.items())]


def _type_note(name: str, values: Sequence[Any], wanted: Any) -> str:
    """Return a line about a field whose values have another type than the searched value, with examples."""
    kinds = " or ".join(dict.fromkeys(map(kind_of, values)))
    texts = (textwrap.shorten(write_value(value), _MAX_EXAMPLE_CHARS, placeholder="...") for value in values)
    examples = ", ".join(list(dict.fromkeys(texts))[:_MAX_EXAMPLES])
    return f"{name} is {kinds} in all runs, such as {examples}, and can't be compared with {shown(wanted)}"


def _find_reference(session: Session, ref: Any) -> Found | None:
    """Return the sweep or the cell of a word that is a reference; None if the word is a text to search for."""
    try:
        found = session.find(ref)
        is_cell = isinstance(ref, str) and parse_ref(ref).cell is not None
    except RefError:
        return None
    return found if found.sweep is not None or is_cell else None


# -- sweeps -------------------------------------------------------------------------------------------------------


def sweeps(session: Session, request: Request) -> None:
    """List earlier sweeps, newest first."""
    options = request.options
    history, limit = session.library.history, options.get("limit", DEFAULT_LIMIT)
    found = history.sweeps.search(
        " ".join(request.text(word) for word in request.words) or None,
        where=options.get("where"),
        since=request.since,
        limit=limit + 1,
    )
    if found:
        more = [more_line("sweeps", limit)] if len(found) > limit else []
        session.say(join(sweeps_table(found[:limit]), *more))
    elif not (count := history.sweeps.count()):
        session.say(paragraph("no sweeps yet: %comflowy sweep default cfg=4..8"))
    else:
        sweeps_text = "1 sweep" if count == 1 else f"{count:,} sweeps"
        session.say(paragraph(f"No sweeps match. %comflowy sweeps shows the latest. The history has {sweeps_text}."))


def unfinished(session: Session) -> list[SweepSummary]:
    """Return the newest sweeps of the last 30 days with cells that are live or were not submitted."""
    return session.library.history.sweeps.unfinished(since=time.time() - _MAX_AGE_S, limit=_MAX_NAMED + 1)


def unfinished_lines(session: Session, found: Sequence[SweepSummary], *, only_orphaned: bool = False) -> list[str]:
    """Return a line for each unfinished sweep: the numbers of its cells, and the command that continues it.

    Parameters
    ----------
    only_orphaned
        Leave out the sweeps of other services, and the sweeps whose process is alive.
    """
    owners = {owner for summary in found for owner in summary.submitters | summary.owners}
    dead = dead_owners(session.library.locks, owners)
    lines = []
    for summary in found[:_MAX_NAMED]:
        if only_orphaned and (_is_elsewhere(session, summary) or not summary.submitters & dead):
            continue
        lines.append(unfinished_line(summary, _advice(session, summary, dead)))
    if len(found) > _MAX_NAMED and not only_orphaned:
        lines.append("more are not finished: %comflowy sweeps lists them")
    return lines


def _advice(session: Session, summary: SweepSummary, dead: set[str]) -> str:
    """Return the command that continues a sweep; empty if a live process is submitting it."""
    record = summary.record
    if summary.submitters - dead or (not summary.missing and not summary.owners & dead):
        return ""
    resume = f"%comflowy resume {record.ref}"
    if not summary.missing:
        advice = f"{resume} tracks them again"
    else:
        advice = f"run its cell again or {resume if summary.live else submit_command(record)}"
    return f"connect to {record.service}, then {advice}" if _is_elsewhere(session, summary) else advice


def _is_elsewhere(session: Session, summary: SweepSummary) -> bool:
    """Return True if the service of a sweep is not connected."""
    return session.client is None or session.client.identity != summary.record.identity
