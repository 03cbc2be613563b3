"""What the database itself refuses, whatever the code above it does."""

import uuid

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from tests.database import Database


@pytest.fixture
def owner(database: Database):
    engine = create_engine(database.owner_url)
    yield engine
    engine.dispose()


def _tenant(engine: Engine, name: str) -> uuid.UUID:
    tenant = uuid.uuid4()
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO tenants (id, name) VALUES (:id, :name)"), {"id": tenant, "name": name}
        )
    return tenant


def _dataset(engine: Engine, tenant: uuid.UUID, name: str = "scans") -> uuid.UUID:
    dataset = uuid.uuid4()
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO datasets (id, tenant_id, name, format, url)"
                " VALUES (:id, :tenant, :name, 'arrays', 'file:///data')"
            ),
            {"id": dataset, "tenant": tenant, "name": name},
        )
    return dataset


def _model(engine: Engine, tenant: uuid.UUID, dataset: uuid.UUID) -> uuid.UUID:
    model = uuid.uuid4()
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO registered_models (id, tenant_id, name, dataset_id, network, recipe, policy)"
                " VALUES (:id, :tenant, :name, :dataset, '{}', '{}', '{}')"
            ),
            {"id": model, "tenant": tenant, "name": str(model), "dataset": dataset},
        )
    return model


def _job(engine: Engine, tenant: uuid.UUID, model: uuid.UUID, status: str, **more: object) -> uuid.UUID:
    job = uuid.uuid4()
    lease = "now()" if status in ("running", "cancelling") else "NULL"
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO jobs (id, tenant_id, kind, registered_model_id, method, status,"
                " lease_expires_at, accepts_requests)"
                f" VALUES (:id, :tenant, 'unlearn', :model, 'retrain', :status, {lease}, :open)"
            ),
            {"id": job, "tenant": tenant, "model": model, "status": status, "open": more.get("open", False)},
        )
    return job


def test_an_illegal_move_is_refused(owner: Engine) -> None:
    tenant = _tenant(owner, "a")
    dataset = _dataset(owner, tenant)
    job = _job(owner, tenant, _model(owner, tenant, dataset), "queued")
    with pytest.raises(IntegrityError, match="jobs cannot go from queued to succeeded"), owner.begin() as c:
        c.execute(text("UPDATE jobs SET status = 'succeeded' WHERE id = :id"), {"id": job})


def test_what_waits_for_a_persons_word_has_no_job(owner: Engine) -> None:
    """And so no worker that could claim it; it cannot be queued either before the word is on record."""
    tenant = _tenant(owner, "a")
    dataset = _dataset(owner, tenant)
    model = _model(owner, tenant, dataset)
    job = _job(owner, tenant, model, "queued")
    insert = text(
        "INSERT INTO deletion_requests (id, tenant_id, dataset_id, registered_model_id, tasks, scope, method,"
        " instance_count, hash_key_id, status, job_id, approval) VALUES (:id, :tenant, :dataset, :model,"
        " '{a}', 'full', 'retrain', 1, 'k1', 'awaiting_approval', :job, CAST(:approval AS jsonb))"
    )
    bound = {"id": uuid.uuid4(), "tenant": tenant, "dataset": dataset, "model": model}
    for wrong in ({"job": job, "approval": "{}"}, {"job": None, "approval": None}):
        with pytest.raises(IntegrityError, match="waits_without_a_job"), owner.begin() as connection:
            connection.execute(insert, bound | wrong)
    with owner.begin() as connection:
        connection.execute(insert, bound | {"job": None, "approval": "{}"})
    moves = {"queued": "has_the_word_it_needs", "running": "cannot go from awaiting_approval to running"}
    for status, refusal in moves.items():
        with pytest.raises(IntegrityError, match=refusal), owner.begin() as connection:
            connection.execute(text("UPDATE deletion_requests SET status = :status"), {"status": status})


def test_one_active_job_per_model(owner: Engine) -> None:
    tenant = _tenant(owner, "a")
    model = _model(owner, tenant, _dataset(owner, tenant))
    _job(owner, tenant, model, "running")
    _job(owner, tenant, model, "queued")
    with pytest.raises(IntegrityError, match="uq_jobs_one_active_per_model"):
        _job(owner, tenant, model, "needs_review")


