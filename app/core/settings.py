"""Everything an operator can set: environment variables that begin with LETHE_, or files of those names.

The files lie in the folder that LETHE_SECRETS_FOLDER names, as orchestrators mount secrets: LETHE_SIGNING_KEY
there, in upper or lower case, holds what the variable would. A variable that is set wins.
"""

import os
from functools import lru_cache
from typing import Literal

from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from app.core.regulations import REGULATIONS, Regulation

MEBIBYTE = 1024 * 1024


class OldHashKey(BaseModel):
    id: str
    key: SecretStr = Field(min_length=64, max_length=64)


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="LETHE_", extra="ignore")

    # Where the servers are. Each process needs only the URL of its own role.
    database_url: SecretStr = Field(description="PostgreSQL as the role lethe_app: the API")
    relay_database_url: SecretStr | None = Field(None, description="PostgreSQL as lethe_relay")
    worker_database_url: SecretStr | None = Field(None, description="PostgreSQL as lethe_worker")
    owner_database_url: SecretStr | None = Field(None, description="PostgreSQL as the owner: migrations")
    broker_url: SecretStr = Field(
        description="Redis, for wake-ups and counts of calls; nothing essential lives there"
    )
    storage_url: str = Field(description="file:///folder, s3://bucket/prefix, gs://… or az://…")
    public_url: str = "http://127.0.0.1:8000"

    # Key of the instance hashes: 64 hexadecimal characters. After a rotation the keys before it stay, the
    # oldest first (JSON): a hash under the newest is one over the hash under the one before it.
    hash_key: SecretStr = Field(min_length=64, max_length=64)
    hash_key_id: str = "k1"
    old_hash_keys: list[OldHashKey] = Field(default_factory=list)

    # Encryption of artifacts at rest: on when both are set, for API, relay and workers alike.
    master_key_file: str | None = Field(
        None, description="64 hexadecimal characters a line; the first line wraps, the others still unwrap"
    )
    key_store_url: str | None = Field(
        None,
        description="Where the wrapped key of each artifact lies: no part of any backup, no old versions",
    )

    # Evidence. The key is an Ed25519 private key, 64 hexadecimal characters; only the relay needs it.
    signing_key: SecretStr | None = None
    # A P-256 private key, 64 hexadecimal characters, for OpenSSF model-signing; only workers need it.
    model_signing_key: SecretStr | None = None
    audit_checkpoint_seconds: float = Field(60.0, gt=0)

    # Webhooks. The keys, 64 hexadecimal characters each, are what every endpoint's secret is derived from;
    # only the API and the relay need them. While the previous one is set, it signs beside the present one.
    webhook_key: SecretStr | None = None
    webhook_previous_key: SecretStr | None = None
    webhook_inner_receivers: str = Field(
        "", description="Networks of the operator's own that tenants may send to: 10.1.0.0/16, 10.2.0.7:8443"
    )
    webhook_endpoints_per_tenant: int = Field(20, ge=1)
    webhook_total_seconds: float = Field(15.0, gt=0, description="How long a receiver may take to answer")
    webhook_rotation_hours: float = Field(
        24.0, ge=0, description="How long a replaced secret goes on signing beside the new one"
    )
    webhook_retention_days: float = Field(
        30.0, gt=0, description="How long deliveries, dead letters too, are kept once they have ended"
    )

    # OpenDSR: PEM files of a key (RSA or ECDSA) and of its certificate, issued to the domain by an authority.
    # Answers and callbacks are signed with it; API and relay need both.
    opendsr_key_file: str | None = None
    opendsr_certificate_file: str | None = None
    opendsr_domain: str = Field("", description="The domain of the certificate; that of public_url if empty")
    opendsr_resolver_url: str = Field(
        "", description="Asked for the instances of identities, in place of the uploaded tables"
    )
    opendsr_resolver_token: SecretStr | None = None

    # Limits on what clients send.
    max_instances_per_request: int = 100_000
    max_body_bytes: int = 32 * MEBIBYTE
    max_checkpoint_bytes: int = 64 * 1024 * MEBIBYTE
    idempotency_hours: int = 24
    instance_list_days: float = Field(
        30.0, gt=0, description="An instance list that was sent ahead is removed after so many days"
    )

    # Calls in a window that are served: per API key, reading and writing, and per address of those whose key
    # is not known yet. 0 bounds nothing. Counted in the broker's Redis, or another one's.
    rate_limit_reads: int = Field(6000, ge=0)
    rate_limit_writes: int = Field(3000, ge=0)
    rate_limit_strangers: int = Field(600, ge=0)
    rate_limit_window_seconds: int = Field(60, ge=1, le=86_400)
    rate_limit_patience_seconds: float = Field(
        0.025, gt=0, description="How long a call waits for Redis to count it, once"
    )
    rate_limit_redis_url: SecretStr | None = Field(None, description="That of the broker if there is none")

    # How much may be forgotten without a person's word: as shares of a task's supervision, since somebody
    # last approved of something and within a window; and per tenant. A model's policy may ask for
    # less, and an administrator's also for more; so may the operator for one tenant (python -m app.admin
    # set-quota). A share of 1 bounds nothing.
    approval_share: float = Field(0.5, gt=0, le=1)
    approval_window_share: float = Field(0.25, gt=0, le=1)
    approval_window_days: float = Field(30.0, gt=0)
    instances_per_day: int = Field(1_000_000, ge=0)
    approval_days: float = Field(
        30.0, gt=0, description="How long a request waits for a person's word before it fails"
    )
    approval_key_hours: float = Field(
        24.0,
        ge=0,
        description="For so long a key is the same hand as the key that made it: neither approves of what "
        "the other asked for",
    )

    # Jobs.
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="What interference_aware computes layers in, on CUDA; all else is in float32"
    )
    lease_seconds: float = Field(30.0, gt=0.3)
    max_attempts: int = Field(3, ge=1)
    sweep_seconds: float = Field(2.0, gt=0)
    snapshot_seconds: float = Field(30.0, gt=0)
    stall_seconds: float = Field(
        600.0, gt=0, description="A run that asks for no orders for so long is stuck, and its process ended"
    )
    orphan_seconds: float = Field(
        600.0, ge=0, description="How long a run which lost its job may still be writing to the storage"
    )
    upload_seconds: float = Field(
        86_400.0, ge=0, description="How long an upload of a checkpoint may take before its bytes are removed"
    )
    urgent_days: int = Field(
        7, ge=0, description="A job that is due within so many days overtakes; others take turns by tenant"
    )
    review_days: float = Field(
        30.0, gt=0, description="A candidate that nobody decides on for so long is dropped, and its job fails"
    )
    cache_folder: str = "/tmp/lethe-cache"  # noqa: S108 (downloads of remote data; owned and checked by digest)

    # By the regulation that a request names, in lower case (JSON, replaces the whole table): by when it is to
    # be acknowledged, done, and done after an extension.
    regulations: dict[str, Regulation] = REGULATIONS
    due_warning_days: float = Field(7.0, ge=0)
    acknowledge_warning_days: float = Field(2.0, ge=0)

    metrics_token: SecretStr | None = Field(
        None,
        description="What a scraper of /metrics sends as its bearer token; without one, no tenant is told of",
    )
    database_pool_size: int = 10
    statement_timeout_seconds: float = Field(
        30.0,
        gt=0,
        description="PostgreSQL ends a statement then; one that says nothing five seconds later is away",
    )
    log_level: str = "INFO"
    log_format: Literal["json", "console"] = "json"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """As pydantic-settings asks for them, the first that knows a value wins."""
        folder = os.environ.get("LETHE_SECRETS_FOLDER")
        files = (SecretsSettingsSource(settings_cls, secrets_dir=folder),) if folder else ()
        return init_settings, env_settings, *files


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
