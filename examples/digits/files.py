"""Write the demo's data, a network trained on them and a request, to try the API by hand with.

python -m examples.digits.files var/lethe/data
"""

import argparse
import json
from pathlib import Path

import torch

from examples.digits.data import NETWORK, RECIPE, TASKS
from examples.digits.training import open_workshop, save_network, train_network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder that the service may read (an allowed root)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    workshop = open_workshop(options.folder, options.seed)
    save_network(train_network(workshop, seed=options.seed), options.folder / "checkpoint.safetensors")
    root = options.folder.resolve()
    bodies = {
        "dataset": {
            "name": "digits",
            "format": "arrays",
            "url": f"file://{root}/train",
            "holdout_url": f"file://{root}/holdout",
        },
        "model": {
            "name": "digits-mlp",
            "network": NETWORK,
            "tasks": TASKS,
            "dataset": "digits",
            "recipe": RECIPE,
        },
        "deletion-request": {
            "model": "digits-mlp",
            "instances": list(workshop.train.ids[:150]),
            "tasks": "all",
            "reference": "case-2026-001",
            "regulation": "gdpr",
        },
        "kept": {"instances": list(workshop.train.ids[150:160])},
    }
    for name, body in bodies.items():
        (options.folder / f"{name}.json").write_text(json.dumps(body, indent=2) + "\n")
    for file in sorted(options.folder.iterdir()):
        print(file)


if __name__ == "__main__":
    main()
