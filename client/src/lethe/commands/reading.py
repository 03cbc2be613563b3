"""JSON that a command is given in a file."""

import json
import sys
from pathlib import Path
from typing import Any, TypeVar

import typer

T = TypeVar("T", list[Any], dict[str, Any])
_NAMES = {list: "a list", dict: "an object"}


def read_json(file: Path, kind: type[T]) -> T:
    """`-` is standard input. Raises `BadParameter`."""
    try:
        found = json.loads(sys.stdin.read() if str(file) == "-" else file.read_text())
    except ValueError as error:
        raise typer.BadParameter(f"{file} is no JSON: {error}") from error
    if not isinstance(found, kind):
        raise typer.BadParameter(f"{file} has to be {_NAMES[kind]}")
    return found
