"""The journey of two deletion requests, step by step, with what each step shows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import nn

from examples.digits.background import InBackground
from examples.digits.client import Client, JourneyFailed
from examples.digits.comparison import Comparison, compare, forget_set
from examples.digits.data import NETWORK, RECIPE, TASKS
from examples.digits.picture import draw
from examples.digits.table import comparison_table, memorised_table
from examples.digits.training import (
    Workshop,
    load_network,
    memorised,
    open_workshop,
    save_network,
    train_network,
)
from worker.engine.contract import ForgetSet

MODEL = "digits-mlp"
ALL_TASKS = [str(task["name"]) for task in TASKS]
INSTANCES = 150


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
        self.client.post(
            "/v1/datasets",
            {
                "name": "digits",
                "format": "arrays",
                "url": f"file://{workshop.train_folder.resolve()}",
                "holdout_url": f"file://{workshop.holdout_folder.resolve()}",
            },
        )
        dataset = self._settled("/v1/datasets/digits", "checking the data")
        body = {"name": MODEL, "network": NETWORK, "tasks": TASKS, "dataset": "digits", "recipe": RECIPE}
        body |= {"policy": {"approval": {"window_share": 0.5}}}  # three in ten digits go in one afternoon
        self.client.post("/v1/models", body)
        self.client.upload_checkpoint(MODEL, self.output / "original.safetensors")
        model = self._settled(f"/v1/models/{MODEL}", "checking the checkpoint")
        self.console.print(
            f"  data set [cyan]digits[/cyan] is {dataset['status']} ({dataset['instance_count']} instances);"
            f" model [cyan]{MODEL}[/cyan] is {model['status']}"
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
        request = self.client.post(
            "/v1/deletion-requests",
            {
                "model": MODEL,
                "instances": instances,
                "tasks": "all" if everything else tasks,
                "reference": f"demo-{title}",
                "regulation": "gdpr",
            },
            **{"Idempotency-Key": f"demo-{title}"},
        )
        self.console.print(f"  POST /v1/deletion-requests → 202, {request['id']}, due {request['due_at']}")
        retraining = InBackground(
            lambda monitor: train_network(workshop, forget, seed=self.seed + 1000, monitor=monitor)
        )
        try:
            with self._bar() as bar:
                retraining.show(bar, "retraining, to compare")
                done = self._follow_request(bar, request["id"], retraining)
                retrained = retraining.wait()
        finally:
            retraining.stop()
        number = done["result_version"]
        report = self.client.get(f"/v1/models/{MODEL}/versions/{number}")["report"]
        file = self.output / f"version-{number}.safetensors"
        digest = self.client.download_checkpoint(MODEL, number, file)
        self.console.print(f"  downloaded version {number} to {file}; sha256 {digest[:16]}… matches")
        comparison = compare(workshop, report, old, retrained, forget)
        self.console.print(
            comparison_table(
                f"What is known after the {title} request (points, 95 % intervals)",
                comparison,
                f"version {number - 1}",
                f"version {number}",
            )
        )
        self._show_cost(report, retraining.seconds)
        return comparison, load_network(file)

    def _show_cost(self, report: Mapping[str, Any], retraining_seconds: float) -> None:
        run = report["run"]
        self.console.print(
            f"  cost: {run['seconds']['unlearning']:.1f} s of unlearning,"
            f" {run['passes']} passes in instances,"
            f" {run['visits_per_forget_instance']:.0f} visits per forgotten instance, on {run['device']};"
            f" retraining beside it took {retraining_seconds:.1f} s. UIS {report['uis']:.1f}"
        )

    def _use(self, workshop: Workshop, network: nn.Module) -> None:
        self.console.print("\n[bold]5. Use[/bold] the newest version")
        batch = workshop.holdout.fetch(torch.arange(8))
        outputs = network(batch.inputs)
        said = outputs["digit"].argmax(dim=1).tolist()
        self.console.print(f"  digits it reads in held-out scans: {said}")
        self.console.print(f"  their (partly wrong) labels:       {batch.targets['digit'].tolist()}")

    def _follow_request(self, bar: Progress, request_id: str, beside: InBackground) -> dict[str, Any]:
        line = bar.add_task("queued", total=1)

        def watch(request: dict[str, Any]) -> None:
            beside.refresh()
            job = self.client.get(f"/v1/jobs/{request['job']}")
            if progress := job["progress"]:
                bar.update(line, completed=progress["done"], total=progress["total"])
            bar.update(line, description=f"new version: {job['phase'] or request['status']}")

        done = self.client.follow(f"/v1/deletion-requests/{request_id}", watch)
        if done["status"] != "succeeded":
            job = self.client.get(f"/v1/jobs/{done['job']}")
            self._give_up(f"The request ended {done['status']}", job)
        bar.update(line, completed=1, total=1, description=f"new version: {done['status']}")
        return done

    def _settled(self, path: str, note: str) -> dict[str, Any]:
        with self.console.status(note):
            thing = self.client.follow(path, lambda _: None)
        if thing["status"] != "ready":
            self._give_up(f"{path} is {thing['status']}", thing)
        return thing

    def _give_up(self, what: str, thing: Mapping[str, Any]) -> None:
        raise JourneyFailed(f"{what}: {thing['error_detail']}")

    def _bar(self) -> Progress:
        return Progress(
            TextColumn("  {task.description:<34}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            console=self.console,
        )
