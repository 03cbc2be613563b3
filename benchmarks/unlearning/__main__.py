"""python -m benchmarks.unlearning: tune, run, report."""

import sys
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.unlearning.chosen import Chosen, read_chosen
from benchmarks.unlearning.comparing import comparison
from benchmarks.unlearning.configurations import compared_methods
from benchmarks.unlearning.finished_rows import FinishedRows
from benchmarks.unlearning.grid import AXES, OURS, Scale
from benchmarks.unlearning.jobs import Job
from benchmarks.unlearning.memorised import dense_figures, memorised
from benchmarks.unlearning.reporting import write_report
from benchmarks.unlearning.smoke import smoke as run_smoke
from benchmarks.unlearning.sources import known_sources
from benchmarks.unlearning.sweep import sweep
from benchmarks.unlearning.tuning import DEVELOPMENT_SEEDS, choose, tuning_jobs
from benchmarks.unlearning.yardsticks import prepared

RESULTS = Path(__file__).parents[1] / "results" / "unlearning"
CACHE = Path(__file__).parents[2] / "var" / "benchmark"

console = Console()
application = typer.Typer(no_args_is_help=False, add_completion=False, pretty_exceptions_enable=False)

SourcesOption = Annotated[str, typer.Option(help="Data sets, with commas between them.")]
MethodsOption = Annotated[str, typer.Option(help="Methods, with commas; all of them if empty.")]
SeedsOption = Annotated[str, typer.Option(help="Seeds: 0-4, or 0,3,7.")]
ProcessesOption = Annotated[int, typer.Option(help="Worker processes of one thread; 0: in this one.")]
ResultsOption = Annotated[Path, typer.Option(help="Where rows, choices and reports are.")]
CacheOption = Annotated[Path, typer.Option(help="Where data and trained networks are kept.")]
Nyuv2Option = Annotated[Path | None, typer.Option(help="NYUv2 as MTAN published it: train/, val/.")]
CityscapesOption = Annotated[Path | None, typer.Option(help="Cityscapes as MTAN published it.")]


@application.callback(invoke_without_command=True)
def door(
    context: typer.Context,
    smoke: Annotated[bool, typer.Option("--smoke", help="Everything once, tiny, in seconds.")] = False,
    folder: Annotated[Path, typer.Option(help="Where --smoke writes.")] = CACHE / "smoke",
) -> None:
    """Compare unlearning methods with retraining, on the same networks, data, requests and seeds."""
    torch.set_num_threads(1)
    if smoke:
        raise typer.Exit(0 if run_smoke(folder, folder / "cache", console) else 1)
    if context.invoked_subcommand is None:
        console.print(context.get_help())


@application.command()
def problems(
    sources: SourcesOption = "", seeds: SeedsOption = "0", cache: CacheOption = CACHE,
    nyuv2: Nyuv2Option = None, cityscapes: CityscapesOption = None,
) -> None:  # fmt: skip
    """Train the networks and print what they know by heart, and the literature's figures of dense tasks."""
    scale = _scale(sources, seeds, "", Chosen({}), nyuv2, cityscapes)
    table = Table(
        "data", "seed", "task", "train", "held out", "gap", "membership AUC", "parameters", "seconds"
    )
    dense = Table("data", "seed", "task", "figure", "train", "held out")
    for source in scale.sources:
        for seed in scale.seeds:
            problem = prepared(scale.problem(source, seed), cache)
            for row in memorised(problem):
                table.add_row(*row)
            for row in dense_figures(problem):
                dense.add_row(*row)
    console.print(table)
    if dense.rows:
        console.print(dense)


@application.command()
def tune(
    sources: SourcesOption = "", methods: MethodsOption = "", processes: ProcessesOption = 2,
    results: ResultsOption = RESULTS, cache: CacheOption = CACHE,
    nyuv2: Nyuv2Option = None, cityscapes: CityscapesOption = None,
) -> None:  # fmt: skip
    """Try every configuration on the development seeds, and write down the best with its evidence."""
    seeds = ",".join(map(str, DEVELOPMENT_SEEDS))
    scale = _scale(sources, seeds, methods, Chosen({}), nyuv2, cityscapes)
    rows, jobs = FinishedRows(results / "tuning.jsonl"), tuning_jobs(scale)
    finished = sweep(jobs, rows, cache, processes=processes, console=console)
    choose(jobs, rows, results / "configurations.json", DEVELOPMENT_SEEDS)
    _end(finished)


@application.command()
def run(
    axes: Annotated[str, typer.Option(help=f"Of {', '.join(AXES)}; with commas.")] = "base",
    sources: SourcesOption = "", methods: MethodsOption = "", seeds: SeedsOption = "0-2",
    processes: ProcessesOption = 2, results: ResultsOption = RESULTS, cache: CacheOption = CACHE,
    nyuv2: Nyuv2Option = None, cityscapes: CityscapesOption = None,
    dry: Annotated[bool, typer.Option("--dry", help="Only count the runs.")] = False,
) -> None:  # fmt: skip
    """Run what is not finished, with the configurations that `tune` chose, and write the report."""
    chosen = read_chosen(results / "configurations.json")
    scale = _scale(sources, seeds, methods, chosen, nyuv2, cityscapes)
    for source in scale.sources:
        missing = [method for method in scale.compared()[1:] if not chosen.tuned(source.name, method)]
        if missing:
            console.print(
                f"[yellow]{source.name}: never tuned, run by default: {', '.join(missing)}[/yellow]"
            )
    jobs: list[Job] = [job for axis in _listed(axes, tuple(AXES)) for job in AXES[axis](scale)]
    rows = FinishedRows(results / "rows.jsonl")
    if dry:
        console.print(f"{len(jobs)} runs, {sum(job.key in rows for job in jobs)} of them finished")
        return
    finished = sweep(jobs, rows, cache, processes=processes, console=console)
    write_report(rows, chosen, results)
    _end(finished)


@application.command()
def report(results: ResultsOption = RESULTS) -> None:
    """Write the tables and plots anew from the rows."""
    file = write_report(
        FinishedRows(results / "rows.jsonl"), read_chosen(results / "configurations.json"), results
    )
    console.print(f"{file}")


@application.command()
def compare(before: Path, after: Path, method: str = OURS) -> None:
    """Print what a change did: two versions' rows, each `run` into a folder of its own (--results), on the
    same seeds. Development seeds are those from 1000 on."""
    rows = [FinishedRows(folder / "rows.jsonl") for folder in (before, after)]
    console.print(comparison(*rows, method), markup=False, highlight=False, soft_wrap=True)


def _scale(
    sources: str, seeds: str, methods: str, chosen: Chosen, nyuv2: Path | None, cityscapes: Path | None
) -> Scale:
    folders = {
        name: str(folder.resolve())
        for name, folder in (("nyuv2", nyuv2), ("cityscapes", cityscapes))
        if folder
    }
    known = known_sources(folders)
    return Scale(
        tuple(known[name] for name in _listed(sources, tuple(known)) if sources or known[name].standard),
        _numbers(seeds),
        chosen,
        methods=_listed(methods, compared_methods()) if methods else None,
    )


def _listed(text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip()) or known
    unknown = [name for name in names if name not in known]
    if unknown:
        raise typer.BadParameter(f"unknown: {', '.join(unknown)}; known are {', '.join(known)}")
    return names


def _numbers(text: str) -> tuple[int, ...]:
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return tuple(found)


def _end(finished: bool) -> None:
    if not finished:
        console.print("Not everything is finished; the same command goes on where this one ended.")
        sys.exit(1)


if __name__ == "__main__":
    application()
