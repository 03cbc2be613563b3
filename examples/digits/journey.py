"""The journey of two deletion requests, step by step, with what each step shows."""

from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import nn

from examples.digits.background import InBackground
from examples.digits.comparison import Comparison, compare, forget_set
from examples.digits.data import NETWORK, RECIPE, TASKS
from examples.digits.table import comparison_table, memorised_table
from examples.digits.training import (
    Workshop,
    load_network,
    memorised,
    open_workshop,
    save_network,
    train_network,
)
from lethe import Client
from lethe.answers import DeletionRequest, Version
from worker.engine.contract import ForgetSet

MODEL = "digits-mlp"
ALL_TASKS = [str(task["name"]) for task in TASKS]
INSTANCES = 150


class JourneyFailed(Exception):
    """Something came out otherwise than a journey can go on with; the message is the service's sentence."""


class Journey:
    """Everything a client does, in order. Files go to `output`; data to a folder the service may read."""

    def __init__(self, client: Client, data: Path, output: Path, seed: int, console: Console) -> None:
        self.client = client
        self.data = data
        self.output = output
        self.seed = seed
        self.console = console
        self.costs: list[str] = []

    def run(self) -> None:
        workshop = open_workshop(self.data / "digits", self.seed)
        original = self._train(workshop)
        self._register(workshop)
        ids = list(workshop.train.ids)
        full = forget_set(workshop, ids[:INSTANCES], ALL_TASKS)
        partial = forget_set(workshop, ids[INSTANCES : 2 * INSTANCES], ["digit"], earlier=full)
        comparisons: dict[str, Comparison] = {}
        network = original
        for title, forget, tasks, instances in (
            ("full-task", full, ALL_TASKS, ids[:INSTANCES]),
            ("partial-task", partial, ["digit"], ids[INSTANCES : 2 * INSTANCES]),
        ):
            comparisons[title], network = self._delete(workshop, network, title, forget, tasks, instances)
        from examples.digits.picture import draw  # matplotlib only now: nobody waits for it at the start

        draw(comparisons, self.output / "comparison.png")
        self.console.print(f"The same as a picture: {self.output / 'comparison.png'}")
        self._use(workshop, network)

    def _train(self, workshop: Workshop) -> nn.Module:
        self.console.print(
            f"\n[bold]1. Train[/bold] a network with three tasks on {len(workshop.train)} handwritten digits"
        )
        with self._bar() as bar:
            job = InBackground(lambda monitor: train_network(workshop, seed=self.seed, monitor=monitor))
            job.show(bar, "training")
            network = job.wait()
        found = memorised(network, workshop)
        self.console.print(memorised_table(found))
        save_network(network, self.output / "original.safetensors")
        return network

    def _register(self, workshop: Workshop) -> None:
        self.console.print("\n[bold]2. Register[/bold] the data and the model over HTTP")
        train, holdout = workshop.train_folder.resolve(), workshop.holdout_folder.resolve()
        with self.console.status("checking the data"):
            self.client.register_dataset("digits", train.as_uri(), holdout_url=holdout.as_uri())
            dataset = self.client.wait_for_dataset("digits")
        _expect(dataset.status, "ready", "The data set", dataset.error_detail)
        with self.console.status("checking the checkpoint"):
            # Three in ten digits go in one afternoon: more than may without a person's word, by default.
            policy = {"approval": {"window_share": 0.5}}
            self.client.register_model(
                MODEL, dataset="digits", network=NETWORK, tasks=TASKS, recipe=RECIPE, policy=policy
            )
            self.client.upload_checkpoint(MODEL, self.output / "original.safetensors")
            model = self.client.wait_for_model(MODEL)
        _expect(model.status, "ready", "The model", model.error_detail)
        self.console.print(
            f"  data set [cyan]digits[/cyan] is {dataset.status} ({dataset.instance_count} instances);"
            f" model [cyan]{MODEL}[/cyan] is {model.status}"
        )

    def _delete(
        self,
        workshop: Workshop,
        old: nn.Module,
        title: str,
        forget: ForgetSet,
        tasks: list[str],
        instances: list[str],
    ) -> tuple[Comparison, nn.Module]:
        everything = tasks == ALL_TASKS
        named = "all tasks" if everything else "task " + ", ".join(tasks)
        step = "3" if everything else "4"
        self.console.print(
            f"\n[bold]{step}. Delete[/bold] {len(instances)} people's supervision of {named}"
            f" ({title} request)"
        )
        request = self.client.request_deletion(
            instances,
            model=MODEL,
            tasks="all" if everything else tasks,
            reference=f"demo-{title}",
            regulation="gdpr",
            idempotency_key=f"demo-{title}",
        )
        self.console.print(f"  request {request.id} is {request.status}, due {request.due_at:%Y-%m-%d}")
        retraining = InBackground(
            lambda monitor: train_network(workshop, forget, seed=self.seed + 1000, monitor=monitor)
        )
        try:
            with self._bar() as bar:
                retraining.show(bar, "retraining, to compare")
                done = self._follow(bar, request)
                retrained = retraining.wait()
        finally:
            retraining.stop()
        version = self.client.get_version(MODEL, done.result_version)
        number, file = version.number, self.output / f"version-{version.number}.safetensors"
        fetched = self.client.download(MODEL, number, file)
        self.console.print(f"  downloaded version {number} to {file}; {fetched.digest[:23]}… matches")
        comparison = compare(workshop, version.report, old, retrained, forget)
        self.console.print(
            comparison_table(
                f"What is known after the {title} request (points, 95 % intervals)",
                comparison,
                f"version {number - 1}",
                f"version {number}",
            )
        )
        self._show_cost(version, retraining.seconds)
        return comparison, load_network(file)

    def _show_cost(self, version: Version, retraining_seconds: float) -> None:
        run = version.report["run"]
        self.console.print(
            f"  cost: {run['seconds']['unlearning']:.1f} s of unlearning,"
            f" {run['passes']} passes in instances,"
            f" {run['visits_per_forget_instance']:.0f} visits per forgotten instance, on {run['device']};"
            f" retraining beside it took {retraining_seconds:.1f} s. UIS {version.report['uis']:.1f}"
        )

    def _use(self, workshop: Workshop, network: nn.Module) -> None:
        self.console.print("\n[bold]5. Use[/bold] the newest version")
        batch = workshop.holdout.fetch(torch.arange(8))
        outputs = network(batch.inputs)
        said = outputs["digit"].argmax(dim=1).tolist()
        self.console.print(f"  digits it reads in held-out scans: {said}")
        self.console.print(f"  their (partly wrong) labels:       {batch.targets['digit'].tolist()}")

    def _follow(self, bar: Progress, request: DeletionRequest) -> DeletionRequest:
        line = bar.add_task("new version: queued", total=1)
        for event in self.client.events(request.id):
            if event.type == "progress":
                told = event.data
                description = f"new version: {told['phase']}"
                bar.update(line, description=description, completed=told["done"], total=told["total"])
            elif event.type == "request.needs_review":  # a person decides, and the events go on then
                break
        done = self.client.wait(request)
        _expect(done.status, "succeeded", "The request", done.error_detail)
        bar.update(line, completed=1, total=1, description=f"new version: {done.status}")
        return done

    def _bar(self) -> Progress:
        return Progress(
            TextColumn("  {task.description:<34}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            console=self.console,
        )


def _expect(status: str, wanted: str, what: str, detail: str | None) -> None:
    if status != wanted:
        raise JourneyFailed(f"{what} is {status}: {detail}")
