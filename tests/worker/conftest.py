"""A worker's equipment on a real database, and a tiny registered model."""

import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.core.settings import Settings
from app.standalone.postgres import PostgresServer
from models import RegisteredModel
from tests.conftest import settings_of
from tests.database import TEMPLATE, Database, temporary_database
from tests.worker.tiny import Tiny, make_tiny
from tests.worker.world import World
from worker.equipment import Equipment, equip, put_away
from worker.jobs import heartbeat
from worker.run import run_next


@dataclass(frozen=True)
class Validated:
    """The tiny model, taken through both validations: the database, by its name, and what was stored."""

    model_id: uuid.UUID
    database: str
    storage: Path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def validated(
    postgres: PostgresServer, tiny: Tiny, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Validated]:
    folder = tmp_path_factory.mktemp("validated")
    with temporary_database(postgres.superuser_url) as url:
        settings = settings_of(Database(url), folder)
        world, equipment = World(Database(url), settings), equip(settings, "worker-one")
        model = validate(world, tiny, equipment)
        put_away(equipment)
        world.engine.dispose()
        yield Validated(model.id, str(world.engine.url.database), folder / "storage")


def validate(world: World, tiny: Tiny, equipment: Equipment) -> RegisteredModel:
    """Take the tiny model through both validations."""
    tenant = world.tenant(roots=[str(tiny.folder)])
    dataset, _ = world.dataset(tenant, str(tiny.train), str(tiny.holdout))
    assert run_next(equipment)
    model, _ = world.model(tenant, dataset, checkpoint_url=str(tiny.checkpoint))
    assert run_next(equipment)
    assert world.value("SELECT status FROM registered_models") == "ready"
    with world.change() as session:
        return session.get_one(RegisteredModel, model.id)


@pytest.fixture
def database(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[Database]:
    """A database of this test's own, with the tiny model in it where that is asked for."""
    prepared = "validated" in request.fixturenames
    template = request.getfixturevalue("validated").database if prepared else TEMPLATE
    with temporary_database(postgres.superuser_url, template) as url:
        yield Database(url)


@pytest.fixture
def world(database: Database, settings: Settings) -> Iterator[World]:
    world = World(database, settings)
    yield world
    world.engine.dispose()


@pytest.fixture
def equipment(settings: Settings) -> Iterator[Equipment]:
    equipment = equip(settings, "worker-one")
    yield equipment
    put_away(equipment)


@pytest.fixture
def quick_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders are heard within tenths of a second, and a lease is renewed twenty times as often as it must."""
    monkeypatch.setattr(heartbeat, "LONGEST_PAUSE", 0.1)


@pytest.fixture
def model(validated: Validated, world: World) -> RegisteredModel:
    """The tiny model, validated."""
    storage = world.settings.storage_url.removeprefix("file://")
    shutil.copytree(validated.storage, storage, dirs_exist_ok=True)
    with world.change() as session:
        return session.get_one(RegisteredModel, validated.model_id)
