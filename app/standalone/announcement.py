"""What the operator is told once everything runs, and what a program is told."""

import json
import os
from pathlib import Path

from app.standalone.data_folder import write_privately
from app.standalone.deployment import EmbeddedDeployment
from app.standalone.first_start import TENANT
from app.standalone.refusals import StandaloneError


def announcement(deployment: EmbeddedDeployment) -> str:
    folder = deployment.folder
    return "\n".join(
        [
            "Lethe is ready.",
            "",
            f"  API       {deployment.url}",
            f"  Docs      {deployment.url}/docs",
            f"  Data      {folder.root} (data to register by URL: below {folder.data})",
            f"  Logs      {folder.logs}",
            f"  API key   {_api_key(deployment)}",
            "",
            "Ctrl-C stops everything; the same command continues with the same data.",
        ]
    )


def write_ready_file(path: Path, deployment: EmbeddedDeployment) -> None:
    """For a script that waits: it appears when everything runs and goes when it stops. There is no key in
    it."""
    facts = {"url": deployment.url, "pid": os.getpid(), "data_dir": str(deployment.folder.root)}
    try:
        write_privately(path, json.dumps(facts))
    except OSError as error:
        raise StandaloneError(f"The ready file {path} can't be written ({error.strerror}).") from error


def _api_key(deployment: EmbeddedDeployment) -> str:
    if deployment.api_key is not None:
        return f"{deployment.api_key} (all scopes; shown once and stored nowhere)"
    return (
        f"the one that the first start showed on {deployment.api_key_handed_out_at}; another one:\n"
        f"            . {deployment.folder.environment} && python -m app.admin create-key {TENANT} "
        "--name another --scope requests:read"
    )
