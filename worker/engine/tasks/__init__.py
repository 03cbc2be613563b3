"""Task kinds, by the name that a `TaskSpec` gives, and tasks bound to the data of one run."""

from worker.engine.contract import Refused, TaskSpec
from worker.engine.tasks.classification import Classification
from worker.engine.tasks.kind import TaskKind
from worker.engine.tasks.regression import Regression

TASK_KINDS: dict[str, TaskKind] = {
    "classification": Classification(),
    "regression": Regression(),
}


def kind_of(spec: TaskSpec) -> TaskKind:
    """The kind of a task. Raises `Refused("task_kind_unknown")`."""
    if spec.kind not in TASK_KINDS:
        raise Refused(
            "task_kind_unknown",
            f"Task {spec.name!r} is of kind {spec.kind!r}; known kinds are {', '.join(sorted(TASK_KINDS))}.",
        )
    return TASK_KINDS[spec.kind]


__all__ = ["TASK_KINDS", "TaskKind", "kind_of"]
