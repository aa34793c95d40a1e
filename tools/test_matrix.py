"""Run the tests with several Pythons and versions of the dependencies: `make test-matrix`.

    make test-matrix                                      every job
    make test-matrix JOBS="lowest colab"                  these jobs
    make test-matrix JOBS=colab TESTS="tests/notebook"    and only these tests

Each job gets a new virtual environment in build/matrix/, made by uv. An environment variable such as PYTHON312 names
its Python; otherwise one is found on the path or in pyenv. No Python is downloaded. The browser tests are omitted, but
not in the job front-ends: it runs tests/front_ends with each front end installed, JupyterHub's proxy with npm.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build" / "matrix"
UV = str(Path(sys.executable).parent / "uv")
PYTEST = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile"]
NO_BROWSER = ("-m", "not browser")


@dataclass(frozen=True)
class Job:
    name: str
    python: str
    versions: tuple[str, ...] = ()  # options and pins of `uv pip install`; without them the newest versions
    extra: str = "test"
    options: tuple[str, ...] = NO_BROWSER  # of pytest
    tests: tuple[str, ...] = ()  # unless TESTS names others; without both all


JOBS = (
    Job("lowest", "3.11", ("--resolution", "lowest-direct")),
    Job("colab", "3.12", ("--constraint", "tools/colab.txt")),
    Job("ipykernel6.29", "3.12", ("ipykernel==6.29.*", "ipython==8.*"), tests=("tests/notebook", "tests/cli")),
    Job("python3.11", "3.11"),
    Job("python3.12", "3.12"),
    Job("python3.13", "3.13"),
    Job("python3.14", "3.14"),
    Job("front-ends", "3.12", extra="front-ends", options=(), tests=("tests/front_ends",)),
)


def main(names: list[str], tests: list[str]) -> int:
    known = {job.name: job for job in JOBS}
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"unknown job {', '.join(unknown)}: use {', '.join(known)}", file=sys.stderr)
        return 2
    results = {name: run(known[name], tests) for name in names or known}
    print("\n" + "\n".join(f"{name:14} {known[name].python:6} {result}" for name, result in results.items()))
    return 0 if "passed" in results.values() and not any("failed" in result for result in results.values()) else 1


def run(job: Job, tests: list[str]) -> str:
    """Run one job. Return `passed`, or the reason of the failure."""
    print(f"\n== {job.name}: Python {job.python}, {' '.join(job.versions) or 'newest versions'}", flush=True)
    variable = f"PYTHON{job.python.replace('.', '')}"
    base = find_python(job.python, variable)
    if base is None:
        return f"absent: no Python {job.python} found; name one by {variable}=/path/to/python"
    venv = str(FOLDER / job.name)
    python = f"{venv}/bin/python"
    steps = {
        "environment": [UV, "venv", "--quiet", "--clear", "--python", base, venv],
        "packages": [
            *(UV, "pip", "install", "--quiet", "--python", python, *job.versions, "--editable", f".[{job.extra}]"),
        ],
        "tests": [python, *PYTEST, *job.options, *(tests or job.tests)],
    }
    variables = dict(os.environ)
    if job.extra == "front-ends":
        variables["REQUIRE_FRONT_ENDS"] = "1"
        if shutil.which("npm"):
            steps = {"proxy": ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], **steps}
    for step, command in steps.items():
        code = subprocess.run(command, cwd=ROOT, env=variables, check=False).returncode
        if code:
            return f"failed: {step}, exit status {code}"
    return "passed"


def find_python(version: str, variable: str) -> str | None:
    """Return a Python of this version: from its environment variable, else on the path or in pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    found = [shutil.which(f"python{version}"), *map(str, pyenv.glob(f"versions/{version}.*/bin/python"))]
    named = os.environ.get(variable)
    for name in [named] if named else found:
        if name and _is_python(name, version):
            return name
    return None


def _is_python(name: str, version: str) -> bool:
    # The path may have a pyenv shim that fails when it is run.
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([name, "-c", code], check=False, capture_output=True, text=True)
    except OSError:
        return False
    return done.stdout.strip() == version


if __name__ == "__main__":
    sys.exit(main(os.environ.get("JOBS", "").split(), os.environ.get("TESTS", "").split()))
