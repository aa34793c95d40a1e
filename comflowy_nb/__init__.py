"""Run ComfyUI workflows from a notebook: `%load_ext comflowy_nb`, then `%comflowy`."""

__version__ = "0.1.0"
