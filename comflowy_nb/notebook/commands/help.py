"""`%comflowy help`: examples of each command, and its options from the table of commands.

The lines of the text have at most 80 columns.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from comflowy_nb.notebook.display.html import columns_bundle
from comflowy_nb.notebook.magic_line.command_table import COMMANDS, find_command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from comflowy_nb.notebook.magic_line.option_types import Command
    from comflowy_nb.notebook.magic_line.request import Request
    from comflowy_nb.notebook.session import Session


_COLUMNS = 80

_START = """\
Start here:
  %comflowy connect sandbox         a server on this machine: no key, no GPU
  %comflowy run default cfg=7       run a workflow; 'default' always exists
  %comflowy sweep default cfg=4..8  several values, in a grid
  %comflowy form default            fill in and run with mouse or keyboard
  %comflowy fields default          the fields that can be set

A request that has succeeded is not submitted again: its images are read from
your disk. --fresh runs it again.
"""

# Examples and explanations, for commands whose usage and options are not sufficient.
_MORE = {
    "connect": """\
  %comflowy connect sandbox       no key needed; starts automatically
  %comflowy connect cloud         asks for your key, or uses COMFLOWY_API_KEY
  %comflowy connect comfyui       a ComfyUI server: http://127.0.0.1:8188
  %comflowy connect studio=https://example.com    a name for another server
  %comflowy connect studio        the saved name, in any notebook
  %comflowy connect home=http://127.0.0.1:8188,http://192.168.1.5:8188
                                  spread runs over several servers

For a ComfyUI server behind a proxy, the address contains its path. Headers
that the proxy requires come from COMFLOWY_HEADERS, a JSON object
{"https://host": {"Header-Name": "value"}}, and are never shown.
If COMFLOWY_TARGET is set, the first run connects automatically.""",
    "login": """\
Asks for the API key of the connected service, or of the cloud if no service is
connected. Your personal API key is in the settings on the home page of
https://app.comflowy.com. The key is stored in the keyring if there is one, and
never in the notebook: no command accepts a key. In scripts, set the environment
variable COMFLOWY_API_KEY.""",
    "webhooks": """\
With webhooks, a service posts the progress and the end of a run to an address,
so runs are polled rarely. The sandbox calls this kernel directly. A hosted
service needs a public address that leads to this kernel:
  %comflowy connect cloud --webhooks https://hub.example.org/user/ann
                                  this Jupyter server, with its prefix
  %config Comflowy.callback_url = "https://hub.example.org/user/ann"
                                  the same for each connection; in scripts
                                  COMFLOWY_CALLBACK_URL

The Jupyter server passes events to the kernel if its extension is enabled. Type
this command in a terminal, then restart the server:
  jupyter server extension enable comflowy_nb

A tunnel or a proxy can also lead to this kernel without the Jupyter server. It
needs a fixed port:
  %config Comflowy.callback_port = 8765
  %comflowy connect cloud --webhooks https://my-tunnel.example.org

The command posts an event to the public address. It shows whether and how the
event arrived, and what to do if it did not. Events change only the display: the
status of a run is always checked at the service.""",
    "workflow": """\
  %comflowy workflow add portrait 3fef208b-7d25-4d9a-8ec9-c79eb2153234
                                  an id of the connected service
  %comflowy workflow add portrait "https://app.comflowy.com/app?id=3fef208b"
                                  the address of the editor
  %comflowy workflow add mine my-graph.json   a file of ComfyUI
  %comflowy workflow add mine image.png       the graph in an image
  %comflowy workflow add mine server:last     the last graph of a ComfyUI server
  %comflowy workflow alias default prompt=6::text
                                  now: %comflowy run default prompt=...
  %comflowy workflow export mine mine.json    its graph, in ComfyUI's API format
  %comflowy workflow remove portrait          its runs stay in the history

A file, or an image, as ComfyUI's editor saves it is converted to API format
while a ComfyUI server is connected.""",
    "fields": """\
  %comflowy fields default

