"""Rows as the repositories hand them out: plain, named values."""

from typing import Any

from sqlalchemy import Row

AnyRow = Row[*tuple[Any, ...]]
