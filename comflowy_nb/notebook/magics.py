"""The magics `%comflowy` and `%%comflowy`; loading and unloading of the extension."""

from __future__ import annotations

import re
import sys
import warnings
from collections import ChainMap
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand
from traitlets import Bool, TraitError, TraitType

from comflowy_nb.errors import ComflowyError, SettingsError, spelled
from comflowy_nb.notebook.api_key_warning import KeyWarning
from comflowy_nb.notebook.display.html import plain
from comflowy_nb.notebook.display.show import register_formatters, unregister_formatters
from comflowy_nb.notebook.magic_line.completion import Completions
from comflowy_nb.notebook.magic_line.parse import parse_line
from comflowy_nb.notebook.magic_line.request import execute
from comflowy_nb.notebook.session import Session
from comflowy_nb.settings import OPTIONS, settings
from comflowy_nb.workflow.syntax.line import split_silencer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from IPython.core.interactiveshell import ExecutionInfo, InteractiveShell


_BROKEN_KERNELS = {"7.0.0", "7.0.1"}
_ASSIGNMENT = re.compile(r"^[ \t]*[^\s=%#][^=%\n]*=[ \t]*%comflowy(?P<line>[ \t].*)$", re.MULTILINE)


class Setting(TraitType):  # type: ignore[misc]  # traitlets is not read by mypy here
    """A trait that reads and writes a value of `settings`, so that `%config Comflowy` and Python share it."""

    def get(self, obj: Any, cls: Any = None) -> Any:
        del obj, cls
        return getattr(settings, self.name)

    def set(self, obj: Any, value: Any) -> None:
        try:
            setattr(settings, self.name, value)
        except SettingsError as error:
            if obj.is_loaded:
                raise TraitError(str(error)) from None
            # From a configuration file, or from a rejected `%config`, which IPython stores.
            warnings.warn(f"c.{type(obj).__name__}.{error}; it stays {getattr(settings, self.name)!r}", stacklevel=2)


@magics_class
class Comflowy(Magics):  # type: ignore[misc]  # IPython is not read by mypy here
    """Run ComfyUI workflows and see their images. `%comflowy help` lists the commands."""

    tracebacks = Bool(False, help="Show full tracebacks instead of short messages.").tag(config=True)
    is_loaded = False
    vars().update(
        {
            option.name: Setting(option.default, allow_none=True, help=option.help).tag(config=True)
            for option in OPTIONS.values()
        }
    )

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.is_loaded = True
        self.session = Session(shell)
        self._source = str(shell.history_manager.input_hist_raw[-1])  # of the current cell, which loads the extension

    def before_cell(self, info: ExecutionInfo) -> None:
        """Keep the source of a cell that is about to be executed."""
        self._source = str(info.raw_cell)

    @no_var_expand  # type: ignore[untyped-decorator]  # as above
    @needs_local_scope  # type: ignore[untyped-decorator]
    @line_cell_magic  # type: ignore[untyped-decorator]
    def comflowy(self, line: str, cell: str | None = None, local_ns: Mapping[str, Any] | None = None) -> Any:
        """Run ComfyUI workflows and see their images.

        %comflowy                          connection, live runs, recent runs
        %comflowy connect sandbox          a server on this machine: no key, no GPU
        %comflowy run default cfg=7        run a workflow and show its images
        %%comflowy run default             the same, with the fields in the lines below
        %comflowy help [COMMAND]           all commands
        """
        text, is_silent = split_silencer(line)
        namespace = ChainMap(dict(local_ns or {}), self.shell.user_ns)
        try:
            with spelled("magic"):
                result = execute(self.session, parse_line(text, cell, namespace))
        except (ComflowyError, KeyboardInterrupt) as error:
            if not self.tracebacks:
                _shorten_traceback(error)
            raise
        return None if is_silent and not self._is_assigned(line) else result

    def _is_assigned(self, line: str) -> bool:
        """Return whether the cell assigns the result of this line, as `boat = %comflowy run default;` does."""
        return any(found["line"].strip() == line.strip() for found in _ASSIGNMENT.finditer(self._source))


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Load the extension: `%load_ext comflowy_nb` calls it.

    Register the magics `%comflowy` and `%%comflowy`, their completion, and the display of runs, sweeps, comparisons
    and forms. A second call does nothing.

    Parameters
    ----------
    shell : InteractiveShell
        The shell of IPython.

    Examples
    --------
    In a notebook::

        %load_ext comflowy_nb
    """
    if _find(shell) is not None:
        return
    _warn_of_broken_kernel()
    magics = Comflowy(shell)
    shell.register_magics(magics)
    shell.events.register("pre_execute", magics.session.begin_execution)
    shell.events.register("post_execute", magics.session.end_execution)
    shell.events.register("pre_run_cell", magics.before_cell)
    magics.key_warning = KeyWarning(shell)
    shell.events.register("pre_run_cell", magics.key_warning.before_cell)
    shell.events.register("post_run_cell", magics.key_warning.after_cell)
    magics.completions = Completions(magics.session)
    magics.completions.add()
    register_formatters(magics.session)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Unload the extension: `%unload_ext comflowy_nb` calls it.

    Remove everything that `load_ipython_extension` registered, close the connections and stop the threads. Runs
    continue at their service.

    Parameters
    ----------
    shell : InteractiveShell
        The shell of IPython.

    Examples
    --------
    In a notebook::

        %unload_ext comflowy_nb
    """
    magics = _find(shell)
    if magics is None:
        return
    magics.completions.remove()
    unregister_formatters(shell)
    shell.events.unregister("pre_execute", magics.session.begin_execution)
    shell.events.unregister("post_execute", magics.session.end_execution)
    shell.events.unregister("pre_run_cell", magics.before_cell)
    shell.events.unregister("pre_run_cell", magics.key_warning.before_cell)
    shell.events.unregister("post_run_cell", magics.key_warning.after_cell)
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("comflowy", None)
    shell.magics_manager.registry.pop(Comflowy.__name__, None)
    if magics in shell.configurables:
        shell.configurables.remove(magics)
    magics.session.close()


def current_session() -> Session | None:
    """Return the session of this process's kernel; None if the extension is not loaded."""
    from IPython import get_ipython  # noqa: PLC0415

    shell = get_ipython()
    magics = _find(shell) if shell is not None else None
    return magics.session if magics is not None else None


def _shorten_traceback(error: BaseException) -> None:
    """Make IPython show this exception as plain lines.

    They are set on the instance, so that other errors keep their tracebacks, and the exception can be caught. IPython
    joins a list without line breaks in a terminal with `%xmode Plain` or `Minimal`, so it has one item.
    """
    text = plain(str(error))
    shown = f"{type(error).__name__}: {text}" if text else type(error).__name__
    error._render_traceback_ = lambda *_, **__: [shown]  # type: ignore[attr-defined]


def _find(shell: InteractiveShell) -> Comflowy | None:
    magics = shell.magics_manager.registry.get(Comflowy.__name__)
    return magics if isinstance(magics, Comflowy) else None


def _warn_of_broken_kernel() -> None:
    version = getattr(sys.modules.get("ipykernel"), "__version__", None)
    if version in _BROKEN_KERNELS:
        warnings.warn(
            f"ipykernel {version} loses the output of threads, so the status of --background runs is not shown. "
            "pip install -U ipykernel",
            stacklevel=4,
        )
