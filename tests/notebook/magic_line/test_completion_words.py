"""Words that completion offers from the history and the disk, with few SQL statements and file accesses."""

from __future__ import annotations

import sys
import time

import IPython
import pytest
from completing import completions_at
from history_fixtures import each_connection

from comflowy_nb.library import open_library
from comflowy_nb.notebook.magic_line.completion_words import file_words, split_unfinished

# In a terminal, IPython 7 passes only the line to a matcher, and it replaces a word only after its last `:` or `=`.
AFTER_IPYTHON_7 = pytest.mark.skipif(IPython.version_info[0] < 8, reason="needs the matchers of IPython 8")

RUNS = 10_000
FILES = 5_000


@pytest.mark.parametrize(
    ("text", "words", "fragment"),
    [
        ("run default ", ["run", "default"], ""),
        ("run default cf", ["run", "default"], "cf"),
        ('run default text="a b', ["run", "default"], 'text="a b'),
        ('run default text="a b" c', ["run", "default", 'text="a b"'], "c"),
        ('run default text="say "hi"!" c', ["run", "default", 'text="say "hi"!"'], "c"),
        ("run default text=don't c", ["run", "default", "text=don't"], "c"),
        ('sweep default text="a b"||"c d', ["sweep", "default"], 'text="a b"||"c d'),
        ("show 'a b", ["show"], "'a b"),
        ("", [], ""),
        ("  ", [], ""),
    ],
)
def test_an_unfinished_line_is_split_into_words(text, words, fragment):
    assert split_unfinished(text) == (words, fragment)


@pytest.fixture
def working_folder(tmp_path, monkeypatch):
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("ketch.png", "key.txt", "kelp.JPG", "key2.txt", "key10.txt", ".hidden.png", "my boat.png", "t.csv"):
        (folder / name).touch()
    (folder / "keep").mkdir()
    (folder / "keep" / "one.png").touch()
    return folder


def test_files_are_completed_by_the_beginning_of_their_path(working_folder):
    assert file_words("ke", None) == ["keep/", "kelp.JPG", "ketch.png", "key2.txt", "key10.txt", "key.txt"]
    assert file_words("ke", {".png", ".jpg"}) == ["keep/", "kelp.JPG", "ketch.png"]
    assert file_words("keep/", {".png"}) == ["keep/one.png"]
    assert file_words("", frozenset()) == ["keep/"]
    assert file_words(".h", None) == [".hidden.png"]
    assert file_words(f"{working_folder}/keep/o", None) == [f"{working_folder}/keep/one.png"]
    assert file_words("none/x", None) == []
    assert file_words("a\0b", None) == []


def test_files_of_images_tables_lines_and_folders(shell, working_folder):
    """`image=file:ke` completed nothing, and took 16.9 s once."""
    assert completions_at(shell, "%comflowy run img2img image=", "file:ke") == [
        "file:keep/",
        "file:kelp.JPG",
        "file:ketch.png",
    ]
    assert completions_at(shell, "%comflowy sweep img2img image=file:ketch.png||", "file:kel") == ["file:kelp.JPG"]
    assert completions_at(shell, "%comflowy run --from ", "ket") == ["ketch.png"]
    assert completions_at(shell, "%comflowy run --from=", "ket") == ["ketch.png"]
    assert completions_at(shell, "%comflowy sweep default --table ", "t") == ["t.csv"]
    assert completions_at(shell, "%comflowy sweep default --lines 6::text=", "key1") == ["key10.txt"]
    assert completions_at(shell, "%comflowy sweep default --lines=6::text=", "key1") == ["key10.txt"]
    assert completions_at(shell, "%comflowy save r1 ", "k") == ["keep/"]
    assert completions_at(shell, "%comflowy run default --save ", "k") == ["keep/"]
    assert completions_at(shell, "%comflowy compare ", "ket") == ["ketch.png"]


