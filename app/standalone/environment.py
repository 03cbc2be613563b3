"""The settings that every process of an embedded deployment finds in its environment."""

import os
import shlex
from collections.abc import Mapping

from app.standalone.data_folder import DataFolder, write_privately
from app.standalone.keys import Keys
from app.standalone.postgres import PostgresServer

DATABASE = "lethe"
OWNER = "lethe_owner"
OWNER_URL = "LETHE_OWNER_DATABASE_URL"
RELAY_URL = "LETHE_RELAY_DATABASE_URL"
WORKER_URL = "LETHE_WORKER_DATABASE_URL"
SIGNING_KEY = "LETHE_SIGNING_KEY"
MODEL_SIGNING_KEY = "LETHE_MODEL_SIGNING_KEY"
WEBHOOK_KEY = "LETHE_WEBHOOK_KEY"


def deployment_environment(
    folder: DataFolder, keys: Keys, postgres: PostgresServer, broker_url: str, public_url: str
) -> dict[str, str]:
    """What says where the servers and the folders are is ours; all else the operator may have set already."""
    return {
        "LETHE_PUBLIC_URL": os.environ.get("LETHE_PUBLIC_URL", public_url),
        "LETHE_CACHE_FOLDER": os.environ.get("LETHE_CACHE_FOLDER", str(folder.cache)),
        "LETHE_DATABASE_URL": postgres.url("lethe_app", keys.app_password, DATABASE),
        RELAY_URL: postgres.url("lethe_relay", keys.relay_password, DATABASE),
        WORKER_URL: postgres.url("lethe_worker", keys.worker_password, DATABASE),
        OWNER_URL: postgres.url(OWNER, keys.owner_password, DATABASE),
        "LETHE_BROKER_URL": broker_url,
        "LETHE_STORAGE_URL": f"file://{folder.storage}",
        "LETHE_HASH_KEY": keys.hash_key,
        "LETHE_HASH_KEY_ID": keys.hash_key_id,
        SIGNING_KEY: keys.signing_key,
        MODEL_SIGNING_KEY: keys.model_signing_key,
        WEBHOOK_KEY: keys.webhook_key,
    }


def of_the_relay(environment: Mapping[str, str]) -> dict[str, str]:
    """Its own role, the key that it alone signs with, and that of the webhooks."""
    return {**environment, OWNER_URL: "", WORKER_URL: "", MODEL_SIGNING_KEY: ""}


def of_the_api(environment: Mapping[str, str]) -> dict[str, str]:
    """The role lethe_app only."""
    return {**of_the_relay(environment), RELAY_URL: "", SIGNING_KEY: ""}


def of_a_worker(environment: Mapping[str, str]) -> dict[str, str]:
    """For a worker, which may change the schema as little as the others.

    On the CPU it computes with half of the cores, because the servers are on the same machine, and torch's
    threads wait by spinning: with as many threads as cores they would slow each other down.
    """
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // 2)))
    not_its_own = dict.fromkeys((OWNER_URL, RELAY_URL, SIGNING_KEY, WEBHOOK_KEY), "")
    return {**environment, **not_its_own, "OMP_NUM_THREADS": threads}


def write_for_the_shell(folder: DataFolder, environment: Mapping[str, str]) -> None:
    """So that an operator can run `python -m app.admin` against the deployment while it runs."""
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(environment.items())]
    write_privately(folder.environment, "".join(lines))
