"""Find the references that begin with a text, for completion. The number of SQL statements is constant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3


MAX_WORDS = 100  # per kind; for others, the user types one more character
_LAST_CHARACTER = "\U0010ffff"


def name_words(connection: sqlite3.Connection, prefix: str) -> list[str]:
    """Return the names and the service ids that begin with a text, the newest names first.

    Parameters
    ----------
    prefix
        An empty text returns all names and no ids.
    """
    values: tuple[Any, ...] = (prefix, prefix + _LAST_CHARACTER, MAX_WORDS)
    rows = connection.execute(
        "SELECT name FROM names WHERE name >= ? AND name < ? GROUP BY name ORDER BY max(id) DESC LIMIT ?", values
    ).fetchall()
    if prefix:
        rows += connection.execute(
            "SELECT service_run_id FROM runs WHERE service_run_id >= ? AND service_run_id < ? LIMIT ?", values
        ).fetchall()
    return [row[0] for row in rows]


def number_words(connection: sqlite3.Connection, prefix: str) -> list[str]:
    """Return the numbered references (`s3`, `r41`) that begin with a text, the newest first."""
    words = []
    for letter, table in (("s", "sweeps"), ("r", "runs")):
        digits = prefix.removeprefix(letter) if prefix else ""
        if prefix and (not prefix.startswith(letter) or (digits and not digits.isdecimal())):
            continue
        sql = f"SELECT number FROM {table} WHERE ? = '' OR number LIKE ? ORDER BY number DESC LIMIT ?"  # noqa: S608 - not user input
        words += [f"{letter}{row[0]}" for row in connection.execute(sql, (digits, f"{digits}%", MAX_WORDS)).fetchall()]
    return words


def cell_words(connection: sqlite3.Connection, sweep: str, digits: str) -> list[str]:
    """Return the numbers of the cells of a sweep that begin with these digits, in ascending order."""
    sql = "SELECT number FROM cells WHERE sweep = ? AND (? = '' OR number LIKE ?) ORDER BY number LIMIT ?"
    return [str(row[0]) for row in connection.execute(sql, (sweep, digits, f"{digits}%", MAX_WORDS)).fetchall()]
