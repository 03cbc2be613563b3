"""Tables in Markdown."""

from collections.abc import Sequence


def markdown_table(titles: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """With a line break at its end."""
    lines = ["| " + " | ".join(titles) + " |", "|" + " --- |" * len(titles)]
    lines += ["| " + " | ".join(cells) + " |" for cells in body]
    return "\n".join(lines) + "\n"
