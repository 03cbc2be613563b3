"""The client is installed on its own, from `client/`: what it imports comes with what it says it needs."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

CLIENT = Path(__file__).parents[2] / "client"
# What comes with a declared dependency as a matter of its interface.
COMES_WITH = {"click": "typer"}


def test_everything_that_is_imported_is_declared() -> None:
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[^\w-]", each)[0].lower() for each in project["dependencies"]}
    assert declared.isdisjoint({"torch", "fastapi", "numpy", "sqlalchemy", "lethe-service"})
    known, used = packages_distributions(), set()
    for file in (CLIENT / "src").rglob("*.py"):
        for name in imported(file):
            if name in sys.stdlib_module_names or name == "lethe":
                continue
            used |= {COMES_WITH.get(each.lower(), each.lower()) for each in known[name]}
            assert declared & {COMES_WITH.get(each.lower(), each.lower()) for each in known[name]}, (
                file,
                name,
            )
    assert used >= declared


def imported(file: Path) -> set[str]:
    """Top-level modules."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {each.name.partition(".")[0] for each in node.names}
        if isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).partition(".")[0])
    return found
