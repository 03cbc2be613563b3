"""`python -m benchmarks.http.transfer up|down PORT PATH KEY FILE`: the client of a checkpoint's transfer."""

import http.client
import sys
from pathlib import Path

CHUNK = 1 << 20


def main(direction: str, port: str, path: str, key: str, file: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(port), blocksize=CHUNK)
    headers = {"Authorization": f"Bearer {key}"}
    size = Path(file).stat().st_size
    if direction == "up":
        with Path(file).open("rb") as body:
            connection.request("PUT", path, body, headers | {"Content-Length": str(size)})
            answer = connection.getresponse()
            assert answer.status == 202, answer.read()
        return
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    received = 0
    buffer = bytearray(CHUNK)
    while count := answer.readinto(buffer):
        received += count
    assert received == size


if __name__ == "__main__":
    main(*sys.argv[1:])
