"""Attack a published version of a model, harder than every version's own report does.

    python -m worker.audit --model digits-mlp --version 3 --references 16

Trains references on half of the retained data and networks retrained without what was forgotten, by the
registered recipe, then asks with them whether the version still knows what it should have forgotten: RMIA,
loss, relearning time, and all of it again after rounding to int8 and bfloat16. The report is stored with
the version: GET /v1/models/{model}/versions/{n}/audits. It needs what a worker needs (its settings, storage,
data), takes no job, holds no lease, and runs on the CPU at low priority unless told otherwise. Killed, it
goes on where it was when the same command is given again.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from obstore.exceptions import BaseError as StorageError
from sqlalchemy.exc import SQLAlchemyError

from app.core.settings import Settings, get_settings
from worker.audit.command import audit
from worker.audit.subject import Effort
from worker.engine.contract import Refused
from worker.equipment import equip, put_away

NICENESS = 10
_BAR = 1000


def main(
    model: Annotated[str, typer.Option(help="Name or id")],
    version: Annotated[int, typer.Option(help="Its number", min=1)],
    tenant: Annotated[str | None, typer.Option(help="Where several have a model of that name")] = None,
    references: Annotated[int, typer.Option(help="Networks on half of the data, for RMIA", min=2)] = 16,
    retrained: Annotated[int, typer.Option(help="Networks retrained without what was forgotten", min=2)] = 5,
    seed: Annotated[int, typer.Option(help="Another one trains other networks", min=0)] = 0,
    device: Annotated[str, typer.Option(help="cpu, or cuda on a machine without a busy worker")] = "cpu",
    threads: Annotated[int, typer.Option(help="Processor cores at most", min=1)] = 1,
    output: Annotated[Path | None, typer.Option(help="Write the report here, too (JSON)")] = None,
) -> None:
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise typer.BadParameter("cpu, or cuda where there is one", param_hint="--device")
    os.nice(NICENESS)
    torch.set_num_threads(threads)
    effort = Effort(references=references, retrained=retrained, seed=seed)
    report = _run(get_settings(), model, version, tenant, effort, torch.device(device))
    if output is not None:
        output.write_text(json.dumps(report, indent=1) + "\n")
    for sentence in (*report["findings"], *(f"Not shown: {what}" for what in report["not_shown"])):
        typer.echo(sentence)


def _run(
    settings: Settings, model: str, version: int, tenant: str | None, effort: Effort, device: torch.device
) -> dict[str, Any]:
    equipment = equip(settings, "audit")
    shown = [0]
    started = time.monotonic()
    try:
        with typer.progressbar(length=_BAR, file=sys.stderr, show_eta=True) as bar:

            def tell(what: str, share: float) -> None:
                bar.label = what
                step = int(share * _BAR) - shown[0]
                shown[0] += max(0, step)
                bar.update(max(0, step))

            stored = audit(equipment, model, version, tenant, effort, device, tell)
    except Refused as refused:
        _stop(f"{refused.code}: {refused}")
    except (SQLAlchemyError, StorageError, OSError) as error:
        _stop(f"The look could not go on ({type(error).__name__}): try the same command again.")
    except KeyboardInterrupt:
        _stop("Stopped; the same command goes on from here.")
    finally:
        put_away(equipment)
    typer.echo(f"Stored as {stored.audit_id} after {time.monotonic() - started:.0f} s.", err=True)
    return stored.report


def _stop(sentence: str) -> None:
    typer.echo(sentence, err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
