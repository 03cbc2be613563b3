"""Arrays of any number of instances, written block by block and mapped: they need not fit in memory."""

from pathlib import Path

import numpy as np

from worker.engine.contract import TaskSpec

INPUTS = 32
CLASSES = 8
_BLOCK = 65_536


def tasks_of(count: int) -> tuple[TaskSpec, ...]:
    return tuple(TaskSpec(f"task_{number}", "classification", CLASSES) for number in range(count))


def write_large_arrays(
    folder: Path, instances: int, tasks: int, seed: int, *, noisy: int, prefix: str = "row"
) -> Path:
    """A folder of the format "arrays": `ids`, `inputs` (N, 32) and one array of classes per task.

    Classes are those of a fixed random projection of the inputs; of the first `noisy` instances a quarter has
    random ones, which can only be known by heart. The first instances are the same however many there are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rule = np.random.default_rng(0).normal(size=(tasks, INPUTS, CLASSES)).astype(np.float32)
    inputs = _new(folder / "inputs.npy", (instances, INPUTS), np.float32)
    targets = [_new(folder / f"{task.name}.npy", (instances,), np.int64) for task in tasks_of(tasks)]
    for number, start in enumerate(range(0, instances, _BLOCK)):
        block = slice(start, min(instances, start + _BLOCK))
        count = block.stop - start
        generator = np.random.default_rng([seed, number])
        seen = generator.normal(size=(_BLOCK, INPUTS)).astype(np.float32)[:count]
        inputs[block] = seen
        for target, weights in zip(targets, rule, strict=True):
            noise = (generator.random(_BLOCK)[:count] < 0.25) & (np.arange(start, block.stop) < noisy)
            guess = generator.integers(0, CLASSES, _BLOCK)[:count]
            target[block] = np.where(noise, guess, (seen @ weights).argmax(axis=1))
    for array in (inputs, *targets):
        array.flush()
    np.save(folder / "ids.npy", np.char.add(f"{prefix}-", np.arange(instances).astype(str)))
    return folder


def _new(file: Path, shape: tuple[int, ...], kind: type) -> np.memmap:
    return np.lib.format.open_memmap(file, mode="w+", dtype=kind, shape=shape)
