"""The real application behind a real uvicorn, with a tenant that has one of everything, for one run."""

from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import create_engine

from app.core.settings import Settings
from benchmarks.api_fuzzing.known import furnish
from benchmarks.api_fuzzing.throwing import Found, throw
from tests.app.running import Serving
from tests.app.world import World
from tests.database import Database
from tests.opendsr.certificate import DOMAIN, write_certificate


def on_stage(
    owner_url: str,
    folder: Path,
    found: Found,
    *,
    seed: int,
    examples: int,
    phases: Mapping[str, bool],
    walks: int = 1,
) -> None:
    settings = _settings(Database(owner_url), folder)
    engine = create_engine(owner_url)
    world = World(engine, settings)
    with Serving(settings) as served:
        key = world.key("acme", "admin")
        used = str(world.run("SELECT id FROM api_keys"))
        known = furnish(world, served.url, key)
        throw(
            served.url,
            key,
            known,
            found,
            used_key=used,
            seed=seed,
            examples=examples,
            phases=phases,
            walks=walks,
        )
    engine.dispose()


def _settings(database: Database, folder: Path) -> Settings:
    key_file, certificate_file = write_certificate(folder)
    return Settings(
        database_url=database.app_url,
        relay_database_url=database.relay_url,
        worker_database_url=database.worker_url,
        broker_url="redis://127.0.0.1:1/0",
        storage_url=f"file://{folder}/storage",
        hash_key="00112233445566778899aabbccddeeff" * 2,
        webhook_key="ccddeeff001122334455667788990011" * 2,
        webhook_endpoints_per_tenant=100_000,
        # It is to be answered with more than 429.
        rate_limit_reads=0,
        rate_limit_writes=0,
        rate_limit_strangers=0,
        opendsr_key_file=str(key_file),
        opendsr_certificate_file=str(certificate_file),
        opendsr_domain=DOMAIN,
    )