def test_one_open_job_per_model_and_method(owner: Engine) -> None:
    tenant = _tenant(owner, "a")
    model = _model(owner, tenant, _dataset(owner, tenant))
    _job(owner, tenant, model, "queued", open=True)
    with pytest.raises(IntegrityError, match="uq_jobs_one_open_per_model_and_method"):
        _job(owner, tenant, model, "queued", open=True)


def test_foreign_keys_carry_the_tenant(owner: Engine) -> None:
    mine, other = _tenant(owner, "mine"), _tenant(owner, "other")
    dataset = _dataset(owner, other)
    with pytest.raises(IntegrityError, match="fk_registered_models_tenant_id_dataset_id"):
        _model(owner, mine, dataset)


@pytest.mark.parametrize("role", ["app", "worker"])
@pytest.mark.parametrize(
    "statement", ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"]
)
def test_the_audit_log_only_grows(database: Database, role: str, statement: str) -> None:
    engine = create_engine(getattr(database, f"{role}_url"))
    with pytest.raises(ProgrammingError, match="permission denied"), engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def test_not_even_the_owner_edits_the_audit_log_by_accident(owner: Engine) -> None:
    tenant = _tenant(owner, "a")
    with owner.begin() as connection:
        connection.execute(
            text("INSERT INTO audit_log (tenant_id, actor, action) VALUES (:t, 'operator', 'test')"),
            {"t": tenant},
        )
    with pytest.raises(DBAPIError, match="never changed or removed"), owner.begin() as connection:
        connection.execute(text("UPDATE audit_log SET actor = 'nobody'"))


def test_the_worker_never_sees_api_keys(database: Database) -> None:
    engine = create_engine(database.worker_url)
    with pytest.raises(ProgrammingError, match="permission denied"), engine.begin() as connection:
        connection.execute(text("SELECT * FROM api_keys"))
    engine.dispose()


@pytest.fixture
def worker(database: Database):
    engine = create_engine(database.worker_url)
    yield engine
    engine.dispose()


def test_what_the_worker_writes_is_noted_to_be_sealed(owner: Engine, worker: Engine) -> None:
    tenant = _tenant(owner, "a")
    with worker.begin() as connection:
        written = connection.scalar(
            text(
                "INSERT INTO audit_log (tenant_id, actor, action) VALUES (:t, 'worker', 'test') RETURNING id"
            ),
            {"t": tenant},
        )
    with owner.connect() as connection:
        assert connection.scalars(text("SELECT entry_id FROM audit_unsealed")).all() == [written]


@pytest.mark.parametrize("role", ["app", "worker"])
def test_nobody_notes_what_he_did_not_write(database: Database, role: str) -> None:
    """Neither directly nor by having the trigger's function run for a table of his own."""
    engine = create_engine(getattr(database, f"{role}_url"))
    with pytest.raises(ProgrammingError, match="permission denied"), engine.begin() as connection:
        connection.execute(text("INSERT INTO audit_unsealed VALUES (1)"))
    trigger = text(
        "CREATE TRIGGER t AFTER INSERT ON mine REFERENCING NEW TABLE AS written"
        " FOR EACH STATEMENT EXECUTE FUNCTION note_unsealed()"
    )
    with engine.connect() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE mine (id bigint)"))
        with pytest.raises(ProgrammingError, match="permission denied for function"):
            connection.execute(trigger)
    engine.dispose()


def test_a_table_of_the_same_name_takes_no_notes(owner: Engine, worker: Engine) -> None:
    tenant = _tenant(owner, "a")
    with worker.begin() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE audit_unsealed (entry_id bigint)"))
        connection.execute(
            text("INSERT INTO audit_log (tenant_id, actor, action) VALUES (:t, 'worker', 'test')"),
            {"t": tenant},
        )
        assert connection.scalar(text("SELECT count(*) FROM pg_temp.audit_unsealed")) == 0
    with owner.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM audit_unsealed")) == 1
