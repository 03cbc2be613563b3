"""`lethe verify` and `lethe verify-audit`: exit status 0 when everything was verified, 1 when not."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lethe.audit_export import verify_audit_export
from lethe.certificate import verify_certificate
from lethe.findings import Findings, NotVerified
from lethe.keys import read_keys

KEY_HELP = (
    "public keys of the service: a PEM file, or its /.well-known/lethe-signing-keys.json; may be repeated"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Nothing is sent anywhere, and nothing is fetched."""
    given = _parser().parse_args(arguments)
    try:
        findings: Findings = given.check(given)
    except NotVerified as reason:
        print(f"NOT VERIFIED. {reason}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"NOT VERIFIED. {error.filename}: {error.strerror}.", file=sys.stderr)
        return 1
    print(findings.text())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lethe", description="Check what a Lethe service has signed.")
    commands = parser.add_subparsers(required=True, metavar="command")
    certificate = commands.add_parser("verify", help="check a deletion certificate or a bundle of them")
    certificate.add_argument("certificate", type=Path)
    certificate.add_argument("--key", type=Path, action="append", required=True, help=KEY_HELP)
    certificate.add_argument(
        "--checkpoint", type=Path, help="the model's weights, to see whether they are those certified"
    )
    certificate.set_defaults(check=_certificate)
    audit = commands.add_parser("verify-audit", help="check an export of the audit log")
    audit.add_argument("export", type=Path)
    audit.add_argument("--key", type=Path, action="append", required=True, help=KEY_HELP)
    audit.add_argument(
        "--checkpoint", type=Path, help="a checkpoint of the log that you kept, to see whether it was cut"
    )
    audit.set_defaults(check=_audit)
    return parser


def _certificate(given: argparse.Namespace) -> Findings:
    return verify_certificate(given.certificate, read_keys(given.key), given.checkpoint)


def _audit(given: argparse.Namespace) -> Findings:
    return verify_audit_export(given.export, read_keys(given.key), given.checkpoint)
