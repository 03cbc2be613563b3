"""Which jobs make which table: a base grid, and one axis at a time around it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.unlearning.chosen import Chosen
from benchmarks.unlearning.configurations import NOTHING, Configuration, compared_methods
from benchmarks.unlearning.controls import CONTROLS
from benchmarks.unlearning.jobs import Job
from benchmarks.unlearning.problems import ProblemKey
from benchmarks.unlearning.requests import RequestPlan
from benchmarks.unlearning.sources import MANY_RECORDS, RECORDS, Source

FRACTION = 0.05
OURS = "interference_aware"
ALONE = "projected_ascent"
AIMED = {"calibration.aim": "holdout"}
AMONG_MANY = (OURS, "random_label", "salun", "scrub", "sfron", "bad_teacher")
COSTED = (OURS, "random_label", "salun", "negative_gradient_plus")
SELECTIONS: tuple[Literal["random", "clustered"], ...] = ("random", "clustered")


@dataclass(frozen=True)
class Scale:
    """What to run on. seeds: of the test problems. folders in `sources` are real data."""

    sources: tuple[Source, ...]
    seeds: tuple[int, ...]
    chosen: Chosen
    epochs: int | None = None
    methods: tuple[str, ...] | None = None

    def problem(self, source: Source, seed: int) -> ProblemKey:
        folder = str(source.folder) if source.folder else None
        return ProblemKey(source.name, seed, epochs=self.epochs, folder=folder)

    def compared(self) -> tuple[str, ...]:
        return (NOTHING, *(self.methods or compared_methods()))


def base(scale: Scale) -> list[Job]:
    """Random and clustered, full and partial (each task), 5 % of the data, every method."""
    plans = [
        (source, RequestPlan(selection, scope, FRACTION))
        for source in scale.sources
        for selection in SELECTIONS
        for scope in ("full", *[spec.name for spec in source.tasks])
    ]
    return _cross("base", scale, plans)


def fraction(scale: Scale) -> list[Job]:
    """1 % and 10 % of the data, random and clustered, full."""
    plans = [
        (source, RequestPlan(selection, "full", share))
        for source in scale.sources
        for selection in SELECTIONS
        for share in (0.01, 0.1)
    ]
    return _cross("fraction", scale, plans)


def amount(scale: Scale) -> list[Job]:
    """Fifty instances as in the base grid, of ten times the data: as chosen on the tenth of it."""
    chosen = scale.chosen
    return [
        Job("amount", scale.problem(MANY_RECORDS, seed), plan, method, chosen.of(RECORDS.name, method))
        for seed in scale.seeds
        if RECORDS in scale.sources
        for selection in SELECTIONS
        for plan in (RequestPlan(selection, "full", FRACTION / 10),)
        for method in (NOTHING, *AMONG_MANY, *CONTROLS)
        if method in (*scale.compared(), *CONTROLS)
    ]


def hardness(scale: Scale) -> list[Job]:
    """The highest losses, and requests that mix full and partial."""
    plans = [
        (source, plan)
        for source in scale.sources
        for plan in (
            RequestPlan("hard", "full", FRACTION),
            RequestPlan("hard", source.tasks[0].name, FRACTION),
            RequestPlan("random", "mixed", FRACTION),
            RequestPlan("clustered", "mixed", FRACTION),
        )
    ]
    return _cross("hardness", scale, plans)


def sequence(scale: Scale) -> list[Job]:
    """Five jobs of 2 % each, one after the other."""
    return _cross("sequence", scale, [(s, RequestPlan("random", "full", 0.02, 5)) for s in scale.sources])


def aim(scale: Scale) -> list[Job]:
    """The base grid's requests with our method aimed at the holdout: what UIS alone would ask for."""
    return [replace(job, axis="aim", configuration=_aimed(job)) for job in base(scale) if job.method == OURS]


def _aimed(job: Job) -> Configuration:
    return replace(job.configuration, fields={**job.configuration.fields, **AIMED})


def controls(scale: Scale) -> list[Job]:
    """The base grid's requests, our method's passes spent on training anew."""
    return [
        replace(job, axis="controls", method=name, configuration=Configuration())
        for job in base(scale)
        if job.method == OURS
        for name in CONTROLS
    ]


def ablation(scale: Scale) -> list[Job]:
    """Our method with less of everything; with its guards as needed, always and never, at its own rate and at
    four times as much; and the paper's two mechanisms alone, each switched on and off, as tuned."""
    ours = [
        Configuration(),
        *[Configuration({"guards": guards}) for guards in ("always", "never")],
        *[Configuration({"guards": guards}, rate=4.0) for guards in ("when_needed", "always", "never")],
        Configuration({}, {"visits": 10}),
        Configuration({"calibration.probe_samples": 920}),
        Configuration({"calibration.reference_samples": 160}),
    ]
    variants = {source.name: [(OURS, one) for one in ours] for source in scale.sources}
    for source in scale.sources:
        tuned = scale.chosen.of(source.name, ALONE).fields
        variants[source.name] += [
            (ALONE, Configuration({**tuned, "settings.project": p, "settings.orthogonalize": o}))
            for p in (True, False)
            for o in (True, False)
        ]
    present = compared_methods()
    return [
        Job("ablation", scale.problem(source, seed), RequestPlan(selection, scope, FRACTION), method, variant)
        for source in scale.sources
        for seed in scale.seeds
        for selection in SELECTIONS
        for scope in ("full", source.tasks[-1].name)
        for method, variant in variants[source.name]
        if method in present
    ]


def steps(scale: Scale) -> list[Job]:
    """Every method told a recipe with a quarter, and with four times, the learning rate."""
    return [
        replace(job, axis="steps", configuration=replace(job.configuration, rate=factor))
        for job in _cross(
            "steps", scale, [(s, RequestPlan("random", "full", FRACTION)) for s in scale.sources]
        )
        if job.method != NOTHING
        for factor in (0.25, 1.0, 4.0)
    ]


def cost(scale: Scale) -> list[Job]:
    """Growth of the cost with |F|, |D|, tasks and parameters, on the first seed."""
    found: list[Job] = []
    for source in scale.sources:
        key = scale.problem(source, scale.seeds[0])
        variants = [(key, share) for share in (0.01, 0.02, 0.05, 0.1)]
        if source.folder is None:
            variants += [(replace(key, instances=count), 20 / count) for count in (100, 200, 400)]
        variants += [(replace(key, tasks=count), FRACTION) for count in range(1, len(source.tasks))]
        variants += [(replace(key, width=width), FRACTION) for width in (0.5, 2.0)]
        found += [
            Job(
                "cost",
                problem,
                RequestPlan("random", "full", share),
                method,
                scale.chosen.of(source.name, method),
            )
            for problem, share in variants
            for method in COSTED
            if method in scale.compared()
        ]
    return found


AXES: dict[str, Callable[[Scale], list[Job]]] = {
    "base": base,
    "fraction": fraction,
    "amount": amount,
    "hardness": hardness,
    "sequence": sequence,
    "aim": aim,
    "controls": controls,
    "ablation": ablation,
    "steps": steps,
    "cost": cost,
}


def _cross(axis: str, scale: Scale, plans: Sequence[tuple[Source, RequestPlan]]) -> list[Job]:
    """Every method, with its chosen configuration, on every plan and seed; one problem's jobs together."""
    return [
        Job(axis, scale.problem(source, seed), plan, method, scale.chosen.of(source.name, method))
        for seed in scale.seeds
        for source, plan in plans
        for method in scale.compared()
    ]