@AFTER_IPYTHON_7
def test_files_in_a_body(shell, working_folder):
    assert completions_at(shell, "%%comflowy run img2img\nimage: ", "file:kel") == ["file:kelp.JPG"]
    assert completions_at(shell, "%%comflowy run img2img\nimage: ", "file:my b") == ["file:my boat.png"]


@AFTER_IPYTHON_7
def test_a_file_with_a_space_is_quoted(shell, working_folder):
    assert completions_at(shell, "%comflowy run img2img image=", "file:my") == ['"file:my boat.png"']
    assert completions_at(shell, '%comflowy run img2img image="', "file:my b") == ["file:my boat.png"]
    assert completions_at(shell, '%comflowy sweep img2img image=file:ketch.png||"', "file:my b") == ["file:my boat.png"]
    assert completions_at(shell, "%comflowy sweep img2img image=file:ketch.png||", "file:my") == ['"file:my boat.png"']


def test_variables_after_a_brace(shell):
    shell.run_cell("boats, boxes, _own = 1, 2, 3")
    assert completions_at(shell, "%comflowy run default cfg=", "{bo") == ["{boats}", "{boxes}"]
    assert completions_at(shell, "%comflowy show ", "{boa") == ["{boats}"]
    assert completions_at(shell, "%comflowy sweep default --table ", "{box") == ["{boxes}"]
    names = completions_at(shell, "%comflowy run default cfg=", "{")
    assert "{boats}" in names
    assert not {"{_own}", "{In}", "{exit}"} & set(names)


def test_names_cells_and_images_of_the_history(sandbox, shell):
    """`show loo` completed nothing, although a sweep was named `looks`."""
    made = sandbox("%comflowy sweep default 5::width=64 5::height=64 steps=2 cfg=31,32 seed=7302 --as looks")
    assert made.error is None, made.error
    ref, run = made.value.ref, made.value.cells[0].run
    assert completions_at(shell, "%comflowy show ", "loo") == ["looks"]
    assert completions_at(shell, "%comflowy compare r1 ", "loo") == ["looks"]
    assert completions_at(shell, "%comflowy sweep --from ", "loo") == ["looks"]
    assert completions_at(shell, "%comflowy runs ", "loo") == ["looks"]
    assert completions_at(shell, "%comflowy save ", "loo") == ["looks"]
    assert completions_at(shell, "%comflowy show ", "looks.") == ["looks.1", "looks.2"]
    assert completions_at(shell, "%comflowy show ", f"{ref}.2") == [f"{ref}.2"]
    assert completions_at(shell, "%comflowy show ", f"{run.ref}[") == [f"{run.ref}[0]"]
    assert completions_at(shell, "%comflowy show ", f"{run.ref}:") == [f"{run.ref}:9[0]"]
    assert completions_at(shell, "%comflowy run img2img image=", "run:loo") == ["run:looks"]
    assert completions_at(shell, "%comflowy run img2img image=", "run:looks.1[") == ["run:looks.1[0]"]
    assert completions_at(shell, "%comflowy sweep --from looks ", "samp") == ["sampler_name="]
    assert completions_at(shell, "%comflowy sweep --from looks sampler_name=", "he") == ["heun"]
    assert "cfg=" in completions_at(shell, "%comflowy runs ", "cf")
    assert "31" in [word.removesuffix(".0") for word in completions_at(shell, "%comflowy runs cfg=", "31")]
    service_run_id = run.record.service_run_id
    assert service_run_id in completions_at(shell, "%comflowy show ", service_run_id[:8])


def test_the_options_of_new_commands(shell):
    assert completions_at(shell, "%comflowy sweeps ", "--") == ["--limit", "--since", "--where"]
    assert {"--where", "--cells"} <= set(completions_at(shell, "%comflowy runs ", "--"))
    assert completions_at(shell, "%comflowy sweep default --lines 6::text=a.txt ", "--li") == ["--lines"]
    assert completions_at(shell, "%comflowy sweep default --empty ") == ["missing", "text"]
    assert completions_at(shell, "%comflowy sweep default cfg=1,2 steps=3,4 --zip ", "cfg,st") == ["cfg,steps"]


