"""Client of a Lethe service, and checks of what such a service has signed.

    with lethe.Client() as client:  # LETHE_URL and LETHE_API_KEY
        request = client.request_deletion(["scan-1"], model="digits", tasks="all")
        done = client.wait(request)
        client.download("digits", done.result_version, "digits.safetensors")

`lethe.AsyncClient` has the same methods, to be awaited; `lethe.errors` shows what may go wrong.

What checks signatures shares no code with the service: it is written from the description in
docs/evidence.md, so that a mistake in one is not a mistake in both.
"""

from lethe.client import AsyncClient, Client
from lethe.errors import LetheError, Problem
from lethe.retrying import Retries

__all__ = ["AsyncClient", "Client", "LetheError", "Problem", "Retries"]
