"""The secrets of an embedded deployment, made on its first start and kept in its folder."""

import json
import secrets
from dataclasses import asdict, dataclass
from typing import Self

from app.standalone.data_folder import DataFolder, write_privately
from app.standalone.refusals import StandaloneError

_ADDED_SINCE = ("model_signing_key", "signing_key", "webhook_key", "relay_password")


@dataclass(frozen=True)
class Keys:
    hash_key: str
    """64 hexadecimal characters: the key of the instance hashes. Without it the ledger of what was forgotten
    can't be read any more."""
    hash_key_id: str
    owner_password: str
    app_password: str
    relay_password: str
    worker_password: str
    model_signing_key: str
    """64 hexadecimal characters: the private key (P-256) that workers sign checkpoints with."""
    signing_key: str
    """64 hexadecimal characters: the private key (Ed25519) that the relay signs certificates with. When it is
    replaced, what it signed can still be checked: its public half is kept."""
    webhook_key: str
    """64 hexadecimal characters: what the secrets of webhooks are derived from."""

    @classmethod
    def kept_in(cls, folder: DataFolder) -> Self:
        """The keys of the folder; new ones when it has no database yet."""
        if folder.keys.exists():
            try:
                return cls._read(folder)
            except (OSError, ValueError, TypeError) as error:
                raise StandaloneError(
                    f"The keys in {folder.keys} can't be read: put the file back from a backup."
                ) from error
        if (folder.postgres / "cluster").exists():
            raise StandaloneError(
                f"There is a database in {folder.postgres} but not its keys, {folder.keys}: "
                "put the file back from a backup, or start with an empty folder."
            )
        keys = cls(
            hash_key=secrets.token_hex(32),
            hash_key_id=f"embedded-{secrets.token_hex(4)}",
            owner_password=secrets.token_urlsafe(32),
            app_password=secrets.token_urlsafe(32),
            relay_password=secrets.token_urlsafe(32),
            worker_password=secrets.token_urlsafe(32),
            model_signing_key=secrets.token_hex(32),
            signing_key=secrets.token_hex(32),
            webhook_key=secrets.token_hex(32),
        )
        write_privately(folder.keys, json.dumps(asdict(keys), indent=2))
        return keys

    @classmethod
    def _read(cls, folder: DataFolder) -> Self:
        """A folder from before anything was signed, or sent to webhooks, or the relay had a role of its own,
        gets what is missing."""
        kept = json.loads(folder.keys.read_text())
        made = {name: secrets.token_hex(32) for name in _ADDED_SINCE}
        keys = cls(**(made | kept))
        if asdict(keys) != kept:
            write_privately(folder.keys, json.dumps(asdict(keys), indent=2))
        return keys
