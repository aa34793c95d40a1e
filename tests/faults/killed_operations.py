"""The operations that `test_kill_points` kills, each in its own process."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from chaos import connect_patiently, open_history, use_home, wait_for

from comflowy_nb.errors import RunHeld

if TYPE_CHECKING:
    from pathlib import Path

NOTES = ["", "first", "second"]


def submit(home: Path, url: str, numbers: tuple[int, ...] = (1,)) -> None:
    """Submit requests, check their runs and download their images."""
    use_home(home)
    with connect_patiently(url) as client:
        runs = client.resume()
        for number in numbers:
            with suppress(RunHeld):
                runs.append(client.submit("wf-1", {"3::seed": number}).run)
        wait_for(runs, 60)


def sweep(home: Path, url: str) -> None:
    """Submit a sweep of three cells."""
    use_home(home)
    with connect_patiently(url) as client:
        runs = client.resume()
        client.sweep("wf-1", {"3::seed": [1, 2, 3]}, timeout=60)
        wait_for(runs, 60)


def rate(home: Path, _: str) -> None:
    use_home(home)
    from comflowy_nb import history

    image = history.find("r1[0]").image
    for rating, note in enumerate(NOTES[1:], start=3):
        image.rate(rating, note=note)


def prune(home: Path, _: str) -> None:
    use_home(home)
    from comflowy_nb import history

    history.prune(0)


def delete(home: Path, _: str) -> None:
    use_home(home)
    from comflowy_nb import history
    from comflowy_nb.errors import RefError

    with suppress(RefError):  # an earlier process has deleted it
        history.delete("r2")


def save(home: Path, path: str) -> None:
    """Save the runs of a home folder in an archive."""
    use_home(home)
    from comflowy_nb import history

    history.save(history.find("r1").run, path)


def load(home: Path, _: str) -> None:
    use_home(home)
    from comflowy_nb import history

    history.load(home.parent / "saved.zip")


def open_only(home: Path, _: str) -> None:
    """Create the history."""
    use_home(home)
    open_history(home)