If a service does not publish the fields of a workflow, right-click a field in
the editor twice, and paste the output of the browser's console:
  %%comflowy fields portrait
  Field_id: 3::sampler_name
  Field_info: [["euler", "heun"]]""",
    "run": """\
  %comflowy run default
  %comflowy run default cfg=7 steps=30 seed=random
  %comflowy run default 6::text="a glass bottle, purple galaxy" --as bottle
  %comflowy run default cfg=7 --count 4      four runs with different seeds
  %comflowy run --from bottle cfg=4
  %comflowy run portrait --from image.png    the settings of an image of A1111,
                                  SwarmUI, InvokeAI, NovelAI or Fooocus
  r = %comflowy run default seed={my_seed}

  %%comflowy run default
  6::text: a photo of a bottle #1, "red" and 'blue'
  cfg: 7

FIELD is 3::cfg; cfg if only one field has this name; an alias; or all::seed
for every field of that name. Quote text with spaces on the line. In the body
of a %% cell, everything after `FIELD: ` is the text.
Quote text that ends in ?, as in 6::text="who is there?": IPython shows its own
help for a line that ends in ?
{name} is the value of a Python variable, {{name}} the text {name}. seed=random
generates a new seed each time. r1 is the reference of a run: %comflowy show r1
A final ; hides the return value, never the images. An interrupt (the stop
button) cancels the run if the service can.""",
    "sweep": """\
  %comflowy sweep default cfg=2..8..2 sampler_name=euler,heun seed=7 --as looks
  %comflowy sweep default 6::text="a bottle"||"a vase" seed=random#3
  %comflowy sweep --from looks cfg=2..10..2    the same sweep with more values
  %comflowy sweep default --table prompts.csv  one cell for each row
  %comflowy sweep bottles.yaml                 a file that --export has written

  %%comflowy sweep default --as night --x cfg --y sampler_name --z 6::text
  cfg: 4..8
  sampler_name: [euler, heun, dpmpp_2m]
  6::text: {day: "a glass bottle, noon", night: "a glass bottle, stars"}
  seed: random

The first field with several values defines the columns, the second the rows;
each further field adds grids. 2..8..2 is 2 4 6 8; 4..8 has steps of 1; 0..1#5
is five values. Separate texts by ||, all other values by commas.
seed=random is one seed for all cells, seed=random#3 an axis of three seeds,
seed=each one seed per cell. The same sweep keeps its seeds; --fresh generates
new ones.
A body can also set several fields at once, or replace words of a text:
  look: {soft: {cfg: 4, sampler_name: euler}, crisp: {cfg: 8}}
  6::text: {in: "a bottle at sea", replace: {bottle: [bottle, vase]}}

The columns of a table (.csv, .tsv, .jsonl, .parquet or {df}) are fields. A
value is never split. For an empty value, the row uses the value on the line
(seed=each: a separate seed), or the value in the workflow. The column `label`
has the headings of the rows; --info mood keeps a column that is not a field,
and --label mood writes it below the headings. Every row is combined with the
values of the other axes. --lines 6::text=prompts.txt makes an axis of the lines
of a file. --zip cfg,steps makes one axis of two. --where "cfg < 6 or mood =
warm" keeps only those combinations, --sample 40 only 40 of them. An axis with
labels is compared by its labels.

--around s1.7 varies the numbers of s1.7 again, at half the distance to its
neighbours, and keeps its other values and its image. It prints the line of this
sweep, and the axes that stay fixed:
  %comflowy sweep --around s1.7              all axes that are numbers
  %comflowy sweep --around s1.7 cfg          only this one
  %comflowy sweep --around r41 cfg steps seed=random#2    around a run

A sweep shows its plan first. Cells that have succeeded are not submitted again:
run the notebook cell again to continue an interrupted sweep, or extend a range
to submit only the new cells. s1 is the sweep, s1.7 the run of its seventh cell:
  %comflowy show s1        %comflowy save s1 DIR
  %comflowy show s1.7      %comflowy cancel s1""",
    "form": """\
  %comflowy form default
  %comflowy form default cfg=7 seed=random --as bottle    with these values
  %comflowy form --from r41             start with the values of a run
  %comflowy form --from photo.png       start with the values of an image
  %comflowy form portrait 3::steps=20 6::text="a cat"
                                        set fields that are not listed

