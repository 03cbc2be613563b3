"""What pip-audit says, and what it means for `make lint`. The shapes are those of pip-audit 2.10's JSON."""

import json

import pytest

from lint.known_weaknesses import judge

SOUND = {"name": "anyio", "version": "4.16.0", "vulns": []}
SKIPPED = {
    "name": "torch",
    "skip_reason": "Dependency not found on PyPI and could not be audited: torch (2.9.0+cpu)",
}
WEAK = {
    "name": "starlette",
    "version": "0.40.0",
    "vulns": [
        {"id": "PYSEC-2025-1", "fix_versions": ["0.47.2"], "aliases": ["CVE-2025-54121"]},
        {"id": "GHSA-xxxx", "fix_versions": [], "aliases": []},
    ],
}
UNHANDLED = """Traceback (most recent call last):
  File "pip-audit", line 8, in <module>
requests.exceptions.ConnectionError: HTTPSConnectionPool(host='pypi.org', port=443): Max retries exceeded
"""
BLOCKED = """ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed
ERROR:pip_audit._cli:Tip: your network may be blocking this service. Try another service with `-s SERVICE`
"""


def said(*dependencies: object) -> str:
    return json.dumps({"dependencies": dependencies, "fixes": []})


@pytest.mark.parametrize(
    ("status", "output", "error", "lint", "strict", "words"),
    [
        (0, said(SOUND), "No known vulnerabilities found", 0, 0, ["1 pinned versions, no known weakness"]),
        (
            1,
            said(SOUND, WEAK, SKIPPED),
            "Found 2 known vulnerabilities in 1 package",
            1,
            1,
            [
                "known weakness: starlette 0.40.0: PYSEC-2025-1, CVE-2025-54121; take 0.47.2",
                "known weakness: starlette 0.40.0: GHSA-xxxx; no version without it yet",
            ],
        ),
        # It ends well and says that nothing was found, though it could ask about nothing at all.
        (0, said(SKIPPED), "No known vulnerabilities found", 0, 3, ["nobody could be asked about any"]),
        (0, said(SOUND, SKIPPED), "", 0, 3, ["nobody could be asked about 1 of 2 pinned versions: torch"]),
        (1, "", UNHANDLED, 0, 3, ["warning: nobody could be asked", "Max retries exceeded"]),
        (1, "", BLOCKED, 0, 3, ["warning: nobody could be asked"]),
        (1, "", "ERROR:pip_audit._cli:requirement x is not pinned", 1, 1, ["pip-audit failed", "not pinned"]),
        (2, "", "", 1, 1, ["pip-audit failed: exit status 2"]),
    ],
)
def test_what_lint_makes_of_it(
    status: int, output: str, error: str, lint: int, strict: int, words: list[str]
) -> None:
    verdict = judge(status, output, error)
    assert (verdict.status(strict=False), verdict.status(strict=True)) == (lint, strict)
    for each in words:
        assert each in "\n".join(verdict.lines())
