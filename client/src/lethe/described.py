"""Calls as methods: one list of them, from which either client makes its own."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from lethe.calls import downloading, looking, registering, requesting
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
    """Everything that a client can be asked for, but `events`."""

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
    move_alias = Described(registering.move_alias)
    download = Described(downloading.download)

    request_deletion = Described(requesting.request_deletion)
    estimate = Described(requesting.estimate)
    get_request = Described(requesting.get_request)
    list_requests = Described(requesting.list_requests)
    wait = Described(requesting.wait)
    cancel = Described(requesting.cancel)
    acknowledge = Described(requesting.acknowledge)
    extend = Described(requesting.extend)
    history = Described(requesting.history)
    certificate = Described(requesting.certificate)
    certificates = Described(requesting.certificates)
    send_instances = Described(requesting.send_instances)
    forget_instance_list = Described(requesting.forget_instance_list)

    get_job = Described(looking.get_job)
    list_jobs = Described(looking.list_jobs)
    approve = Described(looking.approve)
    reject = Described(looking.reject)
    retry = Described(looking.retry)
    look_up = Described(looking.look_up)
    signing_keys = Described(looking.signing_keys)