Run submits the values that you set or changed, and does not block the kernel.
Stop cancels the runs of the form. Each run keeps the seed, generates one, or
adds 1. The strip shows every run and its changes: click one to restore its
values; mark two or more to compare them. Copy as cell copies the %%comflowy run
cell.
In Python: bottle.params, bottle.set({"cfg": 4}), bottle.run(), bottle.runs,
bottle.cell(), bottle.close(). A form with other ranges and choices:
  comflowy_nb.form("default", {"steps": (1, 30), "cfg": [4, 8]})""",
    "sweeps": """\
  %comflowy sweeps
  %comflowy sweeps bottle --since 30d    a text in the name, axes and values
  %comflowy sweeps --where "rating >= 4" with a cell of such a rating
  %comflowy show s3                      its grid
  %comflowy resume s3                    if its kernel was killed

%comflowy without a command lists the sweeps that are not finished.""",
    "runs": """\
  %comflowy runs
  %comflowy runs galaxy        runs with this text in a value
  %comflowy runs cfg=7 --since 30d --status success
  %comflowy runs cfg=2..5 sampler_name=euler,heun
  %comflowy runs cfg>3 steps<=20 sampler_name!=euler
  %comflowy runs --where "cfg < 6 or steps > 20"
  %comflowy runs --where "rating >= 4 or note contains sky"
  %comflowy runs s3            the cells of a sweep
  %comflowy runs mood=warm     cells by a column or a label of their table

cfg=2..5 are the values from 2 to 5; commas separate alternatives. A run must
match all words, values and conditions. If a run did not set a field, the value
in its workflow counts. A run without the field, or with a value of another
type, does not match. The whole text must be equal; to find a part of it, use
--where "text contains cat". In --where, the names rating, rated, rejected, note
and those of scores belong to one image of a run. For a field with such a name,
add its node: 3::rating. Without fields and conditions, the runs of a sweep are
one row; --cells lists them.""",
    "show": """\
  %comflowy show r41           by number
  %comflowy show bottle        by the name set with --as
  %comflowy show last          this kernel's newest; last~1 the one before
  %comflowy show r41[0]        its first image; r41:9[0] the first of node 9
  %comflowy show r40 r41       side by side
  %comflowy show s3            a sweep as a grid; s3.12 is one of its cells
  %comflowy show s3 --label mood  with a column of its table in the headings
  %comflowy show r41 --refetch    fetch originals: pruned, damaged""",
    "compare": """\
  %comflowy compare r41 r43               two images under a slider
  %comflowy compare r41[0] r41[1] s1.7 bottle    2 to 9 images
  %comflowy compare r41 photo.png {image}        files and image variables
  %comflowy compare r41 r43 --mode difference
  %comflowy compare r41 r43 --save why.html      also as one HTML page

For a run with several images, its first one is compared. While the comparison
has the focus: s b g d choose the mode (slider, blink, side by side,
difference); arrows move the slider (Shift in larger steps, Home, End) or a
zoomed image; + - f zoom; space stops the blinking.
r = %comflowy compare r41 r43 returns the comparison: r.mode, r.position,
r.left, r.right, r.save("why.html").""",
    "explore": """\
  %comflowy explore s1            one large image, and a control for each axis
  %comflowy explore s1 --x cfg --y steps    two axes as a grid
  %comflowy explore s1 s2         the sweep is one more axis
  %comflowy explore --since 7d --where "rating >= 4"    runs of a week
  e = %comflowy explore s1        for Python: e.x, e.y, e.where ...

A connection is needed only to run missing or failed cells. Keys: the arrows
step along the axes, Enter enlarges, 1-5 rates, 0 clears the rating, x rejects,
u undoes, m marks, ? shows all keys.
e.current is the cell shown, e.selected has the marked cells, and e.visible the
cells that match the filters. Other commands accept them:
  %comflowy compare {e.selected}
  %comflowy save {e.selected} winners""",
    "rate": """\
  %comflowy rate r41 4             a run with one image
  %comflowy rate s1.7[1] 5 --note "best sky"    one of several images
  %comflowy rate s1.2 s1.3 --reject
  %comflowy rate s1.7 0            remove the rating and the rejection
  %comflowy rate s1.7 --note ""    remove the note

The history stores the ratings of images. A run or a cell of a sweep shows its
best rating. Grids and lists show marks (\N{BLACK STAR}4; \N{MULTIPLICATION SIGN} is rejected). To find them:
  %comflowy runs --where "rating >= 4"
  %comflowy runs --where "rated and not rejected"
  %comflowy runs --where "note contains sky"
