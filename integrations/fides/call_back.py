"""Tell Fides that what it asked for is done: the second half of the callback flow.

    LETHE_URL=... LETHE_API_KEY=... FIDES_URL=https://fides.example python call_back.py REQUEST

Run it for each request with `metadata.fides`, for instance from what receives the service's webhooks. It
waits until the request has ended. Exit status: 0 told; 1 not told, because the request did not succeed or
Fides refused: Fides has no word for failure, so its task goes on waiting until a person looks.
"""

import os
import sys

import httpx

import lethe
from lethe.answers import DeletionRequest


class NotTold(Exception):
    """Fides was told nothing; the sentence says why."""


def call_back(client: lethe.Client, request_id: str, fides_url: str) -> DeletionRequest:
    """Raises `NotTold`, `lethe.LetheError` and `httpx.HTTPError`. Saying it twice does no harm."""
    request = client.wait(request_id)
    asked_by = request.metadata.get("fides")
    if not isinstance(asked_by, dict):
        raise NotTold(f"Request {request.id} was not made by Fides: its metadata has no 'fides'.")
    if request.status != "succeeded":
        raise NotTold(
            f"Request {request.id} is {request.status}: {request.error_detail or 'no version yet'}."
        )
    path, token = str(asked_by.get("reply_to", "")), str(asked_by.get("reply_to_token", ""))
    # The token goes to our Fides, whatever the metadata of a request may say.
    if not path.startswith("/") or path.startswith("//"):
        raise NotTold(f"Request {request.id} names no path of Fides to answer at.")
    with httpx.Client(base_url=fides_url, transport=httpx.HTTPTransport(retries=3)) as fides:
        answer = fides.post(path, headers={"Authorization": f"Bearer {token}"}, json={"rows_masked": 1})
    if answer.is_error:
        raise NotTold(f"Fides answered {answer.status_code} for request {request.id}.")
    return request


def main() -> int:
    [request_id] = sys.argv[1:]
    try:
        with lethe.Client() as client:
            call_back(client, request_id, os.environ["FIDES_URL"])
    except (NotTold, lethe.LetheError, httpx.HTTPError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
