"""The commands for a terminal: arguments, output and exit status."""

from __future__ import annotations

import io
import subprocess
import sys

import nbformat
import pytest

from comflowy_nb import __version__
from comflowy_nb.cli import demo
from comflowy_nb.cli import main as cli
from comflowy_nb.errors import ComflowyError


def usage_error(words, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    return caught.value.code, capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["nonsense"], ["sandbox", "--port", "x"], ["sandbox", "--port", "70000"]])
def test_invalid_arguments_exit_with_2(words, capsys):
    code, text = usage_error(words, capsys)
    assert code == 2
    assert "usage: comflowy-nb" in text
    assert "Traceback" not in text


def test_version_is_printed(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert __version__ in capsys.readouterr().out


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert "demo" in text
    assert "sandbox" in text


def test_package_runs_as_a_module():
    command = [sys.executable, "-m", "comflowy_nb.cli.main", "--version"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert __version__ in answer.stdout


def test_demo_of_a_missing_notebook_is_an_error_of_one_line(tmp_path, capsys):
    assert cli.main(["demo", str(tmp_path / "none.ipynb"), "--out", str(tmp_path)]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert "No such file" in text


def test_demo_of_an_invalid_notebook_is_an_error_of_one_line(tmp_path, capsys):
    path = tmp_path / "x.ipynb"
    path.write_text("{]")
    assert cli.main(["demo", str(path), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"comflowy-nb demo: can't read {path}: not a notebook\n"


def notebook(folder, *cells):
    path = folder / "x.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), path)
    return path


LIVE = """
from IPython.display import display
status = display({"text/plain": "r1 waiting", "text/html": "<b>w</b>"}, raw=True, display_id=True)
for step in range(100):
    status.update({"text/plain": f"r1 running {step}/100", "text/html": f"<b>{step}</b>"}, raw=True)
"""
IMAGE = """
import io
from PIL import Image
from IPython.display import display
out = io.BytesIO()
Image.new("RGB", (40, 20), (255, 0, 0)).save(out, "JPEG")
display({"text/plain": "a grid", "image/jpeg": out.getvalue()}, raw=True)
"""


def test_demo_writes_page_grid_and_notebook_and_prints_their_paths(tmp_path):
    from PIL import Image

    out = tmp_path / "out"
    stream = io.StringIO()
    demo.run_demo(out, notebook(tmp_path, LIVE, IMAGE), stream=stream)
    text = stream.getvalue()
    assert "[1/2]" in text
    assert "r1 running 99/100" in text  # the last status is printed, even if earlier ones were skipped
    assert text.count("r1 running") < 20  # without flooding a log
    assert f"page: {out / 'x.html'}" in text
    assert f"grid: {out / 'grid.png'}" in text
    with Image.open(out / "grid.png") as grid:
        assert (grid.format, grid.size) == ("PNG", (40, 20))
    page = (out / "x.html").read_text()
    assert "<script" not in page
    assert "data:image/jpeg" in page


def test_demo_keeps_the_other_files_of_its_folder(tmp_path):
    """`--out /` deleted `/home`: the home folder of the demo was called `home`, and is deleted first."""
    other_file = tmp_path / "home" / "me" / "photo.png"
    other_file.parent.mkdir(parents=True)
    other_file.touch()
    demo.run_demo(tmp_path, notebook(tmp_path, ""), stream=io.StringIO())
    assert other_file.exists()


def test_demo_names_the_cell_that_failed(tmp_path, capsys):
    path = notebook(tmp_path, "1", "1/0", "3")
    assert cli.main(["demo", str(path), "--out", str(tmp_path / "out")]) == 1
    assert "cell 2 of 3 failed: ZeroDivisionError: division by zero\n" in capsys.readouterr().err


def test_demo_does_not_use_the_services_and_history_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("COMFLOWY_API_KEY", "cfk-of-a-user")
    environment = demo.kernel_environment(tmp_path / "home")
    assert "COMFLOWY_API_KEY" not in environment
    assert environment["COMFLOWY_HOME"] == str(tmp_path / "home")


def test_demo_without_its_extra_names_what_to_install(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "comflowy_nb.cli.demo", raising=False)
    monkeypatch.delattr("comflowy_nb.cli.demo", raising=False)
    monkeypatch.setitem(sys.modules, "nbclient", None)
    assert cli.main(["demo"]) == 1
    assert "pip install 'comflowy_nb[demo]'" in capsys.readouterr().err


def test_interrupted_command_exits_with_130(monkeypatch, capsys):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run_demo", interrupt)
    assert cli.main(["demo"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_quickstart_is_found_in_the_repository():
    assert demo.find_quickstart().name == "quickstart.ipynb"


def test_installation_without_the_quickstart_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "comflowy_nb" / "demo.py"))
    with pytest.raises(ComflowyError, match="name one"):
        demo.find_quickstart()


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_terminal_shows_each_status_on_one_line_and_a_log_file_only_the_last():
    screen, log = Screen(), io.StringIO()
    for stream in (screen, log):
        progress = demo.ProgressReporter(stream)
        progress.status("r1 waiting")
        progress.status("r1 running")
        progress.line("next")
    assert screen.getvalue() == "\r\x1b[2K      r1 waiting\r\x1b[2K      r1 running\nnext\n"
    assert log.getvalue() == "      r1 running\nnext\n"


def test_one_line_removes_colours_and_line_breaks():
    assert demo.one_line("\x1b[31mred\x1b[0m\n  and  plain") == "red and plain"
