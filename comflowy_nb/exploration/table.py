"""Cells and runs of an exploration as a table with thumbnails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import SettingsError
from comflowy_nb.sweeps.cell import SweepCell, first_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import pandas as pd

    from comflowy_nb.tracking.run import Images, Run


@dataclass(frozen=True, slots=True)
class RunRow:
    """Adapter that gives a run the attributes of a cell."""

    run: Run

    @property
    def ref(self) -> str:
        return self.run.ref

    @property
    def labels(self) -> Mapping[str, str]:
        return {}

    @property
    def info(self) -> Mapping[str, str]:
        return {}

    @property
    def params(self) -> Mapping[str, Any]:
        return self.run.params

    @property
    def status_text(self) -> str:
        return str(self.run.status)

    @property
    def error(self) -> str | None:
        return self.run.error

    @property
    def images(self) -> Images:
        return self.run.images

    @property
    def first_image(self) -> Path | None:
        return first_path(self.run.images)


def dataframe_of(items: Iterable[SweepCell | Run]) -> pd.DataFrame:
    """Return a row for each cell or run; see `Sweep.to_dataframe`.

    Raises
    ------
    SettingsError
        If pandas is not installed.
    """
    try:
        from comflowy_nb.sweeps.dataframe import to_dataframe  # noqa: PLC0415 - loads pandas
    except ModuleNotFoundError as error:
        if error.name != "pandas":
            raise
        raise SettingsError("a table needs pandas: pip install 'comflowy_nb[dataframe]'") from error
    return to_dataframe([item if isinstance(item, SweepCell) else RunRow(item) for item in items])
