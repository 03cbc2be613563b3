"""Instance lists over HTTP: instances sent ahead, to be named by several deletion requests."""

import uuid

from fastapi import APIRouter, Request, Response

from app.auth.caller import RequestsRead, RequestsWrite
from app.core.audit import audit_entry
from app.core.errors import NotFound
from app.core.instances import read_instances
from app.core.openapi import errors
from app.core.session import Session
from app.instance_lists import repository
from app.instance_lists.schemas import InstanceListView, NewInstanceList

router = APIRouter(prefix="/v1/instance-lists", tags=["Deletion requests"])


@router.post("", status_code=201, responses=errors(400, 413, 422))
async def create_instance_list(
    request: Request, caller: RequestsWrite, session: Session, sent: NewInstanceList, response: Response
) -> InstanceListView:
    """Send instances ahead. Only keyed hashes of them are kept."""
    settings = request.app.state.settings
    instances = await read_instances(sent.instances, caller.tenant_id, settings)
    row = await repository.insert_list(session, caller.tenant_id, instances, settings.hash_key_id)
    await session.execute(
        audit_entry(
            caller.tenant_id,
            caller.actor,
            "instance_list.create",
            row.id,
            caller.request_id,
            instances=instances.count,
        )
    )
    response.headers["Location"] = f"/v1/instance-lists/{row.id}"
    return InstanceListView(**row._mapping)


@router.get("/{list_id}", responses=errors(404, 422))
async def get_instance_list(caller: RequestsRead, session: Session, list_id: uuid.UUID) -> InstanceListView:
    """How many instances a list holds; not which, because that is not kept."""
    row = await repository.find(session, caller.tenant_id, list_id)
    if row is None:
        raise list_not_found()
    return InstanceListView(**row._mapping)


@router.delete("/{list_id}", status_code=204, responses=errors(404, 422))
async def delete_instance_list(caller: RequestsWrite, session: Session, list_id: uuid.UUID) -> None:
    """Remove a list that is no longer needed. Requests that named it keep their instances."""
    if not await repository.remove(session, caller.tenant_id, list_id):
        raise list_not_found()
    await session.execute(
        audit_entry(caller.tenant_id, caller.actor, "instance_list.delete", list_id, caller.request_id)
    )


def list_not_found() -> NotFound:
    return NotFound("There is no such instance list.", code="instance_list_not_found")
