"""How much may be forgotten without a person's word, and why a request waits for one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from app.core.settings import Settings


@dataclass(frozen=True, slots=True)
class Allowance:
    """Of one model. Both shares are of a task's supervision: what may go since a person last approved of
    something (`share`), and within `window_days` (`window_share`). A share of 1 bounds nothing."""

    share: float
    window_share: float
    window_days: float

    @property
    def bounds_nothing(self) -> bool:
        return self.share >= 1 and self.window_share >= 1


def allowance_of(policy: Mapping[str, Any], settings: Settings) -> Allowance:
    """The model's own policy, and the operator's settings where it says nothing."""
    own = policy.get("approval") or {}
    said = {name: own.get(name) for name in ("share", "window_share", "window_days")}
    return Allowance(
        share=settings.approval_share if said["share"] is None else said["share"],
        window_share=settings.approval_window_share if said["window_share"] is None else said["window_share"],
        window_days=settings.approval_window_days if said["window_days"] is None else said["window_days"],
    )


def loosens(policy: Mapping[str, Any], settings: Settings) -> bool:
    """Whether the policy lets more go without a person's word than the operator's settings do."""
    own, said = allowance_of(policy, settings), allowance_of({}, settings)
    return (
        own.share > said.share or own.window_share > said.window_share or own.window_days < said.window_days
    )


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a request needs a person's word. `code`: share, window_share (of a task, both), instances_per_day,
    or part_of_waiting (a request on a data set that waits, or was rejected, reached another model)."""

    code: str
    detail: str
    task: str | None = None
    share: float | None = None
    limit: float | None = None

    def kept(self) -> dict[str, Any]:
        members: dict[str, Any] = {"code": self.code, "detail": self.detail, "task": self.task}
        members |= {"share": self.share, "limit": self.limit}
        return {name: value for name, value in members.items() if value is not None}


def asked(reasons: Iterable[Reason]) -> dict[str, Any]:
    """As a request that waits keeps them."""
    return {"reasons": [reason.kept() for reason in reasons]}
