"""Data sets and models: what a deletion can be asked of."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from lethe.answers import Alias, Dataset, Model, Version
from lethe.calls.listing import Page, all_of
from lethe.calls.waiting import until
from lethe.errors import Conflict
from lethe.plan import Exchange, Outgoing, Plan, ask, call, read

ON_THEIR_WAY = ("validating", "awaiting_checkpoint")


class _Aliases(Struct):
    data: list[Alias]


def register_dataset(
    name: str,
    url: str,
    *,
    holdout_url: str | None = None,
    format: str = "arrays",
    refreshes: str | None = None,
) -> Plan[Dataset]:
    """Register training data by URL. A job checks it: `wait_for_dataset`. `refreshes`: the data set that this
    is a newer snapshot of."""
    body = {
        "name": name,
        "url": url,
        "holdout_url": holdout_url,
        "format": format,
        "refreshes": refreshes,
    }
    return call("POST", "/v1/datasets", Dataset, body)


def get_dataset(dataset: str) -> Plan[Dataset]:
    """By name or id."""
    return call("GET", f"/v1/datasets/{quote(dataset, safe='')}", Dataset)


def list_datasets(*, most: int = 100) -> Plan[list[Dataset]]:
    """The newest first."""
    return all_of("/v1/datasets", Page[Dataset], most)


def wait_for_dataset(dataset: str, *, timeout: float | None = None) -> Plan[Dataset]:
    """Until it is ready or rejected; look at its `status`. Raises `StillRunning`."""
    path = f"/v1/datasets/{quote(dataset, safe='')}"
    return until(path, Dataset, lambda found: found.status not in ON_THEIR_WAY, timeout)


def register_model(
    name: str,
    *,
    dataset: str,
    network: Mapping[str, Any],
    tasks: Sequence[Mapping[str, Any]],
    recipe: Mapping[str, Any],
    policy: Mapping[str, Any] | None = None,
    checkpoint_url: str | None = None,
    derived_from: tuple[str, int] | None = None,
) -> Plan[Model]:
    """Register a model. Its weights are sent by `upload_checkpoint`, or lie at `checkpoint_url`.

    `derived_from`: the model and the number of its version that it was fine-tuned from.
    """
    body: dict[str, Any] = {
        "name": name,
        "dataset": dataset,
        "network": network,
        "tasks": tasks,
        "recipe": recipe,
        "checkpoint_url": checkpoint_url,
    }
    if policy is not None:
        body["policy"] = policy
    if derived_from is not None:
        source, number = derived_from
        body["derived_from"] = {"model": source, "version": number}
    return call("POST", "/v1/models", Model, body, repeatable=False)


def get_model(model: str) -> Plan[Model]:
    """By name or id."""
    return call("GET", _path(model), Model)


def list_models(*, most: int = 100) -> Plan[list[Model]]:
    """The newest first."""
    return all_of("/v1/models", Page[Model], most)


def wait_for_model(model: str, *, timeout: float | None = None) -> Plan[Model]:
    """Until it is ready or rejected; look at its `status`. Raises `StillRunning`."""
    return until(_path(model), Model, lambda found: found.status not in ON_THEIR_WAY, timeout)


def upload_checkpoint(model: str, file: Path | str) -> Plan[Version]:
    """Stream version 1 in (safetensors), with its digest. Sending what is there already does nothing."""
    file = Path(file)
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256")
    headers = {
        "Content-Length": str(file.stat().st_size),
        "Content-Type": "application/octet-stream",
        "Repr-Digest": f"sha-256=:{b64encode(digest.digest()).decode()}:",
    }
    path = f"{_path(model)}/versions/1/checkpoint"
    try:
        answer = yield from ask(Exchange(Outgoing("PUT", path, headers=headers, file=file)))
    except Conflict as conflict:
        # An earlier attempt may have come through, and only its answer not.
        if conflict.code == "checkpoint_exists":
            there = yield from get_version(model, 1)
            if there.digest == f"sha256:{digest.hexdigest()}":
                return there
        raise
    return read(answer, Version)


def get_version(model: str, version: int | str) -> Plan[Version]:
    """By number or alias: lineage, digest, guarantee, report."""
    return call("GET", f"{_path(model)}/versions/{quote(str(version), safe='')}", Version)


def list_versions(model: str, *, most: int = 100) -> Plan[list[Version]]:
    """The newest first."""
    return all_of(f"{_path(model)}/versions", Page[Version], most)


def refresh_data(model: str, dataset: str) -> Plan[Model]:
    """Move a model to a newer snapshot of its data set: rows are gone from it."""
    return call("PUT", f"{_path(model)}/dataset", Model, {"dataset": dataset})


def signature(model: str, version: int | str) -> Plan[bytes]:
    """The OpenSSF signature of a version's weights, as `model_signing verify` takes it."""
    path = f"{_path(model)}/versions/{quote(str(version), safe='')}/signature"
    return (yield from ask(Exchange(Outgoing("GET", path)))).body


def list_aliases(model: str) -> Plan[list[Alias]]:
    """Which names point at which version."""
    return (yield from call("GET", f"{_path(model)}/aliases", _Aliases)).data


def move_alias(model: str, alias: str, version: int, *, reason: str | None = None) -> Plan[Alias]:
    """Point an alias at a version. `reason`: for administrators, to go back to one that remembers."""
    body = {"version": version, "reason": reason}
    return call("PUT", f"{_path(model)}/aliases/{quote(alias, safe='')}", Alias, body)


def _path(model: str) -> str:
    return f"/v1/models/{quote(model, safe='')}"