%comflowy prune keeps the originals of images with a rating or a note.
In Python: run.images[0].rate(4, note="best sky"), image.rating, cell.rating.""",
    "save": """\
  %comflowy save r41 my-images      readable names; PNG files contain the params
  %comflowy save s3 my-sweep        the images of a sweep, a contact sheet, JSON
  %comflowy save r41[0] boat.png    one image under this name
  %comflowy save s3 boats.zip       an archive for another person, who loads it
  %comflowy save s3 boats.html      the explorer as one page without a network
  %comflowy save s3 grid.png        the labelled grid; also .pdf
  %comflowy save s3 cfg.gif --along cfg    an animation; also .webp

Before it writes, the command shows the contents and the size of the file.
--without prompts,metadata leaves parts out of an archive, a page or a figure.""",
    "load": """  %comflowy load boats.zip          runs, images and ratings of an archive
  %comflowy load ratings.json --by Ann    the ratings of a visitor of a page

Loaded runs can be shown, explored and compared, and --from starts from them.
They are never submitted, checked or downloaded.""",
    "cancel": """\
  %comflowy cancel r41
  %comflowy cancel last
  %comflowy cancel s3       stops the sweep and cancels its runs""",
    "resume": """\
  %comflowy resume          all unfinished runs that no kernel tracks
  %comflowy resume r41
  %comflowy resume s3       the runs of a sweep
  %comflowy sweep --from s3   also submits its cells that have no run yet""",
    "disk": """\
  %comflowy disk

Shows the number and size of originals, thumbnails and other files, the largest
workflows, and what `prune --older 30d` would free. In Python:
comflowy_nb.history.disk()""",
    "prune": """\
  %comflowy prune --older 60d --dry-run    show what would be removed
  %comflowy prune --older 60d
  %comflowy prune --older 60d --all --yes

Removes the original images of runs that ended before this time. The runs and
their thumbnails are kept: grids show them, and the same request submits
nothing. %comflowy show r41 --refetch fetches an original again, if the service
still has it. Without --all, originals with a name (--as), a rating or a note,
and inputs of other runs are kept. Images without a thumbnail, videos, sounds
and texts, and all files of unfinished runs are always kept.""",
    "delete": """\
  %comflowy delete r41
  %comflowy delete s3         the sweep, and the runs that were submitted for it
  %comflowy delete s3.12      the run of one cell
  %comflowy delete s3 --dry-run      show what would be deleted
  %comflowy delete r41 r42 --yes

Removes runs from the history, with images and thumbnails. The same request
would run again, and cost again. With a sweep, these runs are kept: runs that
another sweep shows, runs with a name, runs that were submitted outside of the
sweep, and runs that the service may have accepted (unknown, lost).""",
}


def show_help(session: Session, request: Request) -> None:
    """Show the list of commands, or the help of one command."""
    words = request.words
    session.say(columns_bundle(_explain_command(find_command(words[0].text)) if words else _list_commands()))


def _list_commands() -> str:
    listed = _columns({name: command.summary for name, command in COMMANDS.items()})
    return "\n".join([_START, "Commands:", *listed, "", "%comflowy help COMMAND explains one of them."])


def _explain_command(command: Command) -> str:
    lines = [f"%comflowy {usage.strip()}" for usage in command.usage.split(" or ")]
    lines += ["", *textwrap.wrap(command.summary, _COLUMNS)]
    if command.name in _MORE:
        lines += ["", _MORE[command.name]]
    if command.options:
        heads = [f"{option.name} {option.value or ''}".rstrip() for option in command.options]
        texts = [f"{option.help} ({option.accepted})" if option.choices else option.help for option in command.options]
        lines += ["", "Options:", *_columns(dict(zip(heads, texts, strict=True)))]
    return "\n".join(lines)


def _columns(rows: Mapping[str, str]) -> list[str]:
    """Return lines with the keys on the left and the texts, wrapped, on the right."""
    width = max(map(len, rows)) + 4
    return [
        textwrap.fill(text, _COLUMNS, initial_indent=f"  {head}".ljust(width), subsequent_indent=" " * width)
        for head, text in rows.items()
    ]
