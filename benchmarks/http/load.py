"""The client, in a process of its own: keep-alive connections that send one request after another.

Reads {"port", "connections", "seconds", "requests": [text, ...]} from standard input; every connection
goes round the requests. Writes {"requests", "seconds", "milliseconds": [...], "failures"}.
"""

import asyncio
import json
import sys
import time

import uvloop


async def drive(order: dict) -> dict:
    sent = [request.encode() for request in order["requests"]]
    taken: list[float] = []
    failures = 0
    end = time.perf_counter() + order["seconds"]

    async def one(offset: int) -> None:
        nonlocal failures
        reader, writer = await asyncio.open_connection("127.0.0.1", order["port"])
        turn = offset
        while (started := time.perf_counter()) < end:
            writer.write(sent[turn % len(sent)])
            turn += 1
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            )
            await reader.readexactly(length)
            taken.append((time.perf_counter() - started) * 1000)
            failures += head[9:10] != b"2"
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(one(k * 7919) for k in range(order["connections"])))
    seconds = time.perf_counter() - started
    return {"requests": len(taken), "seconds": seconds, "milliseconds": taken, "failures": failures}


if __name__ == "__main__":
    json.dump(uvloop.run(drive(json.load(sys.stdin))), sys.stdout)
