"""Requests that were carried out get their certificates: one signed statement each, another when all that
remembered is gone, and one of a request on a data set, which names those of its parts.

The relay makes them and not the worker, which runs networks that others wrote: the signing key stays away
from it. A request whose result changes (an administrator took the model back, and it was carried out again)
gets another certificate; the first stays as it was.
"""

import hashlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Executable, bindparam, func, insert, or_, select, text
from sqlalchemy.orm import Session, sessionmaker

from app.certificates.disposal import disposal_predicate, disposed_subjects, read_disposal
from app.certificates.facts import read_facts
from app.certificates.parts import parts_predicate, parts_subjects, read_parts
from app.certificates.unlearning import subject_of, unlearning_predicate
from app.core.audit import audit_entry, event
from app.core.database import transaction
from app.core.logging import get_logger
from app.core.signing import DISPOSAL, PARTS, UNLEARNING, StatementSigner, introduce_model_key
from app.core.storage import Storage
from models import Certificate, DeletionRequest, time_ordered_id
from models.states import RunStatus

ACTOR = "relay"
AT_ONCE = 100
FIRST = uuid.UUID(int=0)

_UNCERTIFIED = (
    select(DeletionRequest.id)
    .where(
        DeletionRequest.status == RunStatus.SUCCEEDED,
        DeletionRequest.certified_version_id.is_distinct_from(DeletionRequest.result_version_id),
        DeletionRequest.id > bindparam("after"),
    )
    .order_by(DeletionRequest.id)
    .limit(bindparam("limit"))
)
# Of models that a version was deleted of; the statement itself looks more closely. A certificate of an
# earlier result says nothing about the versions that the present one has forgotten by.
_MAYBE_DISPOSED = text("""
SELECT certificate.deletion_request_id
FROM certificates AS certificate
JOIN deletion_requests AS request ON request.id = certificate.deletion_request_id
  AND request.result_version_id = certificate.version_id
JOIN model_versions AS result ON result.id = certificate.version_id
WHERE certificate.kind = 'unlearning' AND request.status = 'succeeded'
  AND certificate.deletion_request_id > :after
  AND certificate.registered_model_id IN (
    SELECT registered_model_id FROM model_versions WHERE state = 'deleted'
  )
  AND NOT EXISTS (
    SELECT FROM model_versions AS older
    WHERE older.registered_model_id = result.registered_model_id AND older.number < result.number
      AND older.state NOT IN ('deleted', 'rejected')
  )
  AND NOT EXISTS (
    SELECT FROM certificates AS other
    WHERE other.deletion_request_id = certificate.deletion_request_id AND other.kind = 'disposal'
      AND other.version_id = certificate.version_id
  )
ORDER BY certificate.deletion_request_id LIMIT :limit
""")

# Of a request on a data set, once all of its parts are over and certified.
_UNBUNDLED = text("""
SELECT r.id FROM deletion_requests r
WHERE r.registered_model_id IS NULL AND r.bundled_at IS NULL AND r.id > :after AND NOT EXISTS (
  SELECT FROM deletion_requests c WHERE c.parent_id = r.id AND (
    c.status NOT IN ('succeeded', 'failed', 'cancelled')
    OR c.status = 'succeeded' AND c.certified_version_id IS DISTINCT FROM c.result_version_id
  )
)
ORDER BY r.id LIMIT :limit
""")


