"""In-toto bundles: one signed statement per line, in any order (in-toto attestation, spec/v1/bundle.md).

A bundle is not signed as a whole. That of a request on a data set has a statement that names the parts of the
request and the digest of each one's certificate: what is missing, or was put in, is seen by it. Stricter than
the framework wants of its consumers: every line has to be one that the service signed.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from securesystemslib.signer import SSlibKey

from lethe.envelope import Statement, open_envelope
from lethe.findings import Findings, NotVerified

PARTS = "urn:lethe:statement:parts:v1"
UNLEARNING = "urn:lethe:statement:unlearning:v1"
DISPOSAL = "urn:lethe:statement:disposal:v1"


def is_bundle(file: Path, content: bytes) -> bool:
    """By its name or its lines: a certificate in canonical JSON has no line break in it, nor after it."""
    return file.suffix == ".jsonl" or b"\n" in content[:-1]


def open_bundle(content: bytes, keys: list[SSlibKey]) -> dict[int, Statement]:
    """The statements by the number of their line. Raises `NotVerified`: of a line, or of what is missing."""
    if not content.endswith(b"\n"):
        raise NotVerified("The bundle does not end with a line break: its end was cut off.")
    lines = content[:-1].split(b"\n")
    if len(set(lines)) < len(lines):
        raise NotVerified("A line of the bundle is in it twice: it was changed.")
    opened = {number: _open(line, keys, number) for number, line in enumerate(lines, 1)}
    digests = {number: hashlib.sha256(line).hexdigest() for number, line in enumerate(lines, 1)}
    stated = [number for number, statement in opened.items() if statement.type == PARTS]
    if len(stated) > 1:
        raise NotVerified("The bundle states the parts of a request more than once: it was changed.")
    if stated:
        _compare_parts(opened, digests, stated[0])
    elif len({statement.predicate["request"]["id"] for statement in opened.values()}) > 1:
        raise NotVerified(
            "The bundle has certificates of several requests, and no statement that names them as the parts "
            "of one: it was left out."
        )
    return opened


def tell_parts(statement: Statement, findings: Findings, where: str) -> None:
    """What the service states of a request on a data set."""
    predicate = statement.predicate
    request, parts = predicate["request"], predicate["parts"]
    named = f"Request {request['id']}" + (f" ({request['reference']})" if request.get("reference") else "")
    done = [part for part in parts if part["certificate"] is not None]
    findings.stated.append(
        f"{where}{named} of {request['received_at']} named "
        f"{request['instances']['count']} instances of the data set {predicate['dataset']['name']}, and has "
        f"{len(parts)} parts, one per model."
    )
    findings.proven += [
        f"{where}The certificate of each of the {len(done)} parts that were carried out is here.",
    ]
    findings.not_proven += [
        f"That anything was forgotten by the model {part['model']}: part {part['request']} is "
        f"{part['status']}."
        for part in parts
        if part["certificate"] is None
    ]
    findings.not_proven += [str(sentence) for sentence in predicate["does_not_prove"]]


def _open(line: bytes, keys: list[SSlibKey], number: int) -> Statement:
    what = f"Line {number} of the bundle"
    statement = open_envelope(line, keys, what)
    if statement.type not in (PARTS, UNLEARNING, DISPOSAL):
        raise NotVerified(f"{what} is no deletion certificate but a statement of type {statement.type}.")
    return statement


def _compare_parts(opened: Mapping[int, Statement], digests: Mapping[int, str], stated: int) -> None:
    parts: list[dict[str, Any]] = opened[stated].predicate["parts"]
    here = {digests[number] for number, statement in opened.items() if statement.type == UNLEARNING}
    certified = {part["certificate"]: part for part in parts if part["certificate"] is not None}
    for digest, part in certified.items():
        if digest not in here:
            raise NotVerified(
                f"The bundle lacks the certificate of part {part['request']} (model {part['model']}), which "
                f"the statement in line {stated} names."
            )
    ids = {part["request"] for part in certified.values()}
    for number, statement in opened.items():
        belongs = number == stated or statement.predicate["request"]["id"] in ids
        if not belongs or (statement.type == UNLEARNING and digests[number] not in certified):
            raise NotVerified(
                f"Line {number} of the bundle is no part of the request that line {stated} names: it was put "
                "in."
            )
