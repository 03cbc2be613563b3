"""Calls as methods: one list of them, from which either client makes its own."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from lethe.calls import (
    auditing,
    downloading,
    jobs,
    keys,
    life,
    looking,
    opendsr,
    registering,
    requesting,
    webhooks,
)
from lethe.plan import Plan

if TYPE_CHECKING:
    from lethe.client import AsyncClient, Client

P = ParamSpec("P")
T = TypeVar("T")


class Described(Generic[P, T]):
    """A method that carries out the plan: at once in `Client`, when awaited in `AsyncClient`."""

    def __init__(self, plan: Callable[P, Plan[T]]) -> None:
        self._plan = plan
        self.__doc__ = plan.__doc__

    @overload
    def __get__(self, client: "Client", owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, client: None, owner: type) -> Callable[P, Plan[T]]: ...

    def __get__(self, client: "Client | AsyncClient | None", owner: type) -> Callable[P, Any]:
        if client is None:
            return self._plan

        @wraps(self._plan)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.carry_out(self._plan(*args, **kwargs))

        return method


class Calls:
    """Everything that a client can be asked for, but `events` and `job_events`."""

    register_dataset = Described(registering.register_dataset)
    get_dataset = Described(registering.get_dataset)
    list_datasets = Described(registering.list_datasets)
    wait_for_dataset = Described(registering.wait_for_dataset)
    register_model = Described(registering.register_model)
    upload_checkpoint = Described(registering.upload_checkpoint)
    get_model = Described(registering.get_model)
    list_models = Described(registering.list_models)
    wait_for_model = Described(registering.wait_for_model)
    get_version = Described(registering.get_version)
    list_versions = Described(registering.list_versions)
    signature = Described(registering.signature)
    refresh_data = Described(registering.refresh_data)
    list_aliases = Described(registering.list_aliases)
    move_alias = Described(registering.move_alias)

    download = Described(downloading.download)

    request_deletion = Described(requesting.request_deletion)
    estimate = Described(requesting.estimate)
    get_request = Described(requesting.get_request)
    list_requests = Described(requesting.list_requests)
    wait = Described(requesting.wait)
    cancel = Described(requesting.cancel)
    retry_request = Described(requesting.retry_request)
    approve_request = Described(requesting.approve_request)
    reject_request = Described(requesting.reject_request)
    acknowledge = Described(requesting.acknowledge)
    extend = Described(requesting.extend)
    history = Described(requesting.history)
    certificate = Described(requesting.certificate)
    certificates = Described(requesting.certificates)
    send_instances = Described(requesting.send_instances)
    get_instance_list = Described(requesting.get_instance_list)
    forget_instance_list = Described(requesting.forget_instance_list)

    get_job = Described(jobs.get_job)
    list_jobs = Described(jobs.list_jobs)
    approve = Described(jobs.approve)
    reject = Described(jobs.reject)
    retry = Described(jobs.retry)
    cancel_job = Described(jobs.cancel_job)
    job_history = Described(jobs.job_history)

    look_up = Described(looking.look_up)
    list_version_audits = Described(looking.list_version_audits)
    get_version_audit = Described(looking.get_version_audit)
    signing_keys = Described(looking.signing_keys)
    health = Described(looking.health)
    readiness = Described(looking.readiness)

    change_retention = Described(life.change_retention)
    release_version = Described(life.release_version)
    place_hold = Described(life.place_hold)
    list_holds = Described(life.list_holds)
    lift_hold = Described(life.lift_hold)
    destroy_model = Described(life.destroy_model)

    list_audit_entries = Described(auditing.list_audit_entries)
    audit_checkpoint = Described(auditing.audit_checkpoint)
    export_audit = Described(auditing.export_audit)

    create_key = Described(keys.create_key)
    list_keys = Described(keys.list_keys)
    rotate_key = Described(keys.rotate_key)
    revoke_key = Described(keys.revoke_key)

    create_webhook = Described(webhooks.create_webhook)
    list_webhooks = Described(webhooks.list_webhooks)
    get_webhook = Described(webhooks.get_webhook)
    change_webhook = Described(webhooks.change_webhook)
    delete_webhook = Described(webhooks.delete_webhook)
    rotate_webhook_secret = Described(webhooks.rotate_webhook_secret)
    ping_webhook = Described(webhooks.ping_webhook)
    list_deliveries = Described(webhooks.list_deliveries)
    resend_delivery = Described(webhooks.resend_delivery)
    resend_dead_letters = Described(webhooks.resend_dead_letters)

    opendsr_discovery = Described(opendsr.opendsr_discovery)
    opendsr_certificate = Described(opendsr.opendsr_certificate)
    send_opendsr_request = Described(opendsr.send_opendsr_request)
    get_opendsr_request = Described(opendsr.get_opendsr_request)
    cancel_opendsr_request = Described(opendsr.cancel_opendsr_request)
    advance_opendsr_stub = Described(opendsr.advance_opendsr_stub)
    add_identities = Described(opendsr.add_identities)
    remove_identities = Described(opendsr.remove_identities)
