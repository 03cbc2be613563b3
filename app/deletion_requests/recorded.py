"""Whether requests that are recorded already need a person's word before they are queued."""

import uuid
from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.core.settings import Settings
from app.deletion_requests.allowance import Reason, allowance_of
from app.deletion_requests.shares import Subject, too_much

_MODEL = text("""
SELECT m.policy, m.dataset_id, d.targets,
  (SELECT jsonb_object_agg(t.name, coalesce(t.remaining, 0)) FROM model_tasks t
   WHERE t.registered_model_id = m.id) AS remaining
FROM registered_models m JOIN datasets d ON d.id = m.dataset_id WHERE m.id = :model_id
""")


class Recorded(Protocol):
    @property
    def id(self) -> uuid.UUID: ...
    @property
    def tasks(self) -> list[str]: ...


def reasons_for(
    session: Session, settings: Settings, model_id: uuid.UUID, requests: Sequence[Recorded]
) -> list[Reason]:
    """Of requests on one model, together. None of them is queued yet."""
    model = session.execute(_MODEL, {"model_id": model_id}).one()
    allowance = allowance_of(model.policy, settings)
    if allowance.bounds_nothing:
        return []
    position = {target["name"]: index for index, target in enumerate(model.targets)}
    tasks = sorted({task for request in requests for task in request.tasks})
    bits, remaining = [1 << position[task] for task in tasks], [model.remaining[task] for task in tasks]
    subject = Subject(model_id, model.dataset_id, tasks, bits, remaining, allowance)
    return too_much(session, subject, [request.id for request in requests], None)
