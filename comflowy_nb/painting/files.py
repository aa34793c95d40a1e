"""Write drawn pages as PNG and PDF files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.backends.backend_pdf import PdfPages
from PIL.PngImagePlugin import PngInfo

from comflowy_nb import __version__
from comflowy_nb.errors import ImageError
from comflowy_nb.painting.text import DRAWING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from comflowy_nb.painting.pages import DrawnPage


PRINT_DPI = 300


def encode_png(page: DrawnPage, title: str) -> bytes:
    """Return a page as a PNG that is printed with 300 dots per inch."""
    text = PngInfo()
    text.add_itxt("Title", title)
    text.add_text("Software", f"comflowy_nb {__version__}")
    stream = io.BytesIO()
    page.pixels.save(stream, "PNG", pnginfo=text, dpi=(PRINT_DPI, PRINT_DPI), optimize=True)
    return stream.getvalue()


def encode_pdf(pages: Iterator[DrawnPage], title: str) -> bytes:
    """Return pages as a PDF, with text as text.

    Raises
    ------
    ImageError
        If matplotlib can't write it.
    """
    stream = io.BytesIO()
    metadata = {"Title": title, "Creator": f"comflowy_nb {__version__}", "CreationDate": None}
    try:
        # Type 42 fonts are embedded as they are, so that text can be searched and copied.
        with DRAWING, mpl.rc_context({"pdf.fonttype": 42}), PdfPages(stream, metadata=metadata) as pdf:
            for page in pages:
                pdf.savefig(page.figure)
    except (ValueError, RuntimeError) as error:
        raise ImageError(f"the PDF can't be written: {error}") from error
    return stream.getvalue()
