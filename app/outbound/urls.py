"""The URLs that tenants name, in their one normal form."""

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, Field, HttpUrl, TypeAdapter, ValidationError

from app.outbound.addresses import Listed, is_listed, may_reach

MAX_LENGTH = 2048
_HTTP_URL = TypeAdapter(HttpUrl)


def normal(url: str) -> str:
    """As every part of the service reads it from here on. Raises `ValueError` with a sentence."""
    if len(url) > MAX_LENGTH:
        raise ValueError(f"a URL must have at most {MAX_LENGTH} characters")
    try:
        read = _HTTP_URL.validate_python(url)
    except ValidationError:
        raise ValueError("this is not an https:// URL") from None
    if read.username or read.password:
        raise ValueError("a URL must not hold a user name or a password")
    if read.fragment:
        raise ValueError("a URL must not have a fragment")
    return str(read)


ReceiverUrl = Annotated[
    str,
    Field(json_schema_extra={"format": "uri", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?:", "maxLength": MAX_LENGTH}),
    AfterValidator(normal),
]


def why_never(url: str, listed: tuple[Listed, ...]) -> str | None:
    """What can be said against a normal URL before its name is resolved; None when nothing can."""
    read = _HTTP_URL.validate_python(url)
    port = read.port or 443
    if read.scheme != "https" and not listed:
        return "The URL must begin with https://: events are sent over nothing else."
    try:
        address = ipaddress.ip_address((read.host or "").strip("[]"))
    except ValueError:
        return None
    if not may_reach(address, port, listed):
        return "This address is not one of the public internet's, nor one that the operator has listed."
    if read.scheme != "https" and not is_listed(address, port, listed):
        return "The URL must begin with https://: events are sent over nothing else."
    return None
