"""python -m benchmarks.scenes FOLDER: render the rooms, and a contact sheet of some of them."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.scenes.contact_sheet import write_contact_sheet
from benchmarks.scenes.writing import ScenesPlan, write_scenes


def main(
    folder: Annotated[Path, typer.Argument(help="Where to write train/ and val/.")],
    train: int = 400,
    val: int = 200,
    height: int = 24,
    width: int = 32,
    seed: int = 0,
) -> None:
    """Render rooms in the layout of MTAN's NYUv2."""
    write_scenes(folder, ScenesPlan(train, val, height, width), seed)
    write_contact_sheet(folder, folder / "contact_sheet.png")
    typer.echo(f"{train} + {val} rooms and contact_sheet.png are in {folder}")


if __name__ == "__main__":
    typer.run(main)
