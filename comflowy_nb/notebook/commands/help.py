"""`%comflowy help`: examples of each command, and its options from the table of commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from comflowy_nb.notebook.commands.table import COMMANDS
from comflowy_nb.notebook.display.html import preformatted
from comflowy_nb.workflow.fields import nearest

if TYPE_CHECKING:
    from comflowy_nb.notebook.commands.table import Command, Request
    from comflowy_nb.notebook.session import Session

__all__ = ["show_help"]

_START = """\
Start here:
  %comflowy connect sandbox           a server on this machine: no key, no GPU, no network
  %comflowy run default cfg=7         run a workflow; 'default' is always there
  %comflowy sweep default cfg=4..8    several values, in a grid
  %comflowy form default              fill in and run with mouse or keyboard
  %comflowy fields default            the fields that can be set

A request that has succeeded is not submitted again: its images are read from your disk. --fresh runs it again."""

_MORE = {
    "connect": """\
  %comflowy connect sandbox                       no key needed; starts by itself
  %comflowy connect cloud                         asks for your key, or takes COMFLOWY_API_KEY
  %comflowy connect comfyui                       a ComfyUI server on this machine (http://127.0.0.1:8188)
  %comflowy connect studio=https://example.com    another server, under a name that you choose
  %comflowy connect home=http://127.0.0.1:8188,http://192.168.1.5:8188    several ComfyUI servers as one
  %comflowy connect home                          the same again, in any notebook: names are remembered

A ComfyUI server behind a proxy takes its path in the address; headers it wants come from COMFLOWY_HEADERS, a JSON
{"https://host": {"Header-Name": "value"}}, and are never shown.
With COMFLOWY_TARGET set, the first run connects by itself.""",
    "login": """\
  %comflowy login

Asks for the API key of the connected service (else of the cloud), without echo. It is kept in the keyring where there
is one, and never in the notebook: no command takes a key.""",
    "logout": """\
  %comflowy logout""",
    "workflows": """\
  %comflowy workflows""",
    "workflow": """\
  %comflowy workflow add portrait 3fef208b-7d25-4d9a-8ec9-c79eb2153234    an id of the connected service
  %comflowy workflow add portrait "https://app.comflowy.com/app?id=3fef208b-7d25-4d9a-8ec9-c79eb2153234"
  %comflowy workflow add mine my-graph.json                               a graph saved in API format
  %comflowy workflow add mine image.png                                 the graph that an image carries
  %comflowy workflow add mine server:last                                 the graph that ran last on a ComfyUI server
  %comflowy workflow alias default prompt=6::text                         now: %comflowy run default prompt=...""",
    "fields": """\
  %comflowy fields default

Where a service doesn't publish its fields, paste what the editor's console prints (right-click a field twice):
  %%comflowy fields portrait
  Field_id: 3::sampler_name
  Field_info: [["euler", "heun"]]""",
    "run": """\
  %comflowy run default
  %comflowy run default cfg=7 steps=30 seed=random
  %comflowy run default 6::text="a glass bottle, purple galaxy" --as bottle
  %comflowy run --from bottle cfg=4
  r = %comflowy run default seed={my_seed}

  %%comflowy run default
  6::text: a photo of a bottle #1, "red" and 'blue'
  cfg: 7

FIELD is 3::cfg; cfg if only one field has this name; an alias; or all::seed for every field of that name.
Quote a text with spaces on the line. In the body below %% everything after `FIELD: ` is the text.
Quote a text that ends in ?, as in 6::text="who is there?": a line that ends in ? shows the help of IPython.
{name} is the value of a Python variable, {{name}} the text {name}. seed=random generates a new seed each time.
r1 is the reference of a run: %comflowy show r1. A final ; hides the return value, never the images.
An interrupt (the stop button) cancels the run if the service can.
  %comflowy run default cfg=7 --count 4      four times, each with another seed""",
    "sweep": """\
  %comflowy sweep default cfg=2..8..2 sampler_name=euler,heun seed=7 --as bottles
  %comflowy sweep default 6::text="a bottle"||"a vase" seed=random#3
  %comflowy sweep --from bottles cfg=2..10..2        the same sweep with more values

  %%comflowy sweep default --as night --x cfg --y sampler_name --z 6::text
  cfg: 4..8
  sampler_name: [euler, heun, dpmpp_2m]
  6::text: {day: "beautiful scenery, glass bottle, noon", night: "the same at night, stars"}
  seed: random

The first field with several values makes the columns, the second the rows, each further one more grids.
2..8..2 is 2 4 6 8; 4..8 has steps of 1; 0..1#5 is five values. Separate texts by ||, all other values by commas.
seed=random is one seed for all cells, random#3 an axis of three seeds, each one per cell. They are kept until --fresh.
In a body also:
  look: {soft: {cfg: 4, sampler_name: euler}, crisp: {cfg: 8, sampler_name: heun}}      several fields at once
  6::text: {in: "a glass bottle at sea", replace: {bottle: [bottle, vase]}}             words of a text

It shows its plan first. Cells that have succeeded are not submitted again, so running the cell again continues an
interrupted sweep, and a longer range submits only the new cells. s1 is the sweep, s1.7 the run of its seventh cell:
  %comflowy show s1      %comflowy show s1.7      %comflowy save s1 DIR      %comflowy cancel s1""",
    "form": """\
  %comflowy form default
  %comflowy form default cfg=7 seed=random --as bottle     starts with these values
  %comflowy form --from r41                                with those of a run, or of an image: --from photo.png
  %comflowy form portrait 3::steps=20 6::text="a cat"      with unknown fields: those you name

Run submits the values that you set or changed, without blocking the kernel. Stop cancels the runs of the form. Each run
keeps the seed, generates one, or counts up. The strip shows every run and its changes: click one to restore its values;
mark two or more to compare them. Copy as cell copies the %%comflowy run cell.
In Python: bottle.params, bottle.set({"cfg": 4}), bottle.run(), bottle.runs, bottle.cell(), bottle.close();
comflowy_nb.form("default", {"steps": (1, 30), "sampler_name": ["euler", "heun"]}) makes one with these choices.""",
    "runs": """\
  %comflowy runs
  %comflowy runs galaxy                      a text in the values
  %comflowy runs cfg=7 --since 30d --status success
  %comflowy runs s3                          the cells of a sweep""",
    "show": """\
  %comflowy show r41           by number
  %comflowy show bottle        by the name set with --as
  %comflowy show last          this kernel's newest; last~1 the one before
  %comflowy show r41[0]        its first image;  r41:9[0] the first of node 9
  %comflowy show r40 r41       side by side
  %comflowy show s3            a sweep as a grid, a large one with --page 2;  s3.12 a cell""",
    "compare": """\
  %comflowy compare r41 r43                     two images under a slider, with their differences above
  %comflowy compare r41[0] r41[1] s1.7 bottle   2 to 9 of them: runs, images of runs, cells of sweeps, names
  %comflowy compare r41 photo.png {image}       files, and Python's images and arrays
  %comflowy compare r41 r43 --mode difference
  %comflowy compare r41 r43 --save why.html     also as one HTML page that works offline

A run with several images means its first. With the comparison in focus: 1 to 4 (or s b g d) choose the mode,
arrows move the slider (Shift in larger steps, Home, End), + - 0 zoom, arrows move a zoomed image, space stops the
blinking. r = %comflowy compare r41 r43 returns it: r.mode, r.position, r.left, r.right, r.save("why.html").""",
    "save": """\
  %comflowy save r41 my-images       copies with readable names; PNG files contain their parameters
  %comflowy save s3 my-sweep           all images of a sweep, a contact sheet and a JSON of everything
  %comflowy save s3 my-sweep.zip       the same as a zip file
  %comflowy save r41[0] boat.png       one image under this name""",
    "cancel": """\
  %comflowy cancel r41
  %comflowy cancel last
  %comflowy cancel s3          submits no more, and cancels its runs""",
    "resume": """\
  %comflowy resume             all runs of this service that are not followed any more
  %comflowy resume r41
  %comflowy resume s3          its runs; run the cell of the sweep again to submit the others""",
    "help": """\
  %comflowy help run""",
}


def show_help(session: Session, request: Request) -> None:
    """Help on everything, or on one command."""
    if not request.words:
        session.say(preformatted(_all()))
        return
    name = request.words[0].text
    command = COMMANDS.get(name)
    if command is None:
        near = nearest(name, COMMANDS)
        tip = f"; nearest: {', '.join(near)}" if near else ""
        raise UsageError(f"unknown command {name!r}{tip}. %comflowy help lists them")
    session.say(preformatted(_one(command)))


def _all() -> str:
    width = max(len(name) for name in COMMANDS)
    listed = [f"  {name.ljust(width)}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join([_START, "", "Commands:", *listed, "", "%comflowy help run explains one of them."])


def _one(command: Command) -> str:
    lines = [f"%comflowy {command.usage}", f"  {command.summary}", "", _MORE[command.name]]
    if command.options:
        heads = [f"  {option.name}{f' {option.value}' if option.value else ''}" for option in command.options]
        width = max(len(head) for head in heads)
        lines += ["", "Options:"]
        lines += [f"{head.ljust(width)}  {option.help}" for head, option in zip(heads, command.options, strict=True)]
    return "\n".join(lines)
