"""opendsr: erasures as privacy tools ask for them, and the tables that say which instances a person is."""

from pathlib import Path
from typing import Annotated

import typer

from lethe.commands.reading import read_json
from lethe.commands.speaking import AsJson, Commands, Profile, connected, identifier

HELP = "OpenDSR 2.0, and the tables of identities."

Stub = Annotated[bool, typer.Option("--stub", help="A rehearsal: nothing is deleted")]
RequestId = Annotated[str, typer.Argument(metavar="ID", help="The subject_request_id")]
DatasetName = Annotated[str, typer.Argument(metavar="DATASET", help="Its name or id")]


def discovery(stub: Stub = False, profile: Profile = None, as_json: AsJson = False) -> None:
    """Which identities and types of request the service takes."""
    with connected(profile, as_json) as (client, speaker):
        speaker.document(client.opendsr_discovery(stub=stub))


def send(
    file: Annotated[
        Path, typer.Argument(help="The request as OpenDSR 2.0 has it, JSON; - for standard input")
    ],
    stub: Stub = False,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Ask for an erasure. The same body again is the same request."""
    body = read_json(file, dict)
    with connected(profile, as_json) as (client, speaker):
        made = client.send_opendsr_request(body, stub=stub)
        told = f"{made.subject_request_id}  expected by {made.expected_completion_time}"
        speaker.show(made, lambda out: out.print(told, markup=False))


def status(request: RequestId, stub: Stub = False, profile: Profile = None, as_json: AsJson = False) -> None:
    """How it stands: pending, in_progress, completed or cancelled."""
    with connected(profile, as_json) as (client, speaker):
        found = client.get_opendsr_request(identifier(request, "request"), stub=stub)
        told = f"{found.request_status}  expected by {found.expected_completion_time}"
        speaker.show(found, lambda out: out.print(told, markup=False))


def cancel(request: RequestId, stub: Stub = False, profile: Profile = None, as_json: AsJson = False) -> None:
    """Withdraw it, while it is pending."""
    with connected(profile, as_json) as (client, speaker):
        found = client.cancel_opendsr_request(identifier(request, "request"), stub=stub)
        speaker.show(found, lambda out: out.print(f"{found.subject_request_id}  cancelled", markup=False))


def add_identities(
    dataset: DatasetName,
    file: Annotated[
        Path,
        typer.Argument(
            help="JSON, a list of identity_type, identity_value, identity_format, instances; - for standard "
            "input"
        ),
    ],
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Say which instances people are, beside what was said before. Values are kept as keyed hashes only."""
    identities = read_json(file, list)
    with connected(profile, as_json) as (client, speaker):
        found = client.add_identities(dataset, identities)
        speaker.show(found, lambda out: out.print(f"{found.added} added", markup=False))


def remove_identities(dataset: DatasetName, profile: Profile = None, as_json: AsJson = False) -> None:
    """Empty a data set's table."""
    with connected(profile, as_json) as (client, speaker):
        found = client.remove_identities(dataset)
        speaker.show(found, lambda out: out.print(f"{found.removed} removed", markup=False))


COMMANDS: Commands = {
    "discovery": discovery,
    "send": send,
    "status": status,
    "cancel": cancel,
    "add-identities": add_identities,
    "remove-identities": remove_identities,
}
