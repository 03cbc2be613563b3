"""Deletion certificates: one signed statement, or all that were signed of a request (see `bundle`)."""

import hashlib
from pathlib import Path
from typing import Any

from securesystemslib.signer import SSlibKey

from lethe.bundle import DISPOSAL, PARTS, UNLEARNING, is_bundle, open_bundle, tell_parts
from lethe.canonical import canonical, parse
from lethe.envelope import Statement, open_envelope
from lethe.findings import Findings, NotVerified

WHAT = "The certificate"


def verify_certificate(file: Path, keys: list[SSlibKey], checkpoint: Path | None = None) -> Findings:
    """Raises `NotVerified`. `checkpoint`: a model's weights, to be the very ones that are certified."""
    content = file.read_bytes()
    findings = Findings(f"{file.name}: verified.")
    if is_bundle(file, content):
        opened = open_bundle(content, keys)
        for number, statement in sorted(opened.items()):
            _tell(statement, findings, f"Line {number}: ")
        statements = list(opened.values())
        findings.not_proven += _of_one_part(statements)
    else:
        statements = _statements(content, keys)
        for statement in statements:
            _tell(statement, findings, "")
    if checkpoint is not None:
        findings.proven.append(_compare(checkpoint, statements))
    elif any(statement.type == UNLEARNING for statement in statements):
        findings.not_proven.insert(
            0, "That the weights in use are the certified ones: compare a file with --checkpoint."
        )
    findings.not_proven += [
        "That the service did what it states: a signature shows who says so, and that nothing was changed.",
        "That the key belongs to the service: compare its id with one that you know from elsewhere.",
    ]
    if _is_document(content):
        findings.not_proven.append("That the bundle is complete: fetch the request's certificates as lines.")
    findings.not_proven = list(dict.fromkeys(findings.not_proven))
    return findings


def _is_document(content: bytes) -> bool:
    """The certificates of a request on a data set in one document, which nothing binds together."""
    return content.startswith(b'{"certificates":')


def _of_one_part(statements: list[Statement]) -> list[str]:
    parents = {statement.predicate["request"].get("parent") for statement in statements} - {None}
    if not parents or any(statement.type == PARTS for statement in statements):
        return []
    return [
        f"Anything about the other parts of request {parents.pop()}: this is the certificate of one of them."
    ]


def _statements(content: bytes, keys: list[SSlibKey]) -> list[Statement]:
    if not _is_document(content):
        return [_statement(content, keys, WHAT)]
    bundle = parse(content, "The bundle")
    if set(bundle) != {"certificates", "request"} or not isinstance(bundle["certificates"], list):
        raise NotVerified("The bundle has parts that no bundle of the service has: it was changed.")
    opened = [
        _statement(canonical(member), keys, f"Certificate {number} of the bundle")
        for number, member in enumerate(bundle["certificates"], 1)
    ]
    if not opened:
        raise NotVerified("The bundle is empty.")
    if any(statement.predicate["request"].get("parent") != bundle["request"] for statement in opened):
        raise NotVerified("A certificate in the bundle belongs to another request.")
    return opened


def _statement(content: bytes, keys: list[SSlibKey], what: str) -> Statement:
    statement = open_envelope(content, keys, what)
    if statement.type not in (UNLEARNING, DISPOSAL):
        raise NotVerified(f"{what} is no deletion certificate but a statement of type {statement.type}.")
    return statement


