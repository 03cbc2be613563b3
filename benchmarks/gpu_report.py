"""The figures of `benchmarks.gpu` as a page."""

from collections.abc import Mapping
from typing import Any


def report(found: Mapping[str, Any]) -> str:
    machine = found["machine"]
    lines = [
        f"# {found['setting']} on a GPU\n",
        f"`python -m benchmarks.gpu`; {machine['device']}, torch {machine['torch']}, Python "
        f"{machine['python']}. float32 convolutions use TF32, torch's default. Memory: the most that torch "
        "had allocated.\n",
        "| precision | step | images per second | peak memory, GiB |\n|---|---|---:|---:|",
    ]
    for precision, measured in found["precisions"].items():
        for name, step in measured["steps"].items():
            lines.append(
                f"| {precision} | {name.replace('_', ' ')} | {step['images_per_second']:.1f} |"
                f" {(step['peak_bytes'] or 0) / 2**30:.2f} |"
            )
    lines.append(
        "\n| precision | idle | engaged | whole job, s | its peak, GiB | retraining, s |\n" + "|---" * 6 + "|"
    )
    for precision, measured in found["precisions"].items():
        job, ratio = measured["job"], measured["step_ratio"]
        lines.append(
            f"| {precision} | {ratio['idle']:.2f} | {ratio['engaged']:.2f} | {job['seconds']:.0f} |"
            f" {(job['peak_bytes'] or 0) / 2**30:.2f} | {job['retraining_seconds']:.0f} |"
        )
    return "\n".join(lines) + "\n"