@dataclass(frozen=True)
class Certifier:
    """`service`: the URL under which clients reach it. `places`: where each round has got to."""

    sessions: sessionmaker[Session]
    storage: Storage
    signer: StatementSigner
    service: str
    places: dict[str, uuid.UUID] = field(default_factory=dict)

    def certify_unlearning(self) -> int:
        """How many certificates were made. One transaction each."""
        waiting = self._next("unlearning", _UNCERTIFIED)
        return sum(self._guarded(self._certify_unlearning, request_id) for request_id in waiting)

    def certify_disposals(self) -> int:
        """The same, of disposal statements."""
        waiting = self._next("disposal", _MAYBE_DISPOSED)
        return sum(self._guarded(self._certify_disposal, request_id) for request_id in waiting)

    def certify_parts(self) -> int:
        """The same, of requests on data sets."""
        waiting = self._next("parts", _UNBUNDLED)
        return sum(self._guarded(self._certify_parts, request_id) for request_id in waiting)

    def _next(self, kind: str, query: Executable) -> list[uuid.UUID]:
        """The next of those that wait, in rounds: what cannot be certified comes up again in the next round,
        and does not stand before the others in this one."""
        bound = {"after": self.places.pop(kind, FIRST), "limit": AT_ONCE}
        with transaction(self.sessions) as session:
            waiting = list(session.scalars(query, bound))
        if len(waiting) == AT_ONCE:
            self.places[kind] = waiting[-1]
        return waiting

    def _certify_unlearning(self, session: Session, request: DeletionRequest) -> bool:
        if request.certified_version_id == request.result_version_id:
            return False
        facts = read_facts(session, request.id)
        predicate = unlearning_predicate(facts, self.service)
        self._issue(session, request, "unlearning", UNLEARNING, subject_of(facts), predicate)
        introduce_model_key(session, facts.report.get("signature"))
        request.certified_version_id = request.result_version_id
        return True

    def _certify_disposal(self, session: Session, request: DeletionRequest) -> bool:
        disposal = read_disposal(session, self.storage, request.id)
        if disposal is None:
            return False
        predicate = disposal_predicate(disposal, self.service)
        self._issue(session, request, "disposal", DISPOSAL, disposed_subjects(disposal), predicate)
        return True

    def _certify_parts(self, session: Session, request: DeletionRequest) -> bool:
        """Whoever opens a part again does so before this, and is seen, or clears the mark after it."""
        parts = read_parts(session, request.id)
        if parts is None or request.bundled_at is not None:
            return False
        request.bundled_at = func.now()
        if not parts.certified:
            return False
        self._issue(
            session, request, "parts", PARTS, parts_subjects(parts), parts_predicate(parts, self.service)
        )
        return True

    def _issue(
        self,
        session: Session,
        request: DeletionRequest,
        kind: str,
        predicate_type: str,
        subjects: Mapping[str, str],
        predicate: dict[str, Any],
    ) -> None:
        envelope = self.signer.sign(predicate_type, subjects, predicate)
        told = {"kind": kind, "sha256": hashlib.sha256(envelope.encode()).hexdigest()}
        self.signer.introduce(session)
        session.execute(
            insert(Certificate).values(
                id=time_ordered_id(),
                tenant_id=request.tenant_id,
                deletion_request_id=request.id,
                registered_model_id=request.registered_model_id,
                version_id=request.result_version_id,
                kind=kind,
                envelope=envelope,
                key_id=self.signer.key_id,
            )
        )
        session.execute(event(request.tenant_id, request.id, "certificate.issued", **told))
        session.execute(audit_entry(request.tenant_id, ACTOR, "certificate.issue", request.id, **told))

    def _guarded(self, certify: Callable[[Session, DeletionRequest], bool], request_id: uuid.UUID) -> bool:
        """What cannot be certified must not keep the others from being."""
        try:
            with transaction(self.sessions) as session:
                request = _lock(session, request_id)
                return request is not None and certify(session, request)
        except Exception:  # whatever it is about this one: the database's refusals, the storage, its facts
            get_logger(__name__).exception("not_certified", deletion_request_id=str(request_id))
            return False


def _lock(session: Session, request_id: uuid.UUID) -> DeletionRequest | None:
    """None while somebody else certifies it or moves it on."""
    return session.scalar(
        select(DeletionRequest)
        .where(
            DeletionRequest.id == request_id,
            or_(DeletionRequest.status == RunStatus.SUCCEEDED, DeletionRequest.status.is_(None)),
        )
        .with_for_update(key_share=True, skip_locked=True)
    )
