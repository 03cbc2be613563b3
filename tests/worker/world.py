"""A service's database as the API would have filled it: tenants, data sets, models, requests, jobs."""

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, create_engine, select, text
from sqlalchemy.orm import Session, sessionmaker

from app.core.hashing import hash_instances
from app.core.outbox import wake
from app.core.settings import Settings
from models import (
    Artifact,
    Dataset,
    DeletionRequest,
    DeletionRequestItem,
    Job,
    JobKind,
    ModelTask,
    ModelVersion,
    RegisteredModel,
    Tenant,
    time_ordered_id,
)
from tests.database import Database
from tests.worker.tiny import NETWORK, RECIPE, TASKS

GATES = {"retained_drop": 100.0, "unnamed_drop": 100.0, "forget_excess": 100.0}


class World:
    """Arranges and looks as the owner of the database; what is tested runs as its own role."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.settings = settings
        self.engine: Engine = create_engine(database.owner_url)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def change(self) -> Iterator[Session]:
        with self._sessions.begin() as session:
            yield session

    def execute(self, statement: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)

    def rows(self, query: str, **values: Any) -> list[Any]:
        with self.engine.begin() as connection:
            return list(connection.execute(text(query), values))

    def value(self, query: str, **values: Any) -> Any:
        with self.engine.begin() as connection:
            return connection.execute(text(query), values).scalar()

    def job(self, job_id: uuid.UUID) -> Job:
        with self.change() as session:
            return session.get_one(Job, job_id)

    def request(self, request_id: uuid.UUID) -> DeletionRequest:
        with self.change() as session:
            return session.get_one(DeletionRequest, request_id)

    def tenant(self, name: str = "acme", roots: Iterable[str] = ()) -> Tenant:
        with self.change() as session:
            tenant = Tenant(name=name, allowed_roots=list(roots))
            session.add(tenant)
        return tenant

    def dataset(self, tenant: Tenant, url: str, holdout_url: str | None) -> tuple[Dataset, Job]:
        """Registered, and queued to be validated."""
        with self.change() as session:
            dataset = Dataset(
                id=time_ordered_id(),
                tenant_id=tenant.id,
                name=f"data-{uuid.uuid4().hex[:8]}",
                format="arrays",
                url=url,
                holdout_url=holdout_url,
            )
            session.add(dataset)
            session.flush()
            job = self._job(session, tenant, kind=JobKind.VALIDATE_DATASET, dataset_id=dataset.id)
        return dataset, job

    def model(
        self,
        tenant: Tenant,
        dataset: Dataset,
        *,
        artifact: Artifact | None = None,
        checkpoint_url: str | None = None,
        policy: dict[str, Any] | None = None,
        tasks: Iterable[Any] = TASKS,
        network: dict[str, Any] = NETWORK,
    ) -> tuple[RegisteredModel, Job]:
        """Registered with its version 1, and queued to be validated."""
        artifact_id = time_ordered_id()
        with self.change() as session:
            if artifact is None:
                artifact = Artifact(
                    id=artifact_id,
                    tenant_id=tenant.id,
                    kind="checkpoint",
                    path=f"{tenant.id}/checkpoint/{artifact_id}",
                )
            session.add(artifact)
            model = RegisteredModel(
                id=time_ordered_id(),
                tenant_id=tenant.id,
                name=f"model-{uuid.uuid4().hex[:8]}",
                dataset_id=dataset.id,
                network=network,
                recipe=RECIPE,
                policy={"method": "retrain", "visits": 4, "gates": GATES, "on_miss": "needs_review"}
                | (policy or {}),
                status="validating",
                checkpoint_url=checkpoint_url,
            )
            session.add(model)
            session.flush()
            session.add_all(
                ModelTask(
                    registered_model_id=model.id,
                    name=task.name,
                    tenant_id=tenant.id,
                    position=position,
                    kind=task.kind,
                    outputs=task.outputs,
                )
                for position, task in enumerate(tasks)
            )
            session.add(
                ModelVersion(
                    id=time_ordered_id(),
                    tenant_id=tenant.id,
                    registered_model_id=model.id,
                    number=1,
                    artifact_id=artifact.id,
                )
            )
            session.flush()
            job = self._job(session, tenant, kind=JobKind.VALIDATE_MODEL, registered_model_id=model.id)
        return model, job

    def ready_model(self, tenant: Tenant) -> RegisteredModel:
        """A model that looks validated; nothing stands behind it."""
        dataset, validation = self.dataset(tenant, "file:///nowhere", None)
        model, other_validation = self.model(tenant, dataset)
        with self.change() as session:
            for job in (validation, other_validation):
                session.execute(text("DELETE FROM outbox WHERE job_id = :id"), {"id": job.id})
                session.delete(session.get_one(Job, job.id))
            version = session.scalars(
                select(ModelVersion).where(ModelVersion.registered_model_id == model.id)
            ).one()
            version.state = "published"
            model = session.get_one(RegisteredModel, model.id)
            model.head_version_id = version.id
            model.status = "ready"
        return model

    def open_job(
        self,
        model: RegisteredModel,
        *,
        due_at: datetime | None = None,
        method: str = "retrain",
        accepts_requests: bool = False,
    ) -> Job:
        with self.change() as session:
            return self._job(
                session,
                session.get_one(Tenant, model.tenant_id),
                kind=JobKind.UNLEARN,
                registered_model_id=model.id,
                method=method,
                due_at=due_at,
                accepts_requests=accepts_requests,
            )

    def deletion(
        self,
        model: RegisteredModel,
        job: Job | None,
        instances: Iterable[str] = ("p0",),
        tasks: Iterable[str] = ("colour", "size"),
        **values: Any,
    ) -> DeletionRequest:
        """A queued request in the job."""
        ids = list(instances)
        names = list(tasks)
        with self.change() as session:
            request = DeletionRequest(
                id=time_ordered_id(),
                tenant_id=model.tenant_id,
                dataset_id=model.dataset_id,
                registered_model_id=model.id,
                job_id=job.id if job else None,
                tasks=names,
                scope="full" if len(names) == 2 else "partial",
                method=job.method if job and job.method else "retrain",
                instance_count=len(ids),
                hash_key_id="k1",
                **{"status": "queued"} | values,
            )
            session.add(request)
            session.flush()
            session.add_all(
                DeletionRequestItem(
                    deletion_request_id=request.id, instance_hash=digest, tenant_id=model.tenant_id
                )
                for digest in hash_instances(ids, model.tenant_id, self.settings)
            )
        return request

    def job_with_request(self, model: RegisteredModel, **options: Any) -> tuple[Job, DeletionRequest]:
        job = self.open_job(model)
        return job, self.deletion(model, job, **options)

    def _job(self, session: Session, tenant: Tenant, **values: Any) -> Job:
        job = Job(id=time_ordered_id(), tenant_id=tenant.id, **values)
        session.add(job)
        session.flush()
        session.execute(wake(tenant.id, job.id))
        return job
