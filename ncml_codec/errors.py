"""Every error that the package raises on purpose, and the exit code that the tools give it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class NcmlError(Exception):
    """The root of the tree; its message says what, where, the figures and the next step."""

    exit_code = 1


class InputError(NcmlError):
    """A file that was to be read is missing, unreadable, or of a kind that is not supported."""


class UnsupportedImage(InputError):
    """A sound image with a property that the codec does not handle."""


class UnreadableJpeg(InputError):
    """A JPEG file that cannot become coefficients and the same bytes again; its message says why.

    Whoever compresses may still keep the file whole, with this reason.
    """


class OutputError(NcmlError):
    """A file could not be written, or exists and may not be replaced."""


class NotEnoughMemory(NcmlError):
    """Work that needs more memory, or more threads, than the system gives."""


class UsageError(NcmlError):
    """Options or arguments that contradict each other or are out of range."""

    exit_code = 2


class ExportError(NcmlError):
    """A network that cannot become an integer network."""


class FormatError(NcmlError):
    """Bytes that are not a sound file of this format: damaged or cut short.

    Its subclasses with exit code 1 stand for files that are refused although nothing is damaged.
    """

    exit_code = 4


class Truncated(FormatError):
    """The file ends before its contents do."""


class ChecksumMismatch(FormatError):
    """A section's bytes, or the decoded samples, are not those that were written."""


class NotThisFormat(FormatError):
    """The file is of another format, or of a newer version of this one."""

    exit_code = 1


class BeyondLimit(FormatError):
    """The file claims more than a limit of this call allows."""

    exit_code = 1


class UnknownModel(FormatError):
    """The file names a model that is not at hand; nothing is wrong with the file."""

    exit_code = 1


class MissingPackage(NcmlError):
    """A package that an extra of this one installs is not there."""


class RoundTripError(NcmlError):
    """Decoding what was just encoded gave other pixels: a bug. Nothing was written."""

    exit_code = 3


_EXTRAS = {  # by packages that are imported only where they are needed
    "torch": "train",
    "safetensors": "train",
    "scipy": "train",
    "tqdm": "train",
    "matplotlib": "train",
    "tensorboard": "train",
    "torch_fidelity": "quality",
    "imagecodecs": "bench",
}


@contextmanager
def naming_extras() -> Iterator[None]:
    """Raise MissingPackage, which names the extra to install, where one of its packages lacks."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        raise MissingPackage(
            f"this needs {package}, which is not installed:"
            f" pip install 'ncml-codec[{_EXTRAS[package]}]'"
        ) from error
