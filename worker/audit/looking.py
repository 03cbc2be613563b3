"""The look itself, in order: references → retrained → roundings → membership → relearning → findings."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from worker.audit.answers import Asking, Parts
from worker.audit.findings import NOT_SHOWN, findings
from worker.audit.membership_attacks import Reference, attack_task
from worker.audit.relearning_attack import attack_by_relearning
from worker.audit.subject import ENOUGH, Effort, Subject
from worker.audit.trained import references, retrained
from worker.audit.work_folder import WorkFolder
from worker.engine.contract import Refused
from worker.engine.evaluation.rounding import ROUNDINGS, rounded, share_unmoved

Tell = Callable[[str, float], None]  # what is being done, and which share of all is done


def look(
    subject: Subject, effort: Effort, folder: WorkFolder, device: torch.device, tell: Tell
) -> dict[str, Any]:
    """The report's `tasks`, `rounding`, `findings` and `not_shown`: what was found, whatever it is.

    Raises `Refused`: too_few_networks, forget_set_too_small, task_would_be_erased, loss_not_finite.
    """
    refuse_what_means_nothing(subject, effort)
    stages = effort.references + effort.retrained + 1
    begun: dict[str, int] = {}

    def training(name: str, share: float) -> None:
        tell(f"training {name}", (begun.setdefault(name, len(begun)) + share) / stages)

    parts = Parts.of(subject, effort.seed)
    asking = Asking(subject, parts, device)
    known = [
        Reference(asking.ask(network), ~left_out[parts.retained])
        for network, left_out in references(subject, effort, folder, device, training)
    ]
    exact = retrained(subject, effort, folder, device, training)
    networks: dict[str, nn.Module] = {"version": subject.version}
    networks |= {f"version_{kind}": rounded(subject.version, kind) for kind in ROUNDINGS}
    remembering = {"original": subject.original} if subject.original is not None else {}
    answers = {name: asking.ask(network) for name, network in (remembering | networks).items()}
    floor = [asking.ask(network) for network in exact]
    relearned = attack_by_relearning(
        subject,
        asking.tasks,
        parts,
        remembering | networks,
        exact,
        effort,
        device,
        lambda share: tell("relearning", (stages - 1 + share) / stages),
    )
    tasks = {
        subject.tasks[column].name: attack_task(subject, parts, column, answers, floor, known, effort.seed)
        | {"relearning": relearned[subject.tasks[column].name]}
        for column in subject.attacked
    }
    return {
        "effort": asdict(effort),
        "tasks": tasks,
        "too_few": {
            spec.name: int(subject.forgotten[:, column].sum())
            for column, spec in enumerate(subject.tasks)
            if column not in subject.attacked and bool(subject.forgotten[:, column].any())
        },
        "rounding": {
            kind: {"unmoved": round(share_unmoved(subject.original, subject.version, kind), 6)}
            for kind in ROUNDINGS
            if subject.original is not None
        },
        "findings": findings(tasks),
        "not_shown": list(NOT_SHOWN),
    }


def refuse_what_means_nothing(subject: Subject, effort: Effort) -> None:
    """Raises `Refused`: nothing_forgotten, too_few_networks, forget_set_too_small."""
    if not bool(subject.forgotten.any()):
        raise Refused(
            "nothing_forgotten", "This version has forgotten nothing, so there is nothing to look for in it."
        )
    if effort.references < 2 or effort.retrained < 2 or effort.orders < 1:
        raise Refused(
            "too_few_networks",
            "At least 2 references and 2 retrained networks are needed: one to learn from how to attack the "
            "other, and two to tell how far exact retraining itself varies.",
        )
    if not subject.attacked:
        counts = subject.forgotten.sum(dim=0).tolist()
        told = ", ".join(f"{spec.name} {n}" for spec, n in zip(subject.tasks, counts, strict=True) if n)
        raise Refused(
            "forget_set_too_small",
            f"At least {ENOUGH} forgotten instances of a task are needed for its figures to mean anything; "
            f"this version has forgotten: {told}. Look at a later version, which has forgotten more.",
        )
