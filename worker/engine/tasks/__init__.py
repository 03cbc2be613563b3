"""Task kinds, by the name that a `TaskSpec` gives, and tasks bound to the data of one run."""

from worker.engine.contract import Refused, TaskSpec
from worker.engine.plugins import plugin_names
from worker.engine.tasks.classification import Classification
from worker.engine.tasks.depth import Depth
from worker.engine.tasks.kind import TaskKind
from worker.engine.tasks.normals import Normals
from worker.engine.tasks.plugged_in import plugged_in_kind
from worker.engine.tasks.regression import Regression
from worker.engine.tasks.segmentation import Segmentation

TASK_KINDS: dict[str, TaskKind] = {
    "classification": Classification(),
    "depth": Depth(),
    "normals": Normals(),
    "regression": Regression(),
    "segmentation": Segmentation(),
}


def kind_of(spec: TaskSpec) -> TaskKind:
    """The kind of a task, of ours or of a plug-in. Raises `Refused`: task_kind_unknown, plugin_broken."""
    if spec.kind in TASK_KINDS:
        return TASK_KINDS[spec.kind]
    kind = plugged_in_kind(spec.kind)
    if kind is None:
        known = sorted({*TASK_KINDS, *plugin_names("lethe.task_kinds")})
        raise Refused(
            "task_kind_unknown",
            f"Task {spec.name!r} is of kind {spec.kind!r}; known kinds are {', '.join(known)}.",
        )
    return kind


def is_dense(spec: TaskSpec) -> bool:
    """Whether the task has an answer per pixel, (B, outputs, H, W), and not one per instance."""
    return bool(getattr(kind_of(spec), "dense", False))


__all__ = ["TASK_KINDS", "TaskKind", "is_dense", "kind_of"]
