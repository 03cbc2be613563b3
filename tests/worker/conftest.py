"""A worker's equipment on a real database, and a tiny registered model."""

from collections.abc import Iterator

import pytest

from app.core.settings import Settings
from models import RegisteredModel
from tests.database import Database
from tests.worker.tiny import Tiny, make_tiny
from tests.worker.world import World
from worker.equipment import Equipment, equip, put_away
from worker.run import run_next


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return make_tiny(tmp_path_factory.mktemp("tiny"))


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
def model(world: World, tiny: Tiny, equipment: Equipment) -> RegisteredModel:
    """The tiny model, taken through both validations."""
    tenant = world.tenant(roots=[str(tiny.folder)])
    dataset, _ = world.dataset(tenant, str(tiny.train), str(tiny.holdout))
    assert run_next(equipment)
    model, _ = world.model(tenant, dataset, checkpoint_url=str(tiny.checkpoint))
    assert run_next(equipment)
    assert world.value("SELECT status FROM registered_models") == "ready"
    with world.change() as session:
        return session.get_one(RegisteredModel, model.id)
