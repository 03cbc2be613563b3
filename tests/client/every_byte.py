"""Each byte of a file changed in turn: into another letter, into what is no text at all, and into nothing."""

import string
from collections.abc import Callable
from pathlib import Path

from lethe.findings import NotVerified

WITHIN_A_WORD = frozenset(string.ascii_letters.encode() + string.digits.encode())


def unnoticed_changes(file: Path, verify: Callable[[], object]) -> list[tuple[int, bytes]]:
    """Where `verify` does not raise `NotVerified`, and what was put there.

    Within a word, which is what others of it are, each byte is changed in one of the three ways, by turns;
    where a word begins or ends, and in what is between, in all of them. The file is written over in place: to
    cut it to nothing first, a thousand times, has the disk written to each time.
    """
    issued, unnoticed = file.read_bytes(), []
    for at, byte in enumerate(issued):
        ways = (bytes([byte ^ 0x01]), bytes([byte ^ 0x80]), b"")
        within = WITHIN_A_WORD.issuperset(issued[max(at - 1, 0) : at + 2])
        for put in (ways[at % 3],) if within else ways:
            with file.open("r+b") as target:
                target.write(issued[:at] + put + issued[at + 1 :])
                target.truncate()
            try:
                verify()
            except NotVerified:
                continue
            unnoticed.append((at, put))
    return unnoticed
