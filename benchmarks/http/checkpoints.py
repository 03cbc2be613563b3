"""A checkpoint up and down: megabytes per second beside `cp`, and how much memory the API takes for it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import psutil

from benchmarks.http.stage import Stage

MEBIBYTE = 1 << 20
TRANSFER = "benchmarks.http.transfer"


def measure(stage: Stage, folder: Path, mebibytes: int, rounds: int) -> dict:
    source = folder / "checkpoint.bin"
    with source.open("wb") as file:
        for _ in range(mebibytes):
            file.write(os.urandom(MEBIBYTE))
    models = [stage.world.ready_model(name=f"big-{k}") for k in range(rounds)]
    stage.world.run("ALTER TABLE registered_models DISABLE TRIGGER enforce_transition")
    stage.world.run("ALTER TABLE model_versions DISABLE TRIGGER enforce_transition")
    process = psutil.Process(stage.api.process.pid)
    times: dict[str, list[float]] = {"up": [], "down": [], "cp": [], "cp and fsync": []}
    growth = 0
    for k, model in enumerate(models):
        _await_upload(stage, str(model))
        path = f"/v1/models/big-{k}/versions/1/checkpoint"
        grown, seconds = _watched(process, lambda path=path: _transfer(stage, "up", path, source))
        times["up"].append(seconds)
        growth = max(growth, grown)
        stage.world.run("UPDATE model_versions SET state = 'published'")
        grown, seconds = _watched(process, lambda path=path: _transfer(stage, "down", path, source))
        times["down"].append(seconds)
        growth = max(growth, grown)
        for name, and_sync in (("cp", False), ("cp and fsync", True)):
            times[name].append(_copy(source, folder / "copy.bin", and_sync))
    source.unlink()
    speeds = {name: mebibytes * MEBIBYTE / 1e6 / median(seconds) for name, seconds in times.items()}
    return {
        "mebibytes": mebibytes,
        "rounds": rounds,
        "megabytes_per_second": speeds,
        "peak_rss_growth_mebibytes": growth / MEBIBYTE,
    }


def _await_upload(stage: Stage, model: str) -> None:
    """As if the model had just been registered."""
    bound = {"m": model}
    stage.world.run(
        "UPDATE registered_models SET status = 'awaiting_checkpoint', head_version_id = NULL WHERE id = :m",
        **bound,
    )
    stage.world.run("DELETE FROM aliases WHERE registered_model_id = :m", **bound)
    stage.world.run("DELETE FROM model_versions WHERE registered_model_id = :m", **bound)


def _transfer(stage: Stage, direction: str, path: str, source: Path) -> None:
    command = [sys.executable, "-m", TRANSFER, direction, str(stage.api.port), path, stage.key, str(source)]
    subprocess.run(command, check=True)


def _watched(process: psutil.Process, act: Callable[[], None]) -> tuple[int, float]:
    """(growth of the process's resident memory while `act` ran, seconds)"""
    before = peak = process.memory_info().rss
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.01):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    act()
    seconds = time.perf_counter() - started
    over.set()
    watcher.join()
    return peak - before, seconds


def _copy(source: Path, target: Path, and_sync: bool) -> float:
    started = time.perf_counter()
    subprocess.run(["cp", str(source), str(target)], check=True)
    if and_sync:
        subprocess.run(["sync", str(target)], check=True)
    seconds = time.perf_counter() - started
    target.unlink()
    return seconds