def _tell(statement: Statement, findings: Findings, where: str) -> None:
    predicate = statement.predicate
    findings.proven.append(
        f"{where}Not a byte was changed since it was signed, with the key {statement.key_id}, at "
        f"{predicate['issued_at']} by the service's clock."
    )
    if statement.type == PARTS:
        tell_parts(statement, findings, where)
        return
    tell = _unlearning if statement.type == UNLEARNING else _disposal
    findings.stated += [f"{where}{_capital(sentence)}" for sentence in tell(predicate, statement.subjects)]
    findings.not_proven += [str(sentence) for sentence in predicate["does_not_prove"]]
    findings.not_proven += [
        f"That a bound of the policy was kept: {says}" for says in _gates(predicate, "not_measured")
    ]


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _unlearning(predicate: dict[str, Any], subjects: dict[str, str]) -> list[str]:
    request, result = predicate["request"], predicate["result"]
    named = f"request {request['id']}" + (f" ({request['reference']})" if request.get("reference") else "")
    sentences = [
        f"{named} of {request['received_at']} named {request['instances']['count']} instances, as keyed "
        f"hashes, for the tasks {', '.join(request['tasks'])} of the model {predicate['model']['name']}.",
    ]
    if predicate["outcome"] == "nothing_left":
        sentences.append(
            f"nothing of that was left to forget in version {result['version']} ({result['digest']})."
        )
    else:
        done = {
            "exact": "was trained anew without that supervision",
            "empirical": "was unlearned from the version before, and measured",
        }[predicate["guarantee"]]
        sentences.append(
            f"version {result['version']} ({result['digest']}) {done}; method {predicate['method']}, "
            f"guarantee {predicate['guarantee']}."
        )
        sentences += _figures(predicate["measurements"]["tasks"], request["tasks"])
        sentences += [f"bound of the policy: {says}" for says in _gates(predicate, "decided")]
        sentences += _decision(predicate)
    return sentences


def _gates(predicate: dict[str, Any], which: str) -> list[str]:
    """What was decided about the policy's bounds, or what could not be measured."""
    return [str(entry["says"]) for entry in (predicate.get("gates") or {}).get(which, [])]


def _decision(predicate: dict[str, Any]) -> list[str]:
    """Who let a version through that missed a bound."""
    decision = (predicate.get("gates") or {}).get("decision")
    if not decision:
        return []
    return [
        f"not every bound was kept; {decision['by']} approved the version at {decision['at']}, because: "
        f"{decision['reason']}"
    ]


def _figures(tasks: dict[str, Any], named: list[str]) -> list[str]:
    """The metric on the forgotten supervision beside the holdout's, per named task."""
    told = []
    for task in named:
        metric, forget, holdout = (tasks[task][part] for part in ("metric", "forget", "holdout"))
        if forget and holdout and forget["after"] and holdout["after"]:
            told.append(
                f"task {task}, {metric} on the forgotten supervision {_figure(forget['before'])} before and "
                f"{_figure(forget['after'])} after; on data never seen {_figure(holdout['after'])}."
            )
    return told


def _figure(estimate: dict[str, Any]) -> str:
    return f"{estimate['value']:.1f} (95 %: {estimate['low']:.1f} to {estimate['high']:.1f})"


def _disposal(predicate: dict[str, Any], subjects: dict[str, str]) -> list[str]:
    numbers = [str(version["version"]) for version in predicate["disposed"]]
    erased = str(predicate["method"]).startswith("cryptographically erased")
    how = "cryptographically erased" if erased else "deleted from its storage"
    which = f"version {numbers[0]}" if len(numbers) == 1 else f"versions {', '.join(numbers)}"
    return [
        f"what remembered what request {predicate['request']['id']} had forgotten, {which} of the model "
        f"{predicate['model']['name']}, {'is' if len(numbers) == 1 else 'are'} {how}."
    ]


def _compare(checkpoint: Path, statements: list[Statement]) -> str:
    with checkpoint.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    for statement in statements:
        if statement.type == UNLEARNING and digest in statement.subjects.values():
            return f"{checkpoint.name} is the certified checkpoint: its SHA-256 is {digest}."
    certified = [each for statement in statements for each in statement.subjects.values()]
    raise NotVerified(
        f"{checkpoint.name} is not the certified checkpoint: its SHA-256 is {digest}, certified is "
        f"{' or '.join(dict.fromkeys(certified))}."
    )