def test_a_line_without_a_completion_is_not_passed_to_jedi(shell):
    """Completion took seconds: IPython passed the line to jedi, which parses Python only."""
    assert completions_at(shell, "%comflowy show ", "zebra") == ["zebra"]


@pytest.fixture
def large(shell, home, tmp_path, monkeypatch):
    """Create a history of 10,000 runs, of which each is a cell and has a name, and a folder of 5,000 files."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"photo{number}.png").touch()
    monkeypatch.chdir(folder)
    history = open_library().history
    numbers = range(RUNS)
    with each_connection(history, lambda _: None), history._store.write() as connection:
        connection.executemany(
            "INSERT INTO runs (token, identity, origin, service, workflow, params, set_params, key, status, owner, "
            "created_at, service_run_id, name, sweep) "
            "VALUES (?, 'i', 'o', 's', 'w', ?, '[]', ?, 'success', 'x', ?, ?, ?, ?)",
            [(f"t{n}", f'{{"3::cfg":{n}}}', f"k{n}", n, f"id{n}", f"name{n}", f"w{n // 100}") for n in numbers],
        )
        connection.executemany(
            "INSERT INTO names (name, token) VALUES (?, ?)", [(f"name{n}", f"t{n}") for n in numbers]
        )
        connection.executemany(
            "INSERT INTO sweeps (token, identity, origin, service, workflow, key, spec, fresh, created_at) "
            "VALUES (?, 'i', 'o', 's', 'w', ?, '{}', 0, 1)",
            [(f"w{n}", f"k{n}") for n in range(RUNS // 100)],
        )
        connection.executemany(
            "INSERT INTO cells (sweep, number, at, params, key, run) VALUES (?, ?, '[0]', '{}', 'k', ?)",
            [(f"w{n // 100}", n % 100 + 1, f"t{n}") for n in numbers],
        )
    return history


class FolderReads:
    """Counts the reads of folders while `count` is a number. An audit hook can't be removed: one serves all tests."""

    def __init__(self):
        self.count = None
        sys.addaudithook(self._see)

    def _see(self, event, _):
        if self.count is not None and event == "os.scandir":
            self.count += 1


@pytest.fixture(scope="module")
def folder_reads():
    return FolderReads()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "count"),
    [
        (("%comflowy show ", ""), 301),
        (("%comflowy show ", "name99"), 100),
        (("%comflowy show ", "r12"), 100),
        (("%comflowy show ", "s5."), 100),
        (("%comflowy show ", "r777["), 1),
        (("%comflowy show ", "loo"), 1),
        (("%comflowy run --from ", "ph"), 200),
        (("%comflowy run default image=", "file:photo12"), 111),
        (("%comflowy run default image=", "file:ke"), 1),
        (("%comflowy sweep default --table ", "ph"), 1),
        (("%comflowy sweep default --lines 6::text=", "photo499"), 11),
        (("%comflowy runs cfg=", "99"), 100),
        (('%comflowy runs --where "cfg < 5 and ', "3::c"), 1),
        (('%comflowy runs --where "cfg in (', "99"), 100),
    ],
)
def test_a_large_history_and_a_large_folder_are_read_little(shell, large, folder_reads, typed, count):
    """At most eight statements, few steps of SQLite, and one read of one folder: under 100 ms on an idle machine."""
    completions_at(shell, *typed)  # loads what is needed
    statements: list[str] = []
    thousands: list[int] = []

    def watch(connection):
        connection.set_trace_callback(statements.append)
        connection.set_progress_handler(lambda: thousands.append(1), 1000)

    with each_connection(large, watch):
        folder_reads.count = 0
        began_s = time.process_time()
        found = completions_at(shell, *typed)
        took_s = time.process_time() - began_s
        read, folder_reads.count = folder_reads.count, None
    assert len(found) == count
    assert len([text for text in statements if text.startswith("SELECT")]) <= 8
    assert len(thousands) <= 300
    assert read <= 1
    assert took_s < 2, "a generous bound"
