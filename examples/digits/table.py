"""The comparison as tables for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from examples.digits.comparison import Comparison


def memorised_table(found: Mapping[str, Any]) -> Table:
    table = Table(title="What the trained network knows by heart", title_justify="left")
    for column in ("task", "metric"):
        table.add_column(column)
    for column in ("training", "held out", "gap", "membership AUC"):
        table.add_column(column, justify="right")
    for task, values in found.items():
        table.add_row(
            task,
            values["metric"],
            f"{values['train']['value']:.1f}",
            f"{values['holdout']['value']:.1f}",
            f"{values['gap']:+.1f}",
            f"{values['membership']['auc']:.2f} ± {1.96 * values['membership']['standard_error']:.2f}",
        )
    return table


def comparison_table(title: str, comparison: Comparison, old: str, new: str) -> Table:
    """Metrics in points with 95 % intervals, then the attack's AUC."""
    table = Table(title=title, title_justify="left")
    for column in ("task (metric)", "on which data"):
        table.add_column(column)
    for column in ("n", old, new, "retrained"):
        table.add_column(column, justify="right")
    last = None
    for row in comparison.rows:
        if last not in (None, row.task):
            table.add_section()
        name = "" if row.task == last else f"{row.task} ({row.metric})"
        last = row.task
        forgotten = row.part == "forgotten"
        table.add_row(
            name,
            row.part,
            str(row.new["n"]),
            _estimate(row.old),
            _estimate(row.new),
            _estimate(row.retrained),
            style="bold" if forgotten else None,
        )
    table.add_section()
    for attack in comparison.attacks:
        table.add_row(
            attack.task,
            "membership inference (AUC)",
            str(attack.new["members"]),
            *(
                f"{found['auc']:.2f} ± {1.96 * found['standard_error']:.2f}"
                for found in (attack.old, attack.new, attack.retrained)
            ),
        )
    return table


def _estimate(found: Mapping[str, Any]) -> str:
    return f"{found['value']:5.1f} [{found['low']:.0f}, {found['high']:.0f}]"
