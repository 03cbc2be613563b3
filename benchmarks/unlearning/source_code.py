"""Digests of source code: what a cached network or a finished row depends on.

The digest of a module covers the modules of this project that it imports, directly or not, and nothing else:
a changed method asks neither for retraining nor for the other methods' runs. Comments, docstrings and layout
do not count.
"""

import ast
import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("worker", "benchmarks", "examples")
REGISTRIES = ("worker.engine.methods", "benchmarks.unlearning.controls")
"""Not followed: a registry imports every method, and each row depends on its own only."""


@cache
def code_digest(*modules: str) -> str:
    """SHA-256 (hex, 16 digits) over the modules and all of the project that they import."""
    text = "".join(f"{name}\0{_digest(name)}\n" for name in sorted(modules_of(*modules)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def modules_of(*modules: str) -> set[str]:
    """The modules and all of the project that they import, directly or not."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(_imports(_parse(name)))
    return found


def _digest(module: str) -> str:
    return hashlib.sha256(ast.dump(_without_docstrings(_parse(module))).encode()).hexdigest()


def _parse(module: str) -> ast.Module:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    return ast.parse(Path(spec.origin).read_text())


def _imports(tree: ast.Module) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.append(node.module)
            names.extend(
                submodule for alias in node.names if _is_module(submodule := f"{node.module}.{alias.name}")
            )
    return [name for name in names if name.split(".")[0] in PACKAGES and name not in REGISTRIES]


@cache
def _is_module(name: str) -> bool:
    if name.split(".")[0] not in PACKAGES:
        return False
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        first = node.body[0] if node.body else None
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            node.body = node.body[1:]
    return tree
