"""One array per `.npy` file, mapped and not read, and never unpickled."""

import lzma
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from worker.engine.contract import Refused

Array = np.ndarray[Any, Any]

# What NumPy, and the archive around its files, raise on bytes that somebody made up. Not MemoryError: that is
# the machine's, and is tried again.
UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    TypeError,
    AttributeError,
    LookupError,
    OverflowError,
    RecursionError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)


def read_array(path: Path, called: str, *, kinds: str = "fiu") -> Array:
    """The file's array, mapped read-only: pages come from the disk when they are looked at.

    called: what messages say in place of the file's name, which may be a person's. kinds: NumPy's codes of
    the kinds of values that are taken.
    Raises `Refused("data_unreadable")`.
    """
    try:
        array: Array = np.lib.format.open_memmap(
            str(path), mode="r"
        )  # a Path would be resolved, which is slow
    except UNREADABLE as error:
        raise Refused(
            "data_unreadable",
            f"{called} is missing or is no .npy file that NumPy can read without pickle: "
            f"{type(error).__name__}.",
        ) from error
    if array.dtype.kind not in kinds:
        raise Refused("data_unreadable", f"{called} holds {array.dtype}, which is not what belongs there.")
    return array
