"""Which service to speak to, and with which key: from the environment, or from a file with profiles.

    LETHE_URL, LETHE_API_KEY     the environment, both together
    LETHE_PROFILE                which profile of the file
    LETHE_CONFIG                 the file, when it is not ~/.config/lethe/config.toml

    [profiles.default]
    url = "https://lethe.example"
    api_key = "lethe_…"          or api_key_file = "/run/secrets/lethe"

An address and a key are always taken from one place, so that no key is sent to where it does not belong.
"""

import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from platformdirs import user_config_path

from lethe.errors import NotConfigured

DEFAULT_PROFILE = "default"


@dataclass(frozen=True)
class Connection:
    """`said_by`: where it was found, to tell a person who wonders."""

    url: str
    api_key: str | None = field(repr=False)
    said_by: str = "the program"

    def __post_init__(self) -> None:
        try:
            parsed = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise NotConfigured(f"The address {self.url!r}, from {self.said_by}, is not a URL.") from error
        if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
            raise NotConfigured(
                f"The address from {self.said_by} must look like https://lethe.example, without a password."
            )
        key = self.api_key
        if key is not None and not (key and key.isascii() and key.isprintable() and " " not in key):
            raise NotConfigured(f"The API key from {self.said_by} holds characters that no key has.")


def configuration_file(environment: Mapping[str, str] = os.environ) -> Path:
    if named := environment.get("LETHE_CONFIG"):
        return Path(named)
    if folder := environment.get("XDG_CONFIG_HOME"):
        return Path(folder) / "lethe" / "config.toml"
    return user_config_path("lethe") / "config.toml"


def read_connection(profile: str | None = None, environment: Mapping[str, str] = os.environ) -> Connection:
    """A profile that is asked for by name; else the environment; else the file's default profile.

    Raises `NotConfigured`.
    """
    if profile is None and (url := environment.get("LETHE_URL")):
        return Connection(url.rstrip("/"), environment.get("LETHE_API_KEY"), "LETHE_URL or LETHE_API_KEY")
    file = configuration_file(environment)
    named = profile or environment.get("LETHE_PROFILE")
    if not file.exists():
        raise NotConfigured(
            f"It is not known which service to speak to: set LETHE_URL and LETHE_API_KEY, or write {file}."
            + (f" (There is no profile {named!r} without it.)" if named else "")
        )
    return _from_profile(_profiles(file), named or DEFAULT_PROFILE, file)


def is_open_to_others(file: Path) -> bool:
    """Whether somebody else may read the file, which may hold a key."""
    return os.name == "posix" and file.exists() and bool(file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))


def _profiles(file: Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8")).get("profiles", {})
    except OSError as error:
        raise NotConfigured(f"{file} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise NotConfigured(f"{file} is not TOML: {error}.") from error
    return found if isinstance(found, dict) else {}


def _from_profile(profiles: dict[str, Any], name: str, file: Path) -> Connection:
    profile = profiles.get(name)
    if not isinstance(profile, dict):
        there = ", ".join(sorted(profiles)) or "none"
        raise NotConfigured(f"{file} has no profile {name!r}; it has {there}.")
    said_by = f"profile {name!r} of {file}"
    unknown = set(profile) - {"url", "api_key", "api_key_file"}
    if unknown or not isinstance(profile.get("url"), str):
        raise NotConfigured(
            f"The {said_by} needs a url, and may have an api_key or an api_key_file; nothing else."
        )
    key = profile.get("api_key")
    if key is None and (key_file := profile.get("api_key_file")) is not None:
        try:
            key = Path(str(key_file)).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise NotConfigured(f"The api_key_file of the {said_by} cannot be read.") from error
    return Connection(profile["url"].rstrip("/"), key, said_by)
