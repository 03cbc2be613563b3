"""The life of models and versions, for administrators: their clock, legal holds, destruction."""

from urllib.parse import quote
from uuid import UUID

from msgspec import Struct

from lethe.answers import Destruction, Hold, Model, Version
from lethe.plan import Plan, call


class _Holds(Struct):
    data: list[Hold]


def change_retention(
    model: str, *, quarantine_after: float | None, delete_after: float | None
) -> Plan[Model]:
    """Days until a superseded version is withdrawn, then until its bytes are deleted; None: never."""
    body = {"quarantine_after": quarantine_after, "delete_after": delete_after}
    return call("PUT", f"{_path(model)}/retention", Model, body)


def release_version(model: str, version: int, *, reason: str) -> Plan[Version]:
    """Take a withdrawn version out of quarantine."""
    path = f"{_path(model)}/versions/{version}/release"
    return call("POST", path, Version, {"reason": reason}, repeatable=False)


def place_hold(model: str, *, reason: str, version: int | None = None) -> Plan[Hold]:
    """Keep a version, or all of a model's, from being withdrawn or deleted."""
    body = {"reason": reason, "version": version}
    return call("POST", f"{_path(model)}/holds", Hold, body, repeatable=False)


def list_holds(model: str) -> Plan[list[Hold]]:
    """The newest first, lifted ones included."""
    return (yield from call("GET", f"{_path(model)}/holds", _Holds)).data


def lift_hold(model: str, hold: UUID | str, *, reason: str) -> Plan[Hold]:
    """The clock goes on from where it stood."""
    path = f"{_path(model)}/holds/{UUID(str(hold))}/lift"
    return call("POST", path, Hold, {"reason": reason}, repeatable=False)


def destroy_model(model: str, *, reason: str, confirmation: str | None = None) -> Plan[Destruction]:
    """Destroy a model and all that was fine-tuned from it, for good. Called without `confirmation` it
    destroys nothing: it says what would go. Called again with the `confirmation` of that answer, it does."""
    body = {"reason": reason, "confirmation": confirmation}
    return call("POST", f"{_path(model)}/destroy", Destruction, body, repeatable=confirmation is None)


def _path(model: str) -> str:
    return f"/v1/models/{quote(model, safe='')}"
