"""The results as a page."""

from benchmarks.queue.long_queue import JOBS, REQUESTS_EACH, TIMES

FEW = 2 * TIMES * REQUESTS_EACH


def report(result: dict) -> str:
    machine, queue, moved = result["machine"], result["long_queue"], result["checkpoint"]
    speeds = moved["megabytes_per_second"]
    lines = [
        "# What the queue costs",
        "",
        f"`python -m benchmarks.queue`: {machine['cores']} cores, Python {machine['python']}, PostgreSQL "
        "with default durability, all servers and clients on the same cores; load average before the run "
        f"(other work on the same machine): {machine['load_average_before']}.",
        "",
        "Jobs from the outbox to the settlement, with an engine that does nothing: claim, lease, heartbeat "
        "and settlement are real. Beside it tasks of plain Celery that increment a counter, on the same "
        "broker and in the same worker processes.",
        "",
        "| workers | jobs/s | plain Celery, tasks/s |",
        "|---:|---:|---:|",
        *(
            f"| {row['workers']} | {row['jobs_per_second']:.0f} | {row['celery_per_second']:.0f} |"
            for row in result["throughput"]
        ),
        "",
        f"With {queue['requests']:,} requests in {JOBS:,} queued jobs, medians in milliseconds:",
        "",
        f"| call | {FEW:,} queued | {queue['requests']:,} queued |",
        "|---|---:|---:|",
        *(f"| {name} | {queue['few'][name]} | {queue['many'][name]} |" for name in queue["few"]),
        "",
        "| at 32 connections | requests/s | p50 ms | p99 ms |",
        "|---|---:|---:|---:|",
        *(
            f"| {row['target']} | {row['per_second']:.0f} | {row['p50_ms']:.1f} | {row['p99_ms']:.1f} |"
            for row in result["http"]
        ),
        "",
        f"A checkpoint of {moved['mebibytes']} MiB: up {speeds['up']:.0f} MB/s, down {speeds['down']:.0f} "
        f"MB/s (`cp` and `fsync`: {speeds['cp and fsync']:.0f} MB/s); the API's resident memory grew by at "
        f"most {moved['peak_rss_growth_mebibytes']:.0f} MiB.",
        "",
        "Query plans with the long queue:",
        "",
    ]
    for name, plan in queue["plans"].items():
        lines += [f"<details><summary>{name}</summary>", "", "```", plan, "```", "", "</details>", ""]
    return "\n".join(lines)
