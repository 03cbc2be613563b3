"""The stronger look's figures as Markdown: means and standard deviations over seeds."""

import platform
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

import torch

from worker.audit.membership_attacks import ATTACKS

COLUMNS = {
    "original": "original",
    "version": "unlearned",
    "version_int8": "int8",
    "version_bfloat16": "bf16",
}


def table(rows: Mapping[str, Any], method: str, forgotten: int) -> str:
    looks = list(rows.values())
    effort = looks[0]["effort"]
    tasks = list(looks[0]["tasks"])
    lines = [
        f"# A stronger look at {forgotten} of 1,000 digits, forgotten for all tasks",
        "",
        f"`python -m benchmarks.stronger_look --seeds {len(rows)} --method {method}`, "
        f"{effort['references']} references on half of the retained data, {effort['retrained']} retrained "
        f"networks, {mean(look['cpu_seconds'] for look in looks):.0f} CPU seconds per seed; "
        f"Python {platform.python_version()}, torch {torch.__version__}. Mean ± standard deviation over "
        "seeds. Areas are ½ where the attack sees nothing; retrained networks are what exact forgetting "
        "leaves. Beyond: unlearned − retrained, mean over seeds, ± 1.96 standard errors of that mean as the "
        "looks themselves estimate them (instances and retrainings). Seen: seeds in which it is beyond "
        "chance, allowing it one look in twenty.",
        "",
        "## Membership: area under the curve",
        "",
        "| attack | task | original | unlearned | int8 | bf16 | retrained | beyond | seen |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for attack in ATTACKS:
        for task in tasks:
            found = [look["tasks"][task]["attacks"][attack] for look in looks]
            cells = [_mean([one[name]["auc"] for one in found], 3) for name in COLUMNS]
            cells.append(_mean([one["retrained"]["auc"] for one in found], 3))
            lines.append(f"| {attack} | {task} | {' | '.join(cells)} | {_beyond(found, 'auc', 1, 3)} |")
    lines += [
        "",
        "## Membership: share caught at 1 % false alarms, %, by low or by high scores",
        "",
        "| attack | task | original | unlearned | int8 | bf16 | retrained | beyond | seen |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for attack in ATTACKS:
        for task in tasks:
            found = [look["tasks"][task]["attacks"][attack] for look in looks]
            cells = [_mean([100 * one[name]["tpr_at_1_fpr"] for one in found], 1) for name in COLUMNS]
            cells.append(_mean([100 * one["retrained"]["tpr_at_1_fpr"] for one in found], 1))
            beyond = _beyond(found, "tpr_at_1_fpr", 100, 1)
            lines.append(f"| {attack} | {task} | {' | '.join(cells)} | {beyond} |")
    lines += [
        "",
        "## Relearning: instance passes until the forgotten is known as before (less 5 %)",
        "",
        "In brackets: over as much data that no network ever learned. Saved: 1 − the one by the other. Seen: "
        "seeds in which more is saved than by retrained networks, by twice their spread.",
        "",
        "| task | unlearned | int8 | bf16 | retrained | unlearned / retrained | saved: unlearned "
        "| retrained | seen |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for task in tasks:
        found = [look["tasks"][task]["relearning"] for look in looks]
        cells = [_passes([one[name] for one in found]) for name in (*COLUMNS, "retrained")][1:]
        cells.append(_mean([one["version"]["ratio"] for one in found], 2))
        cells += [_mean([one[name]["saved"] for one in found], 2) for name in ("version", "retrained")]
        seen = sum(bool(one["version"]["seen"]) for one in found)
        lines.append(f"| {task} | {' | '.join(cells)} | {seen} of {len(found)} |")
    lines += [
        "",
        "## Rounding",
        "",
        "Weights that are the same in the original and the unlearned network once both are rounded, %: "
        + ", ".join(
            f"{kind} {_mean([100 * look['rounding'][kind]['unmoved'] for look in looks], 1)}"
            for kind in looks[0]["rounding"]
        )
        + ".",
        "",
    ]
    return "\n".join(lines)


def _beyond(found: Sequence[Mapping[str, Any]], measure: str, unit: float, digits: int) -> str:
    beyond = [one["version"]["beyond_retraining"][measure] for one in found]
    error = sum(one["standard_error"] ** 2 for one in beyond) ** 0.5 / len(beyond)
    seen = sum(one["seen"] for one in beyond)
    middle = mean(one["difference"] for one in beyond)
    return f"{unit * middle:+.{digits}f} ± {unit * 1.96 * error:.{digits}f} | {seen} of {len(beyond)}"


def _passes(found: Sequence[Mapping[str, Any]]) -> str:
    return f"{_mean([one['passes'] for one in found], 0)} ({_mean([one['unseen'] for one in found], 0)})"


def _mean(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "not reached"
    spread = f" ± {stdev(known):.{digits}f}" if len(known) > 1 else ""
    return f"{mean(known):.{digits}f}{spread}"
