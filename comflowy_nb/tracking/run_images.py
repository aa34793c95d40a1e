"""The images of a run, read from disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from comflowy_nb.errors import ImageError, RefError
from comflowy_nb.images.receive import image_path, is_damaged
from comflowy_nb.tracking.reviews import change_ratings, read_reviews
from comflowy_nb.workflow.images import assert_decodable, open_image_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from PIL import Image

    from comflowy_nb.database.ratings import Rating, Review
    from comflowy_nb.database.records import ImageRecord
    from comflowy_nb.tracking.run import Run

_MAX_LISTED_REFS = 6  # then ` ...` follows


class RunImage:
    """One image of a run. Its file is read when an attribute needs it.

    Parameters
    ----------
    run : Run
        The run that generated the image.
    record : ImageRecord
        The record of the image in the history: node, size, format, sha256.
    folder : pathlib.Path or None
        The folder of the images, to which the file of the record is relative.

    Examples
    --------
    >>> image = run.images[0]
    >>> image
    <RunImage r...[0] 64x64 kept>
    >>> image.array().shape
    (64, 64, 3)
    """

    def __init__(self, run: Run, record: ImageRecord, folder: Path | None) -> None:
        self.run = run
        self.record = record
        self._folder = folder

    @property
    def path(self) -> Path:
        """Path of the original file.

        Raises
        ------
        ImageError
            If the file is not on disk. The message names the command that fetches it again, unless the run was deleted.
        """
        if self.run.is_deleted:
            raise ImageError(f"{self.run.ref} was deleted, with its images: {self.ref} can't be fetched again")
        if self.is_pruned:
            why = f" ({self.record.error})" if self.record.error else ""
            raise ImageError(
                f"the original of {self.ref} was pruned, and only its thumbnail is on disk{why}; "
                f"{self.run.record.fetch_tip('fetches it', option=' --refetch')}"
            )
        path = self._original
        if path is None or not path.exists():
            reason = f" ({self.record.error})" if self.record.error and self.record.state == "missing" else ""
            raise ImageError(f"the image {self.ref} is not on disk{reason}; {self.run.record.fetch_tip('fetches it')}")
        return path

    @property
    def _original(self) -> Path | None:
        """Path of the original file, which may be missing; None before its download."""
        return image_path(self._folder, self.record) if self._folder is not None and self.record.file else None

    @property
    def ref(self) -> str:
        """Reference of the image, such as `r41[0]`."""
        return f"{self.run.ref}[{self.record.index}]"

    @property
    def is_pruned(self) -> bool:
        """Whether `prune` has removed the original. `thumbnail` is still there."""
        return self.record.state == "pruned"

    @property
    def is_damaged(self) -> bool:
        """Whether the original on disk was changed or truncated after its download. Reads the file."""
        path = self._original
        return path is not None and path.is_file() and is_damaged(path, self.record)

    @property
    def intact_path(self) -> Path:
        """Path of the original file, after checking its content against the sha256 of the download.

        Raises
        ------
        ImageError
            If the file is not on disk or damaged. The message names the command that fetches it again.
        """
        path = self.path
        if is_damaged(path, self.record):
            raise ImageError(damage_text([self]))
        return path

    @property
    def token(self) -> str:
        """Id of the image in this package: the run's token and the image's index."""
        return f"{self.run.token}[{self.record.index}]"

    @property
    def node(self) -> str | None:
        """Id of the node that generated the image; None if the service does not report it."""
        return self.record.node

    @property
    def bytes(self) -> bytes:
        """Content of the original file. Raises ImageError if it is not on disk or damaged."""
        return self.intact_path.read_bytes()

    def pil(self) -> Image.Image:
        """Return the image as a decoded PIL image.

        Returns
        -------
        PIL.Image.Image
            The image, in the mode of its file.

        Raises
        ------
        ImageError
            If the file is not on disk or damaged, or has more pixels than the setting `image_max_px`.

        Examples
        --------
        >>> run.images[0].pil().size
        (64, 64)
        """
        image = open_image_file(self.intact_path)
        assert_decodable(image, self.ref)
        image.load()
        return image

    def array(self) -> np.ndarray[Any, Any]:
        """Return the image as an array.

        Returns
        -------
        numpy.ndarray
            Height x width x channels, uint8.

        Raises
        ------
        ImageError
            As `pil`.

        Examples
        --------
        >>> run.images[0].array().dtype
        dtype('uint8')
        """
        import numpy as np  # noqa: PLC0415 - heavy

        return np.asarray(self.pil())

    def save(self, target: str | Path) -> Path:
        """Write a copy of the image with a readable name, and the params in the text chunk of a PNG file.

        Parameters
        ----------
        target : str or pathlib.Path
            A folder, `NAME.zip`, or the name of an image file of the same format (`NAME.png`).

        Returns
        -------
        pathlib.Path
            The file that was written.

        Raises
        ------
        SettingsError
            If `target` is the name of a file of another kind.
        ImageError
            If the image is not on disk or damaged, or can't be written.

        Examples
        --------
        >>> run.images[0].save("cat.png").name
        'cat.png'
        """
        return self.run.save_images(target, only=self.record)[0]

    def thumbnail(self, size_px: int) -> Path:
        """Return the path of a thumbnail, which is made if it does not exist.

        Parameters
        ----------
        size_px : int
            256 or 512: the longer side of the JPEG, in pixels.

        Returns
        -------
        pathlib.Path
            The thumbnail; the original if no thumbnail can be made.

        Raises
        ------
        ImageError
            If neither the thumbnail nor the intact original is on disk.

        Examples
        --------
        >>> run.images[0].thumbnail(256).suffix
        '.jpg'
        """
        from comflowy_nb.images.thumbnails import thumbnail_path  # noqa: PLC0415 - loads Pillow

        if self._folder is None or not self.record.file:
            return self.path  # raises the error
        try:
            return thumbnail_path(self._folder, self.record, size_px)
        except ImageError:  # the disk is full, or there is no image to make it from
            return self.intact_path

    # -- ratings and scores ---------------------------------------------------------------------------------------

    @property
    def review(self) -> Review:
        """Ratings and scores of the image, read from the history at each use."""
        return read_reviews([self])[self.token]

    @property
    def rating(self) -> int | None:
        """Rating by this user, 1 to 5; None if the image is not rated. Read from the history at each use."""
        return self.review.own.rating

    @property
    def rejected(self) -> bool:
        """Whether this user rejected the image. Read from the history at each use."""
        return self.review.own.rejected

    @property
    def note(self) -> str:
        """Note by this user; empty if there is none. Read from the history at each use."""
        return self.review.own.note

    @property
    def others(self) -> tuple[Rating, ...]:
        """The ratings that other people sent, by their names. Read from the history at each use."""
        return self.review.others

    @property
    def scores(self) -> dict[str, float | None]:
        """Results of the functions of `Sweep.score`, by name; None for one that raised. Read at each use."""
        return {name: score.value for name, score in self.review.scores.items()}

    def rate(self, rating: int | None = None, *, note: str | None = None, rejected: bool | None = None) -> RunImage:
        """Rate the image, reject it, or write a note about it. The history stores that.

        Parameters
        ----------
        rating : int, optional
            From 1 to 5, where 5 is the best; 0 removes the rating. A rating also takes a rejection back, unless
            `rejected` is given. By default the rating stays.
        note : str, optional
            A note of at most 1,000 characters; an empty text removes it. By default the note stays.
        rejected : bool, optional
            True rejects the image, False takes that back.

        Returns
        -------
        RunImage
            This image.

        Raises
        ------
        SettingsError
            If a value is not accepted, or none is given.
        HistoryError
            If the history can't be written, or the image was deleted.

        Examples
        --------
        >>> image = run.images[0].rate(4, note="best sky")
        >>> image.rating, image.note, image.rejected
        (4, 'best sky', False)
        >>> image.rate(0, note="").rating is None
        True
        """
        change_ratings([self], rating, note=note, rejected=rejected)
        return self

    def __repr__(self) -> str:
        size = f" {self.record.width_px}x{self.record.height_px}" if self.record.width_px else ""
        return f"<RunImage {self.ref}{size} {self.record.state}>"


class Images:
    """The images of a run or a sweep, as a sequence.

    Examples
    --------
    >>> run.images
    <Images of r...: 1>
    >>> run.images[0].ref
    'r...[0]'
    >>> [image.node for image in run.images.of("9")]
    ['9']
    """

    def __init__(self, ref: str, images: list[RunImage]) -> None:
        self._ref = ref
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[RunImage]:
        return iter(self._images)

    @overload
    def __getitem__(self, index: int) -> RunImage: ...
    @overload
    def __getitem__(self, index: slice) -> list[RunImage]: ...
    def __getitem__(self, index: int | slice) -> RunImage | list[RunImage]:
        try:
            return self._images[index]
        except (IndexError, TypeError):
            count = len(self._images)
            text = f"{self._ref} has {count or 'no'} image{'s' * (count != 1)}, so there is no {self._ref}[{index!r}]"
            raise RefError(text) from None

    def of(self, node: str) -> list[RunImage]:
        """Return the images of one node, by its id."""
        return [image for image in self._images if image.node == node]

    def __repr__(self) -> str:
        return f"<Images of {self._ref}: {len(self)}>"


def damage_text(images: Sequence[RunImage]) -> str:
    """Return a text with the damaged originals of a run, and the command that fetches them again."""
    refs = ", ".join(image.ref for image in images[:_MAX_LISTED_REFS]) + (
        " ..." if len(images) > _MAX_LISTED_REFS else ""
    )
    is_one = len(images) == 1
    files = f"{refs} is damaged: its file has" if is_one else f"{refs} are damaged: their files have"
    why = next((f" ({image.record.error})" for image in images if image.record.state == "missing"), "")
    fetch = f"%comflowy show {images[0].run.ref} --refetch fetches {'it' if is_one else 'them'} again"
    return f"{files} changed since the download{why}; {fetch}"
