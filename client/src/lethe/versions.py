"""Which version this is, and whether it goes with the server's."""

from importlib.metadata import PackageNotFoundError, version

VERSION_HEADER = "Lethe-Version"

try:
    CLIENT_VERSION = version("lethe")
except PackageNotFoundError:  # run from a checkout
    CLIENT_VERSION = "0"


def disagreement(server: str | None, client: str = CLIENT_VERSION) -> str | None:
    """A sentence when the two are not made for each other (before 1.0 that is the minor version's matter)."""
    if server is None or _kind(server) == _kind(client):
        return None
    return (
        f"This is version {client} of the client, and the service has version {server}: calls may fail or be "
        f"misread. Install the client of the service's version."
    )


def _kind(text: str) -> tuple[str, ...]:
    major, *rest = text.split(".")
    return (major, *rest[:1]) if major == "0" else (major,)
