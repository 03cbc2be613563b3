"""What the tests need to be there already: tenants, keys, data sets, models, as a worker would leave them."""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from app.core.hashing import hash_instances
from app.core.settings import Settings
from app.core.storage import Storage
from app.operator_keys import create_key
from app.operator_tenants import create_tenant
from models import time_ordered_id

RECIPE = {"optimizer": "adam", "learning_rate": 0.001, "epochs": 3, "batch_size": 32}
POLICY = {
    "method": "interference_aware",
    "visits": 60,
    "gates": {"retained_drop": 5.0, "unnamed_drop": 5.0, "forget_excess": 10.0},
    "on_miss": "needs_review",
}
TASKS = ("digit", "parity")


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


class World:
    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.engine = engine
        self.settings = settings

    def tenant(self, name: str = "acme", *roots: str) -> uuid.UUID:
        with Session(self.engine) as session, session.begin():
            return create_tenant(session, name, roots)

    def key(self, tenant: str, *scopes: str) -> str:
        self.tenant(tenant)
        with Session(self.engine) as session, session.begin():
            return create_key(session, tenant, "test", scopes).text

    def run(self, statement: str, **bound: Any) -> Any:
        """Run a statement as the owner; its first row's first value, if it has rows."""
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), bound)
            return result.scalar() if result.returns_rows else result.rowcount

    def rows(self, statement: str, **bound: Any) -> list[Any]:
        with self.engine.begin() as connection:
            return list(connection.execute(text(statement), bound).all())

    def hashes(self, tenant: str, names: Sequence[str]) -> list[bytes]:
        return hash_instances(names, self.tenant(tenant), self.settings)

    def ready_dataset(
        self,
        tenant: str = "acme",
        name: str = "scans",
        instances: Sequence[str] | int = 20,
        *,
        tasks: Sequence[str] = TASKS,
        without: Mapping[str, Sequence[str]] | None = None,
        holdout: bool = True,
    ) -> uuid.UUID:
        """A validated data set with instances `scan-0`…; `without`: instances that lack a task's label."""
        tenant_id, dataset_id = self.tenant(tenant), time_ordered_id()
        names = [f"scan-{i}" for i in range(instances)] if isinstance(instances, int) else list(instances)
        self.run(
            "INSERT INTO datasets (id, tenant_id, name, format, url, holdout_url, status, fingerprint,"
            " instance_count, holdout_count, targets, hash_key_id)"
            " VALUES (:id, :tenant, :name, 'arrays', 'file:///data/a.npz', :holdout, 'ready', 'f', :count,"
            " 10, CAST(:targets AS jsonb), :key)",
            id=dataset_id,
            tenant=tenant_id,
            name=name,
            holdout="file:///data/h.npz" if holdout else None,
            count=len(names),
            targets=json.dumps([{"name": task, "dtype": "int64"} for task in tasks]),
            key=self.settings.hash_key_id,
        )
        missing = without or {}
        rows = [
            {
                "dataset": dataset_id,
                "hash": digest,
                "tenant": tenant_id,
                "position": position,
                "bits": sum(1 << k for k, task in enumerate(tasks) if task not in missing.get(instance, ())),
            }
            for position, (instance, digest) in enumerate(zip(names, self.hashes(tenant, names), strict=True))
        ]
        with self.engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO dataset_instances (dataset_id, instance_hash, tenant_id, position,"
                    " supervised) VALUES (:dataset, :hash, :tenant, :position, :bits)"
                ),
                rows,
            )
        return dataset_id

    def ready_model(
        self,
        tenant: str = "acme",
        name: str = "reader",
        dataset: str = "scans",
        *,
        tasks: Sequence[str] = TASKS,
        checkpoint: bytes = b"weights of version one",
    ) -> uuid.UUID:
        """A model with version 1 published, on a data set that is made when it is not there."""
        tenant_id, model_id, version_id = self.tenant(tenant), time_ordered_id(), time_ordered_id()
        dataset_id = self.run(
            "SELECT id FROM datasets WHERE tenant_id = :t AND name = :n", t=tenant_id, n=dataset
        ) or self.ready_dataset(tenant, dataset, tasks=tasks)
        self.run(
            "INSERT INTO registered_models (id, tenant_id, name, dataset_id, network, recipe, policy, status)"
            ' VALUES (:id, :t, :name, :d, \'{"kind": "mlp"}\', CAST(:recipe AS jsonb),'
            " CAST(:policy AS jsonb), 'validating')",
            id=model_id,
            t=tenant_id,
            name=name,
            d=dataset_id,
            recipe=json.dumps(RECIPE),
            policy=json.dumps(POLICY),
        )
        for position, task in enumerate(tasks):
            self.run(
                "INSERT INTO model_tasks (registered_model_id, name, tenant_id, position, kind, outputs,"
                " remaining) SELECT :m, :task, :t, :p, 'classification', 2, count(*) FROM dataset_instances i"
                " JOIN datasets d ON d.id = i.dataset_id WHERE i.dataset_id = :d AND i.supervised &"
                " (SELECT 1 << (o - 1)::int FROM jsonb_array_elements(d.targets) WITH ORDINALITY AS x(v, o)"
                "  WHERE v ->> 'name' = :task) <> 0",
                m=model_id,
                task=task,
                t=tenant_id,
                p=position,
                d=dataset_id,
            )
        self.version(model_id, 1, "published", checkpoint=checkpoint, version_id=version_id)
        self.run(
            "UPDATE registered_models SET status = 'ready', head_version_id = :v WHERE id = :m",
            v=version_id,
            m=model_id,
        )
        self.run(
            "INSERT INTO aliases (registered_model_id, name, tenant_id, version_id)"
            " VALUES (:m, 'latest', :t, :v)",
            m=model_id,
            t=tenant_id,
            v=version_id,
        )
        return model_id

    def version(
        self,
        model_id: uuid.UUID,
        number: int,
        state: str,
        *,
        parent: uuid.UUID | None = None,
        checkpoint: bytes = b"weights",
        version_id: uuid.UUID | None = None,
        job_id: uuid.UUID | None = None,
        report: Any = None,
    ) -> uuid.UUID:
        tenant_id = self.run("SELECT tenant_id FROM registered_models WHERE id = :m", m=model_id)
        artifact_id, version_id = time_ordered_id(), version_id or time_ordered_id()
        path = f"{tenant_id}/checkpoint/{artifact_id}"
        Storage(self.settings.storage_url).put(path, [checkpoint])
        self.run(
            "INSERT INTO artifacts (id, tenant_id, kind, path, state, sha256, size)"
            " VALUES (:id, :t, 'checkpoint', :path, 'stored', :sha, :size)",
            id=artifact_id,
            t=tenant_id,
            path=path,
            sha=hashlib.sha256(checkpoint).digest(),
            size=len(checkpoint),
        )
        self.run(
            "INSERT INTO model_versions (id, tenant_id, registered_model_id, number, parent_id, artifact_id,"
            " state, job_id, guarantee, report)"
            " VALUES (:id, :t, :m, :n, :parent, :a, :state, :job, 'empirical', CAST(:report AS jsonb))",
            id=version_id,
            t=tenant_id,
            m=model_id,
            n=number,
            parent=parent,
            a=artifact_id,
            state=state,
            job=job_id,
            report=json.dumps(report) if report is not None else None,
        )
        return version_id

    def claim(self, job_id: uuid.UUID | str) -> None:
        """As a worker does: the job and its requests run, and it takes no more requests."""
        self.run(
            "UPDATE jobs SET status = 'running', accepts_requests = false, fence = fence + 1,"
            " attempt = attempt + 1, lease_expires_at = now() + interval '1 minute', phase = 'unlearning',"
            " started_at = now(), revision = revision + 1 WHERE id = :id",
            id=job_id,
        )
        self.move_requests(job_id, "running")

    def publish(self, job_id: uuid.UUID | str) -> int:
        """As a worker does, at the end of a running job: a new version, and the ledger. Its number."""
        row = self.rows(
            "SELECT m.id, m.head_version_id, m.tenant_id, max(v.number) FROM jobs j"
            " JOIN registered_models m ON m.id = j.registered_model_id"
            " JOIN model_versions v ON v.registered_model_id = m.id WHERE j.id = :id"
            " GROUP BY m.id",
            id=job_id,
        )[0]
        model_id, head, tenant_id, number = row
        requests = self.rows("SELECT id FROM deletion_requests WHERE job_id = :j", j=job_id)
        report = {"requests": [{"reference": str(request.id), "task": "digit"} for request in requests]}
        self.run("UPDATE model_versions SET state = 'superseded' WHERE id = :id", id=head)
        made = self.version(
            model_id,
            number + 1,
            "published",
            parent=head,
            checkpoint=f"weights of version {number + 1}".encode(),
            job_id=uuid.UUID(str(job_id)),
            report=report,
        )
        self.run("UPDATE registered_models SET head_version_id = :v WHERE id = :m", v=made, m=model_id)
        self.run(
            "UPDATE aliases SET version_id = :v WHERE registered_model_id = :m AND name = 'latest'",
            v=made,
            m=model_id,
        )
        self.run(
            "INSERT INTO forgotten_supervision (registered_model_id, instance_hash, task, tenant_id,"
            " deletion_request_id, version_id, hash_key_id)"
            " SELECT DISTINCT ON (i.instance_hash, task) :m, i.instance_hash, task, :t, r.id, :v, 'k1'"
            " FROM deletion_requests r"
            " JOIN deletion_request_items i ON i.deletion_request_id = r.id, unnest(r.tasks) AS task"
            " WHERE r.job_id = :j AND r.status = 'running'"
            " ON CONFLICT (registered_model_id, instance_hash, task)"
            " DO UPDATE SET version_id = coalesce(forgotten_supervision.version_id, excluded.version_id)",
            m=model_id,
            t=tenant_id,
            v=made,
            j=job_id,
        )
        self.run(
            "UPDATE model_tasks t SET remaining = remaining - (SELECT count(*) FROM forgotten_supervision f"
            " WHERE f.registered_model_id = :m AND f.task = t.name AND f.version_id = :v)"
            " WHERE registered_model_id = :m",
            m=model_id,
            v=made,
        )
        self.run(
            "UPDATE deletion_requests SET result_version_id = :v, finished_at = now()"
            " WHERE job_id = :j AND status = 'running'",
            v=made,
            j=job_id,
        )
        self.move_requests(job_id, "succeeded")
        self.finish(job_id, "succeeded")
        return int(number) + 1

    def finish(self, job_id: uuid.UUID | str, status: str) -> None:
        self.run(
            "UPDATE jobs SET status = :s, lease_expires_at = NULL, phase = NULL, revision = revision + 1,"
            " finished_at = CASE WHEN :s <> 'needs_review' THEN now() END WHERE id = :id",
            s=status,
            id=job_id,
        )
        self.event(job_id, f"job.{status}")

    def move_requests(self, job_id: uuid.UUID | str, status: str) -> None:
        self.run(
            "WITH moved AS (UPDATE deletion_requests SET status = :s, revision = revision + 1,"
            " finished_at = CASE WHEN :s IN ('succeeded', 'failed', 'cancelled') THEN now() END"
            " WHERE job_id = :j AND status NOT IN ('succeeded', 'failed', 'cancelled')"
            " RETURNING id, tenant_id)"
            " INSERT INTO events (tenant_id, subject_id, type)"
            " SELECT tenant_id, id, 'request.' || :s FROM moved",
            s=status,
            j=job_id,
        )

    def event(self, job_id: uuid.UUID | str, type: str) -> None:
        self.run(
            "INSERT INTO events (tenant_id, subject_id, type)"
            " SELECT tenant_id, id, :type FROM jobs WHERE id = :id",
            type=type,
            id=job_id,
        )
