"""What the figures say, in sentences; and what no figure here could say."""

from collections.abc import Iterator, Mapping
from typing import Any

from worker.audit.membership_attacks import ATTACKS

JUDGED = {
    "version": "this version",
    "version_int8": "this version rounded to int8",
    "version_bfloat16": "this version rounded to bfloat16",
}
CALLED = {
    "loss": "the attack by loss",
    "rmia": "RMIA",
    "unusual": "the attack by unusual answers",
}

NOT_SHOWN = (
    "That nothing is left: these attacks found what they found, and others may find more. What was not seen "
    "may still be smaller than `smallest_visible`.",
    "Anything about single instances: all figures are over all that was forgotten of a task.",
    "What an attacker learns who has an earlier version beside this one: the difference of two versions "
    "tells what was deleted in between.",
    "Attacks by whoever can add to the training data, or who sees gradients or activations.",
    "What retrained networks and references cannot know: they were trained by the registered recipe. If the "
    "model was trained in another way, what they say of it is off by that difference.",
)


def findings(tasks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences: what was seen first, then what was not. What `seen` means stands beside the figures."""
    seen: list[str] = []
    unseen: list[str] = []
    for task, figures in tasks.items():
        for said, is_seen in (*_membership(task, figures), *_relearning(task, figures["relearning"])):
            (seen if is_seen else unseen).append(said)
    return seen + unseen


def _membership(task: str, figures: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    for attack in ATTACKS:
        found = figures["attacks"][attack]
        for name, called in JUDGED.items():
            one, floor = found[name], found["retrained"]
            beyond = one["beyond_retraining"]
            areas = (
                f"area {one['auc']:.3f}, and {floor['auc']:.3f} on retrained networks, which never saw it "
                f"(± {1.96 * beyond['auc']['standard_error']:.3f})"
            )
            if beyond["tpr_at_1_fpr"] is not None:
                error = 1.96 * beyond["tpr_at_1_fpr"]["standard_error"]
                areas += (
                    f"; caught at 1 % false alarms {100 * one['tpr_at_1_fpr']:.1f} %, and "
                    f"{100 * floor['tpr_at_1_fpr']:.1f} % (± {100 * error:.1f})"
                )
            if one["seen"]:
                yield (
                    f"SEEN: {CALLED[attack]} tells forgotten {task!r} from unseen in {called}: {areas}.",
                    True,
                )
            else:
                yield (f"Not seen by {CALLED[attack]} for {task!r} in {called}: {areas}.", False)


def _relearning(task: str, figures: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    floor = figures["retrained"]
    for name, called in JUDGED.items():
        one = figures[name]
        times = (
            f"{_passes(one['passes'])} over it to {figures['level']:.1f} points less 5 %, and "
            f"{_passes(one['unseen'])} over as much data never learned; retrained networks "
            f"{_passes(floor['passes'])} and {_passes(floor['unseen'])}"
        )
        if one["seen"]:
            yield f"SEEN: {called} relearns {task!r} as if some of it were left: {times}.", True
        elif one["seen"] is None:
            yield f"Cannot be told whether {called} relearns {task!r} quicker: {times}.", False
        elif one["sooner"]:
            yield (
                f"Not seen by relearning {task!r}: {called} is quick, but as quick on other data: {times}.",
                False,
            )
        else:
            yield f"Not seen by relearning {task!r}: {called} is no quicker: {times}.", False


def _passes(passes: float | None) -> str:
    return "never all the way" if passes is None else f"{passes:.0f} passes"
