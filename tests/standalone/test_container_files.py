"""The container files agree with each other and with the tree, and hold no secret (no engine needed)."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.backup.dumping import find_program
from app.core.settings import Settings
from app.core.storage import open_storage

ROOT = Path(__file__).parents[2]
SECRETS = {
    "LETHE_OWNER_PASSWORD",
    "LETHE_APP_PASSWORD",
    "LETHE_RELAY_PASSWORD",
    "LETHE_WORKER_PASSWORD",
    "LETHE_REDIS_PASSWORD",
    "LETHE_HASH_KEY",
    "LETHE_MODEL_SIGNING_KEY",
    "LETHE_SIGNING_KEY",
}


@pytest.fixture
def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text()


@pytest.fixture
def compose() -> str:
    return (ROOT / "docker-compose.yml").read_text()


@pytest.fixture
def services(compose: str) -> dict[str, Any]:
    return dict(yaml.safe_load(compose)["services"])


def test_what_is_copied_exists_and_is_not_ignored(dockerfile: str) -> None:
    copied = [each for line in re.findall(r"^COPY (.+)$", dockerfile, re.M) for each in line.split()[:-1]]
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.M)
    assert copied
    for path in copied:
        assert (ROOT / path).exists()
        assert path.split("/")[0] in allowed


def test_both_images_drop_root_and_have_a_health_check(dockerfile: str) -> None:
    _, *targets = re.split(r"^FROM base AS ", dockerfile, flags=re.M)
    assert [target.split()[0] for target in targets] == ["api", "worker"]
    for target in targets:
        assert "\nUSER 10001:10001\n" in target
        assert "\nHEALTHCHECK " in target
        assert re.search(r'^CMD \["', target, re.M)


def test_backups_have_programs_of_the_servers_version_and_run_only_when_asked_for(
    dockerfile: str, services: dict[str, Any]
) -> None:
    """pg_dump refuses a server of a newer major version than its own."""
    assert services["backup"]["profiles"] == ["backup"]
    assert "lethe_owner" in services["backup"]["environment"]["LETHE_OWNER_DATABASE_URL"]
    assert "install --constraint constraints.txt '.[backup]'" in dockerfile
    found = find_program("pg_dump", None)
    assert found is not None
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    server = services["postgres"]["image"].removeprefix("postgres:")
    assert re.search(rf"\(PostgreSQL\) {server}\.", version)


def test_every_secret_must_be_set_and_none_has_a_default(compose: str) -> None:
    assert set(re.findall(r"\$\{(\w+):\?", compose)) == SECRETS
    assert not SECRETS & set(re.findall(r"\$\{(\w+)(?::-|\})", compose))


def test_the_example_lists_every_variable_and_no_secret(compose: str) -> None:
    example = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.M))
    assert set(example) == set(re.findall(r"\$\{(LETHE_\w+)", compose))
    assert not any(example[name] for name in SECRETS)


def test_each_process_gets_the_database_url_of_its_own_role_only(services: dict[str, Any]) -> None:
    roles = {
        name: {
            role
            for role in ("lethe_owner", "lethe_app", "lethe_relay", "lethe_worker")
            if f"//{role}:" in str(service["environment"])
        }
        for name, service in services.items()
    }
    assert roles["api"] == {"lethe_app"}
    assert roles["relay"] == {"lethe_app", "lethe_relay"}
    assert roles["worker"] == {"lethe_app", "lethe_worker"}


@pytest.mark.parametrize(
    ("key", "signs"), [("LETHE_SIGNING_KEY", "relay"), ("LETHE_MODEL_SIGNING_KEY", "worker")]
)
def test_each_key_to_sign_with_is_where_it_is_needed(services: dict[str, Any], key: str, signs: str) -> None:
    assert [name for name, each in services.items() if f"{{{key}:" in str(each)] == [signs]


def test_what_is_encrypted_can_be_read_by_all_who_read_and_no_backup_takes_its_keys(
    compose: str, services: dict[str, Any], dockerfile: str
) -> None:
    """The key store is a volume of its own, whose owner is the images'; the master keys are only read."""
    readers = ("api", "relay", "worker", "backup")
    for name, service in services.items():
        mounts = dict(str(each).rsplit(":", 1) if each.endswith(":ro") else (each, "rw")
                      for each in service.get("volumes", []))  # fmt: skip
        sees_keys = "keys:/var/lib/lethe/keys" in mounts
        sees_master = mounts.get("${LETHE_MASTER_KEY_FOLDER:-./var/master}:/master") == "ro"
        assert (sees_keys, sees_master) == (name in readers, name in readers), name
        given = service["environment"]
        assert ("LETHE_KEY_STORE_URL" in given and "LETHE_MASTER_KEY_FILE" in given) == (name in readers)
    assert "keys" in yaml.safe_load(compose)["volumes"]
    assert "/var/lib/lethe/keys" in dockerfile


def test_encryption_is_off_as_the_example_leaves_it_and_on_as_it_says(tmp_path: Path) -> None:
    text = (ROOT / ".env.example").read_text()
    plain = {"database_url": "x", "broker_url": "x", "hash_key": "0" * 64}
    plain |= {"storage_url": f"file://{tmp_path}/storage"}
    empty = dict(re.findall(r"^LETHE_(MASTER_KEY_FILE|KEY_STORE_URL)=(.*)$", text, re.M))
    off = open_storage(Settings(**plain | {name.lower(): value for name, value in empty.items()}))
    assert off.keys is None
    said = dict(re.findall(r"^#   LETHE_(MASTER_KEY_FILE|KEY_STORE_URL)=(\S+)", text, re.M))
    assert said == {"MASTER_KEY_FILE": "/master/keys", "KEY_STORE_URL": "file:///var/lib/lethe/keys"}
    (tmp_path / "keys").write_text("ab" * 32)
    here = {"master_key_file": f"{tmp_path}/keys", "key_store_url": f"file://{tmp_path}/store"}
    assert open_storage(Settings(**plain | here)).keys is not None


def test_only_the_api_is_published_and_only_on_loopback(services: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:${LETHE_PORT:-8000}:8000"]}


def test_what_an_operator_may_want_to_change_reaches_every_process(services: dict[str, Any]) -> None:
    names = {
        "LETHE_REGULATIONS",
        "LETHE_REVIEW_DAYS",
        "LETHE_STALL_SECONDS",
        "LETHE_URGENT_DAYS",
        "LETHE_AUDIT_CHECKPOINT_SECONDS",
        "LETHE_DUE_WARNING_DAYS",
        "LETHE_ACKNOWLEDGE_WARNING_DAYS",
    }
    for service in ("api", "relay", "worker"):
        given = services[service]["environment"]
        assert names <= set(given)
        assert given["LETHE_REGULATIONS"] is None  # as the environment has it, or not at all
        for name in names - {"LETHE_REGULATIONS"}:
            default = Settings.model_fields[name.removeprefix("LETHE_").lower()].default
            assert given[name] == f"${{{name}:-{default:g}}}"
