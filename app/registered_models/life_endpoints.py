"""The life of models and versions over HTTP: their clock, legal holds, destruction. All need `admin`."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from app.auth.caller import Admin
from app.core.openapi import errors
from app.core.session import Session
from app.registered_models import destruction, holds, retention
from app.registered_models.life_schemas import (
    Destruction,
    HoldList,
    HoldView,
    NewDestruction,
    NewHold,
    Reason,
    Retention,
)
from app.registered_models.schemas import ModelView, VersionView

router = APIRouter(prefix="/v1/models/{model}", tags=["Life of models"])
Number = Annotated[int, Path(ge=1, le=999_999_999)]


@router.put("/retention", responses=errors(400, 404, 410, 413, 422))
async def change_retention(caller: Admin, session: Session, model: str, sent: Retention) -> ModelView:
    """How long superseded versions, which still remember, stay: until they are withdrawn, then deleted."""
    return await retention.change(session, caller, model, sent)


@router.post("/versions/{version}/release", responses=errors(400, 404, 409, 410, 413, 422))
async def release_version(
    caller: Admin, session: Session, model: str, version: Number, sent: Reason
) -> VersionView:
    """Take a withdrawn version out of quarantine: it is superseded again, and its wait begins anew."""
    return await retention.release(session, caller, model, version, sent)


@router.post("/holds", status_code=201, responses=errors(400, 404, 409, 410, 413, 422))
async def place_hold(
    caller: Admin, session: Session, model: str, sent: NewHold, response: Response
) -> HoldView:
    """Place a legal hold on a version or on a model with all its versions: nothing of it is withdrawn or
    deleted until the hold is lifted. Deletion requests are carried out all the same."""
    hold = await holds.place(session, caller, model, sent)
    response.headers["Location"] = f"/v1/models/{model}/holds"
    return hold


@router.get("/holds", responses=errors(404))
async def list_holds(caller: Admin, session: Session, model: str) -> HoldList:
    """All holds on a model and its versions, the newest first, lifted ones included."""
    return await holds.every(session, caller, model)


@router.post("/holds/{hold_id}/lift", responses=errors(400, 404, 409, 413, 422))
async def lift_hold(
    caller: Admin, session: Session, model: str, hold_id: uuid.UUID, sent: Reason
) -> HoldView:
    """Lift a legal hold: the clock goes on from where it stood."""
    return await holds.lift(session, caller, model, hold_id, sent)


@router.post("/destroy", responses=errors(400, 404, 409, 410, 413, 422))
async def destroy_model(
    request: Request, caller: Admin, session: Session, model: str, sent: NewDestruction
) -> Destruction:
    """Destroy a model, and every model that was fine-tuned from a version of it, for good.

    The first call destroys nothing: it says what would go, with a `confirmation`. The second, with it, does.
    Requests that wait fail with `model_destroyed`; records, digests and certificates stay. A legal hold
    refuses.
    """
    return await destruction.destroy(session, caller, request.app.state.settings, model, sent)
