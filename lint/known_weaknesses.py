"""`python -m lint.known_weaknesses`: is any pinned version known to be weak?

pip-audit asks PyPI's advisories, and says that nothing was found also of what it could not ask about. So its
JSON is read here. Exit status: 0 nothing is known, or nobody could be asked (a warning says so: work without
a network stays possible); 1 a weakness is known, or pip-audit cannot be used as it is; with --strict, 3 when
nobody could be asked about any part of it.
"""

import argparse
import json
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PIP_AUDIT = "pip-audit==2.10.1"
SECONDS = 300
# A weakness that has no better version yet and does not reach us: its id, and why that is so.
ACCEPTED: dict[str, str] = {}
# How pip-audit ends when the service is out of reach: its own sentences, and what its libraries raise.
_OUT_OF_REACH = (
    "your network may be blocking",
    "Could not connect",
    "is not redirecting properly",
    "requests.exceptions.",
    "ServiceError",
    "urllib3.exceptions.",
)


@dataclass
class Verdict:
    """`unasked`: what nobody could be asked about; `broken`: why pip-audit cannot be used as it is."""

    weak: list[str] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)
    asked: int = 0
    out_of_reach: str = ""
    broken: str = ""

    def status(self, strict: bool) -> int:
        if self.weak or self.broken:
            return 1
        return 3 if strict and (self.out_of_reach or self.unasked) else 0

    def lines(self) -> list[str]:
        told = [f"known weakness: {each}" for each in self.weak]
        if self.broken:
            told.append(f"pip-audit failed: {self.broken}")
        if self.out_of_reach:
            told.append(
                "warning: nobody could be asked about known weaknesses; ask again with a network: make audit "
                f"({self.out_of_reach})"
            )
        elif self.unasked:
            which = "any pinned version"
            if self.asked:
                which = f"{len(self.unasked)} of {len(self.unasked) + self.asked} pinned versions"
            some = ", ".join(self.unasked[:5]) + (", …" if len(self.unasked) > 5 else "")
            told.append(f"warning: nobody could be asked about {which}: {some}")
        if not told:
            told.append(f"{self.asked} pinned versions, no known weakness")
        return told


def judge(status: int, output: str, said: str) -> Verdict:
    """What pip-audit's exit status, its JSON and its standard error mean."""
    try:
        dependencies = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = said.strip().splitlines()[-1] if said.strip() else f"exit status {status}, without a word"
        if any(sign in said for sign in _OUT_OF_REACH):
            return Verdict(out_of_reach=last)
        return Verdict(broken=last)
    verdict = Verdict()
    for each in dependencies:
        if "skip_reason" in each:
            verdict.unasked.append(each["name"])
            continue
        verdict.asked += 1
        verdict.weak += [_line(each, found) for found in each["vulns"] if not _is_accepted(found)]
    return verdict


def _line(dependency: dict[str, Any], found: dict[str, Any]) -> str:
    names = ", ".join([found["id"], *found.get("aliases", [])])
    better = ", ".join(found["fix_versions"])
    cure = f"take {better}" if better else "no version without it yet"
    return f"{dependency['name']} {dependency['version']}: {names}; {cure}"


def _is_accepted(found: dict[str, Any]) -> bool:
    return any(name in ACCEPTED for name in (found["id"], *found.get("aliases", [])))


def ask(environment: Path, constraints: Path) -> Verdict:
    """Runs pip-audit from an environment of its own, which is made on first use."""
    program, made_before = environment / "bin" / "pip-audit", environment / f"{PIP_AUDIT}.installed"
    try:
        if not made_before.exists():
            venv.create(environment, with_pip=True)
            command = [str(environment / "bin" / "pip"), "install", "--quiet", PIP_AUDIT]
            made = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
            if made.returncode:
                return Verdict(out_of_reach=f"{PIP_AUDIT} could not be installed")
            made_before.touch()
        options = ["--no-deps", "--disable-pip", "--format", "json", "--aliases", "on", "--desc", "off"]
        done = subprocess.run(
            [str(program), "--requirement", str(constraints), "--progress-spinner", "off", *options],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Verdict(out_of_reach=f"no answer within {SECONDS} seconds")
    return judge(done.returncode, done.stdout, done.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environment", type=Path, default=Path(".venv-audit"))
    parser.add_argument("--constraints", type=Path, default=Path("constraints.txt"))
    parser.add_argument("--strict", action="store_true", help="fail when nobody could be asked")
    arguments = parser.parse_args()
    verdict = ask(arguments.environment, arguments.constraints)
    status = verdict.status(arguments.strict)
    print("\n".join(verdict.lines()), file=sys.stderr if status else sys.stdout)
    return status


if __name__ == "__main__":
    sys.exit(main())
