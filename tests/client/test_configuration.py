"""One place says where the service is and with which key; no key goes to another's address."""

from pathlib import Path

import pytest

from lethe.configuration import is_open_to_others, read_connection
from lethe.errors import NotConfigured

FILE = """
[profiles.default]
url = "https://one.example/"
api_key = "lethe_one"
[profiles.staging]
url = "https://two.example"
api_key_file = "{folder}/key"
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "lethe" / "config.toml"
    file.parent.mkdir()
    file.write_text(FILE.format(folder=tmp_path))
    (tmp_path / "key").write_text("lethe_two\n")
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def test_environment_file_and_profile(environment: dict[str, str]) -> None:
    def found(profile: str | None = None, **more: str) -> tuple[str, str | None]:
        connection = read_connection(profile, environment | more)
        assert "lethe_" not in repr(connection)
        return connection.url, connection.api_key

    assert found() == ("https://one.example", "lethe_one")
    assert found("staging") == ("https://two.example", "lethe_two")
    assert found(LETHE_PROFILE="staging") == ("https://two.example", "lethe_two")
    assert found(LETHE_URL="https://x.example", LETHE_API_KEY="k") == ("https://x.example", "k")
    assert found(LETHE_URL="https://x.example") == ("https://x.example", None)
    assert found("staging", LETHE_URL="https://x.example", LETHE_API_KEY="k")[0] == "https://two.example"
    assert found(LETHE_API_KEY="k") == ("https://one.example", "lethe_one")


@pytest.mark.parametrize(
    ("content", "profile", "says"),
    [
        (None, None, "set LETHE_URL and LETHE_API_KEY"),
        ("[profiles", None, "is not TOML"),
        ("profiles = 3", None, "has no profile 'default'"),
        (FILE, "prod", "has no profile 'prod'; it has default, staging"),
        ("[profiles.default]\napi_key = 'k'", None, "needs a url"),
        ("[profiles.default]\nurl = 'https://x'\nkey = 'k'", None, "nothing else"),
        ("[profiles.default]\nurl = 'x.example'", None, "must look like https"),
        ("[profiles.default]\nurl = 'https://u:secret@x'", None, "without a password"),
        ("[profiles.default]\nurl = 'https://x'\napi_key_file = '/nowhere'", None, "cannot be read"),
        ("[profiles.default]\nurl = 'https://x'\napi_key = 'a b'", None, "no key has"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: str | None, profile: str | None, says: str) -> None:
    file = tmp_path / "config.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(NotConfigured, match=says) as raised:
        read_connection(profile, {"LETHE_CONFIG": str(file)})
    assert "secret" not in str(raised.value)


def test_whether_others_may_read_it(environment: dict[str, str]) -> None:
    file = Path(environment["XDG_CONFIG_HOME"]) / "lethe" / "config.toml"
    file.chmod(0o640)
    assert is_open_to_others(file)
    file.chmod(0o600)
    assert not is_open_to_others(file)
