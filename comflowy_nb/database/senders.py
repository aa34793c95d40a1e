"""Which clients are sending which sweeps: `History.senders`. Any kernel can see it, and ask them to send no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from comflowy_nb.database.connection import Store

__all__ = ["Senders"]

_SWEEP = "(SELECT number FROM sweeps WHERE token = ?)"


class Senders:
    """Part of the history. Sweeps are named by their tokens.

    Parameters
    ----------
    dead
        Which of these owners are gone.
    """

    def __init__(self, store: Store, dead: Callable[[Iterable[str]], set[str]]) -> None:
        self._store = store
        self._dead = dead

    def begin(self, sweep: str, owner: str) -> None:
        """Say that an owner sends the cells of a sweep from now on; those who died at it are forgotten."""
        with self._store.read() as connection:
            rows = connection.execute("SELECT DISTINCT owner FROM senders WHERE owner <> ?", (owner,)).fetchall()
        dead = self._dead(row["owner"] for row in rows)
        with self._store.write() as connection:
            connection.executemany("DELETE FROM senders WHERE owner = ?", [(gone,) for gone in dead])
            connection.execute(
                f"INSERT OR REPLACE INTO senders (sweep, owner, stop_asked) VALUES ({_SWEEP}, ?, 0)",  # noqa: S608 - own words
                (sweep, owner),
            )

    def end(self, sweep: str, owner: str) -> None:
        """Say that an owner sends no more of it."""
        with self._store.write() as connection:
            connection.execute(f"DELETE FROM senders WHERE sweep = {_SWEEP} AND owner = ?", (sweep, owner))  # noqa: S608 - own words

    def living(self, sweep: str, *, but: str | None = None) -> set[str]:
        """The owners that are sending it now, without one."""
        with self._store.read() as connection:
            rows = connection.execute(f"SELECT owner FROM senders WHERE sweep = {_SWEEP}", (sweep,)).fetchall()  # noqa: S608 - own words
        owners = {row["owner"] for row in rows} - {but}
        return owners - self._dead(owners)

    def ask_stop(self, sweep: str) -> None:
        """Ask all that send it to send no more."""
        with self._store.write() as connection:
            connection.execute(f"UPDATE senders SET stop_asked = 1 WHERE sweep = {_SWEEP}", (sweep,))  # noqa: S608 - own words

    def is_asked(self, sweep: str, owner: str) -> bool:
        """Whether somebody asked an owner to send no more of it."""
        with self._store.read() as connection:
            row = connection.execute(
                f"SELECT stop_asked FROM senders WHERE sweep = {_SWEEP} AND owner = ?",  # noqa: S608 - own words
                (sweep, owner),
            ).fetchone()
        return row is not None and bool(row["stop_asked"])
