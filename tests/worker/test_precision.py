"""What layers are computed in is the operator's setting: it reaches the engine, and the record says it."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from app.core.settings import Settings
from models import RegisteredModel
from tests.worker.world import World
from worker.engine.contract import Outcome
from worker.engine.interference_aware import InterferenceAware
from worker.engine.methods import METHODS
from worker.equipment import Equipment
from worker.pipeline.unlearn import method_of, precision_of
from worker.run import run_next

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
BFLOAT16 = {"precision": "bfloat16"}


def test_the_setting_reaches_the_engine_and_the_record_says_what_it_came_to(
    world: World, equipment: Equipment, model: RegisteredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which on the CPU is float32."""
    computed = InterferenceAware.__call__
    given: list[tuple[str, str]] = []

    def note(method: InterferenceAware, *arguments: Any, **named: Any) -> Outcome:
        given.append((method.precision, method.name))
        return computed(method, *arguments, **named)

    monkeypatch.setattr(InterferenceAware, "__call__", note)
    chosen = replace(equipment, settings=equipment.settings.model_copy(update=BFLOAT16))
    job = world.open_job(model, method="interference_aware")
    world.deletion(model, job, ["p0", "p1"], ["colour"])
    assert run_next(chosen)
    assert given == [("bfloat16", "interference_aware")]
    done = world.job(job.id)
    assert (done.status, (done.report or {})["run"]["precision"]) == ("succeeded", "float32")


def test_on_an_accelerator_it_is_recorded_and_no_snapshot_in_float32_is_taken_up(settings: Settings) -> None:
    """Snapshots are looked up by the method's name, among others."""
    chosen = settings.model_copy(update=BFLOAT16)
    assert method_of("interference_aware", settings, CUDA) == METHODS["interference_aware"]
    method = method_of("interference_aware", chosen, CUDA)
    assert precision_of(method, CUDA) == "bfloat16"
    assert method == InterferenceAware(precision="bfloat16", name="interference_aware in bfloat16")
    assert method_of("interference_aware", chosen, CPU) == InterferenceAware(precision="bfloat16")


def test_a_method_without_a_choice_computes_in_float32(settings: Settings) -> None:
    method = method_of("retrain", settings.model_copy(update=BFLOAT16), CUDA)
    assert method is METHODS["retrain"]
    assert precision_of(method, CUDA) == "float32"
