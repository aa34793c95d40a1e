"""The options of `%comflowy sweep` and `%comflowy run`. The options of the other commands are in command_table.py."""

from __future__ import annotations

from typing import get_args

from comflowy_nb.notebook.magic_line.option_types import (
    Option,
    duration_s,
    field_file,
    identifier,
    names_list,
    save_target,
    whole_from,
)
from comflowy_nb.status import Retry

# Also options of other commands.
AS = Option("--as", "NAME", "assign the result to this variable, and name it so in the history", identifier)
FROM = Option("--from", "REF|IMAGE", "start from the workflow and values of a run or image", names="ref")
LABEL = Option("--label", "FIELDS", "fields for the captions, separated by commas", names_list, names="fields")
OVERWRITE = Option("--overwrite", None, "replace a file with other content")

_SUBMIT = (
    AS,
    FROM,
    Option("--fresh", None, "run it again even if it has succeeded"),
    Option("--retry", "WHICH", "which unsuccessful runs to submit again, default failed", choices=get_args(Retry)),
    Option("--background", None, "return at once; the output is still updated"),
    Option("--timeout", "TIME", "wait at most 30, 30s, 5m, 2h; the run continues", duration_s),
    Option(
        "--save",
        "DIR",
        "also save copies: a folder, NAME.zip or, for one image, NAME.png",
        save_target,
        names="folder",
    ),
    LABEL,
)


RUN_OPTIONS = (
    *_SUBMIT,
    Option("--count", "N", "run it N times with different seeds", whole_from(1)),
    Option("--max-runs", "N", "with --count: permit up to N submits", whole_from(0)),
)
SWEEP_OPTIONS = (
    *_SUBMIT,
    Option("--around", "REF", "vary the numbers of a cell again, nearer to its values", names="ref"),
    Option("--x", "FIELD", "axis of the columns (the first)", names="axis"),
    Option("--y", "FIELD", "axis of the rows (the second)", names="axis"),
    Option("--z", "FIELD", "axis of several grids (the third)", names="axis"),
    Option("--table", "FILE", "one cell for each row: .csv, .tsv, .jsonl, .parquet or {df}", names="table"),
    Option("--info", "COLUMNS", "columns of the table that are not fields", names_list),
    Option("--empty", "WHAT", "meaning of an empty value in a CSV table", choices=("missing", "text")),
    Option("--lines", "FIELD=FILE", "one value for each line of a file", field_file, names="lines", repeats=True),
    Option("--zip", "AXES", "axes that vary together: cfg,steps", names_list, names="axes", repeats=True),
    Option("--where", "CONDITION", 'only these combinations: "cfg < 6 or steps > 20"', names="condition"),
    Option("--sample", "N", "only N of the combinations", whole_from(1)),
    Option("--sample-seed", "K", "another number selects another sample", whole_from(0)),
    Option("--dry-run", None, "show the plan and the grid; submit nothing"),
    Option("--max-runs", "N", "permit up to N submits", whole_from(0)),
    Option("--stop-after", "N", "stop after N failures in a row (default 3; 0: never)", whole_from(0)),
    Option("--window", "N", "at most N runs at once", whole_from(1)),
    Option("--strict", None, "raise if a cell did not succeed"),
    Option("--node", "ID", "show the images of this node"),
    Option("--image", "K", "show only the image with this index, from 0", whole_from(0)),
    Option("--export", "FILE", "write a file for comflowy-nb sweep; submit nothing", names="file"),
    Option("--pin", None, "with --export: also write the generated seeds"),
    OVERWRITE,
)
