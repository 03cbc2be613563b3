"""The checker follows the audit log's chain, and finds each way in which it can be broken."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.orm import sessionmaker

from app.core.audit import audit_entry
from app.core.database import relay_url, sync_engine
from app.core.settings import Settings
from app.core.signing import configured_signer
from app.relay.sealing import seal_entries, sign_checkpoints
from chaos.audit_chain import broken_chains
from tests.database import Database
from tests.worker.world import World


@pytest.fixture
def world(database: Database, settings: Settings) -> Iterator[World]:
    """Two tenants with three rows each, sealed by the relay's role; the log was signed at its end, twice."""
    world = World(database, settings)
    tenants = [world.tenant(name) for name in ("acme", "globex")]
    engine = sync_engine(settings, relay_url(settings), "lethe-relay")
    sessions = sessionmaker(engine)
    signer = configured_signer(settings)
    assert signer is not None
    for actions in (("first", "second"), ("third",)):
        with sessions.begin() as session:
            for action in actions:
                for tenant in tenants:
                    session.execute(audit_entry(tenant.id, "operator", action, note="é"))
        assert seal_entries(sessions) == 2 * len(actions)
        assert sign_checkpoints(sessions, signer, "https://lethe.example") == 2
    engine.dispose()
    yield world
    world.engine.dispose()


def change(world: World, statement: str) -> None:
    """As only a superuser can: nothing refuses it."""
    world.execute(f"SET LOCAL session_replication_role = replica; {statement}")


def write_a_row_that_nobody_seals(world: World) -> None:
    change(world, "INSERT INTO audit_log (tenant_id, actor, action) SELECT id, 'x', 'y' FROM tenants")


def edit_a_row(world: World) -> None:
    change(world, "UPDATE audit_log SET actor = 'nobody' WHERE action = 'second'")


def edit_a_seal(world: World) -> None:
    change(world, "UPDATE audit_seals SET hash = sha256('something else') WHERE position = 2")


def remove_a_link(world: World) -> None:
    change(world, "DELETE FROM audit_seals WHERE position = 2")


def put_a_row_into_another_chain(world: World) -> None:
    change(
        world,
        "UPDATE audit_log SET tenant_id = (SELECT id FROM tenants WHERE name = 'globex')"
        " WHERE action = 'third'",
    )


def cut_off_the_end(world: World) -> None:
    change(
        world,
        "DELETE FROM audit_seals WHERE position = 3; DELETE FROM audit_log WHERE action = 'third'",
    )


def sign_with_another_key(world: World) -> None:
    change(
        world,
        "UPDATE audit_checkpoints"
        """ SET envelope = regexp_replace(envelope, '"sig":"....', '"sig":"AAAA')""",
    )


def sign_one_end_for_another(world: World) -> None:
    change(
        world,
        "UPDATE audit_checkpoints AS one SET envelope = other.envelope FROM audit_checkpoints AS other"
        " WHERE one.tenant_id = other.tenant_id AND one.position = 3 AND other.position = 2",
    )


def forget_to_sign(world: World) -> None:
    change(world, "DELETE FROM audit_checkpoints WHERE position = 3")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (write_a_row_that_nobody_seals, "are in no chain"),
        (edit_a_row, "is not the one that was sealed"),
        (edit_a_seal, "does not follow the link before it"),
        (remove_a_link, "a link is missing"),
        (put_a_row_into_another_chain, "a row of another tenant"),
        (cut_off_the_end, "was signed under another chain"),
        (sign_with_another_key, "signature does not match"),
        (sign_one_end_for_another, "was signed under another chain"),
        (forget_to_sign, "is signed up to position 2 of 3"),
    ],
)
def test_a_broken_chain_is_found(world: World, damage: Callable[[World], None], says: str) -> None:
    assert list(broken_chains(world.rows)) == []
    damage(world)
    assert any(says in line for line in broken_chains(world.rows))
