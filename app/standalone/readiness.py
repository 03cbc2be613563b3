"""Wait until the API says that it is ready."""

import http.client
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus

from app.standalone.guarded_process import GuardedProcess
from app.standalone.refusals import StandaloneError

SECONDS_TO_BECOME_READY = 120.0
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (looked up, not listened at)


def reachable(host: str) -> str:
    """The address by which this machine reaches a server that listens at `host`."""
    return ANY_ADDRESS.get(host, host)


def wait_until_ready(host: str, port: int, ended: Callable[[], Sequence[GuardedProcess]]) -> None:
    """Ask /readyz until it answers 200; give up at once when a process `ended`."""
    deadline = time.monotonic() + SECONDS_TO_BECOME_READY
    answer = "no answer"
    while time.monotonic() < deadline:
        for process in ended():
            raise StandaloneError(
                f"{process.command.name} ended with status {process.exit_code} while starting: "
                f"{process.last_words()} (log: {process.command.log})."
            )
        connection = http.client.HTTPConnection(reachable(host), port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            if response.status == HTTPStatus.OK:
                return
            answer = f"{response.status} {response.read(200).decode(errors='replace')}"
        except (OSError, http.client.HTTPException) as error:
            answer = str(error)
        finally:
            connection.close()
        time.sleep(0.1)
    raise StandaloneError(
        f"The API did not become ready within {SECONDS_TO_BECOME_READY:g} s; its last answer: {answer}."
    )
