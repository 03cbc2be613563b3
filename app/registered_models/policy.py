"""What a client says about how a model is to forget: method, budget, bounds, and what to do on a miss."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from app.core.wire import ByTask, Sent

Method = Literal["interference_aware", "retrain"]
Step = Literal["larger_budget", "retrain", "needs_review", "fail"]
LAST = ("needs_review", "fail")
LADDER: tuple[Step, ...] = ("larger_budget", "retrain", "needs_review")

Points = Annotated[float, Field(ge=0, le=100)]
PerTask = Points | ByTask[Points | None] | None
Distance = Annotated[float, Field(gt=0, le=0.5)]
Percent = Annotated[float, Field(ge=0, le=10_000)]


class Gates(Sent):
    """Bounds that a candidate must keep to be published: one for all tasks, or one per task, where a task
    that is not named keeps the default. null checks nothing."""

    retained_drop: PerTask = Field(5.0, description="Points of the task's metric lost on what is retained")
    unnamed_drop: PerTask = Field(5.0, description="The same, on un-named tasks of the forgotten instances")
    forget_excess: PerTask = Field(
        10.0,
        description="Points that the forgotten lead the holdout, beyond chance; of earlier requests, too",
    )
    earlier_excess: PerTask = Field(
        0.0,
        description="The same of what earlier requests had forgotten: beyond it that is unlearned again in "
        "the same job, after which forget_excess decides. null: forget_excess alone",
    )
    retained_loss: Percent | ByTask[Percent | None] | None = Field(
        None, description="Rise of the mean loss on what is retained, in percent of the holdout's loss"
    )
    membership_auc: Distance | ByTask[Distance | None] | None = Field(
        None,
        description="Distance of the membership AUC from 1/2, to either side, beyond chance. Decides nothing "
        "where chance alone would reach it: 0.1 needs 65 instances on both sides, 0.05 needs 257",
    )

    def for_tasks(self, tasks: list[str]) -> dict[str, Any]:
        """As it is kept: a bound per task has one for each."""
        return {
            name: bound
            if not isinstance(bound, dict)
            else {task: bound.get(task, field.default) for task in tasks}
            for name, field in type(self).model_fields.items()
            for bound in (getattr(self, name),)
        }

    def tasks_named(self) -> set[str]:
        bounds = [getattr(self, name) for name in type(self).model_fields]
        return {task for bound in bounds if isinstance(bound, dict) for task in bound}


Share = Annotated[float, Field(gt=0, le=1)]


class Approval(Sent):
    """How much of a task's supervision may be forgotten without a person's word. What is not said here, the
    operator's settings say."""

    share: Share | None = Field(
        None, description="Of what was there when a person last approved of something; 1: all of it"
    )
    window_share: Share | None = Field(None, description="Of what was there at the start of the window")
    window_days: float | None = Field(None, gt=0, le=36_500, description="How long the window is")


class Policy(Sent):
    method: Method = "interference_aware"
    visits: int = Field(60, ge=1, le=10_000, description="Forward-backward passes per instance to forget")
    gates: Gates = Field(default_factory=Gates)
    on_miss: list[Step] = Field(
        default_factory=lambda: list(LADDER),
        description="What is tried, in this order, when a candidate misses a gate; needs_review or fail is "
        "the last. A single word is a list of one",
    )
    budget_factor: float = Field(4.0, gt=1, le=100, description="How much larger larger_budget is")
    window: int = Field(
        0,
        ge=0,
        le=2_592_000,
        description="Seconds that a job waits for others to join, never past a due date",
    )
    max_requests: int | None = Field(
        None, ge=1, le=1_000_000, description="A job of so many requests takes no more, and waits no longer"
    )
    quarantine_after: float | None = Field(
        7, ge=0, le=36_500, description="Days from being superseded until a version is withdrawn; null: never"
    )
    delete_after: float | None = Field(
        23, ge=0, le=36_500, description="Days from being withdrawn until its bytes are deleted; null: never"
    )
    max_empirical_steps: int | None = Field(
        None, ge=1, le=1_000_000, description="So many approximate steps in a row, then one by retraining"
    )

    approval: Approval = Field(
        default_factory=Approval, description="When a request waits for a person to approve of it"
    )

    @field_validator("on_miss", mode="before")
    @classmethod
    def _list(cls, sent: Any) -> Any:
        return [sent] if isinstance(sent, str) else sent

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if not self.on_miss or self.on_miss[-1] not in LAST:
            raise ValueError("on_miss must end with needs_review or fail")
        if len(set(self.on_miss)) < len(self.on_miss) or sum(step in LAST for step in self.on_miss) > 1:
            raise ValueError("on_miss names each step once, and only one of needs_review and fail")
        return self
