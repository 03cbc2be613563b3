"""The results as a page; parts that were not measured are left out."""

from benchmarks.queue.long_queue import JOBS, REQUESTS_EACH, TIMES

FEW = 2 * TIMES * REQUESTS_EACH


def report(result: dict) -> str:
    machine = result["machine"]
    lines = [
        "# What the queue costs",
        "",
        f"`python -m benchmarks.queue`: {machine['cores']} cores, Python {machine['python']}, PostgreSQL "
        "with default durability, all servers and clients on the same cores; load average before the run "
        f"(other work on the same machine): {machine['load_average_before']}.",
        "",
    ]
    parts = {
        "throughput": _throughput,
        "long_queue": _long_queue,
        "http": _http,
        "checkpoint": _checkpoint,
    }
    for name, part in parts.items():
        if name in result:
            lines += [*part(result[name]), ""]
    return "\n".join(lines)


def _throughput(rows: list[dict]) -> list[str]:
    return [
        "Jobs from the outbox to the settlement, with an engine that does nothing: claim, lease, heartbeat "
        "and settlement are real. Beside it tasks of plain Celery that increment a counter, on the same "
        "broker and in the same worker processes.",
        "",
        "| workers | jobs/s | plain Celery, tasks/s |",
        "|---:|---:|---:|",
        *(
            f"| {row['workers']} | {row['jobs_per_second']:.0f} | {row['celery_per_second']:.0f} |"
            for row in rows
        ),
    ]


def _long_queue(queue: dict) -> list[str]:
    before = queue.get("load_average_before")  # of this part, which may have been measured by itself
    load = f" (load average before: {before})" if before is not None else ""
    lines = [
        f"With {queue['requests']:,} requests in {JOBS:,} queued jobs, medians in milliseconds{load}:",
        "",
        f"| call | {FEW:,} queued | {queue['requests']:,} queued |",
        "|---|---:|---:|",
        *(f"| {name} | {queue['few'][name]} | {queue['many'][name]} |" for name in queue["few"]),
        "",
        "Query plans with the long queue:",
        "",
    ]
    for name, plan in queue["plans"].items():
        lines += [f"<details><summary>{name}</summary>", "", "```", plan, "```", "", "</details>", ""]
    return lines


def _http(rows: list[dict]) -> list[str]:
    return [
        "| at 32 connections | requests/s | p50 ms | p99 ms |",
        "|---|---:|---:|---:|",
        *(
            f"| {row['target']} | {row['per_second']:.0f} | {row['p50_ms']:.1f} | {row['p99_ms']:.1f} |"
            for row in rows
        ),
    ]


def _checkpoint(moved: dict) -> list[str]:
    speeds = moved["megabytes_per_second"]
    return [
        f"A checkpoint of {moved['mebibytes']} MiB: up {speeds['up']:.0f} MB/s, down {speeds['down']:.0f} "
        f"MB/s (`cp` and `fsync`: {speeds['cp and fsync']:.0f} MB/s); the API's resident memory grew by at "
        f"most {moved['peak_rss_growth_mebibytes']:.0f} MiB."
    ]
