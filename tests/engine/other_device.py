"""A device that is not there: what an accelerator refuses is refused, and what makes the host wait is noted.

Tensors on it say that they are elsewhere and hold their values in host memory: every operation ends with the
CPU's bits. As on CUDA, tensors of two devices do not mix, but for a single number, the places of a look-up,
and copies from one to the other. It goes by the name "meta", which torch has on every machine.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

OTHER = torch.device("meta")
CPU = torch.device("cpu")
aten = torch.ops.aten
COPIES = (aten._to_copy.default, aten.copy_.default)
LOOK_UPS = (aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default)
# The host must know the outcome: it is a number, or says how many there are, or whether a matrix was regular.
WAITED_FOR = (
    aten._local_scalar_dense.default,
    aten.equal.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten._linalg_check_errors.default,
    aten._linalg_eigh.default,
)


class Far(Tensor):
    """A tensor on the other device. near: its values, in host memory."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> "Far":
        layout = {"strides": near.stride(), "storage_offset": near.storage_offset(), "dtype": near.dtype}
        made: Far = Tensor._make_wrapper_subclass(cls, near.size(), device=OTHER, **layout)  # type: ignore[attr-defined]
        made.near = near
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func}: the other device is only there within `other_device`")

    def tolist(self) -> Any:
        return self.cpu().tolist()


@dataclass
class Traffic:
    """waits: operations that the host waited for, with all that was to be done before. sent: how often
    something went to the device without a wait."""

    waits: list[str] = field(default_factory=list)
    sent: int = 0


@contextmanager
def other_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Traffic]:
    """While it is open, `OTHER` is a device like any."""
    optimizers = sys.modules[torch.optim.Optimizer.__module__]
    monkeypatch.setattr(optimizers, "_get_fused_kernels_supported_devices", lambda: [CPU.type, OTHER.type])
    traffic = Traffic()
    with _OtherDevice(traffic), _MadeInHostMemory():
        yield traffic


class _MadeInHostMemory(TorchFunctionMode):
    """`torch.tensor` makes a tensor of numbers in host memory, and then copies it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        asked = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and "device" in asked:
            return func(*args, **{**asked, "device": CPU}).to(asked["device"])
        return func(*args, **asked)


class _OtherDevice(TorchDispatchMode):
    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self._traffic = traffic

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        asked: dict[str, Any] = dict(kwargs or {})
        tensors = [one for one in tree_leaves((args, asked)) if isinstance(one, Tensor)]
        made_for = torch.device(asked["device"]) if asked.get("device") is not None else None
        if made_for != OTHER and not any(isinstance(one, Far) for one in tensors):
            return func(*args, **asked)
        if made_for is not None:
            asked["device"] = CPU
        if func in COPIES:
            stays = self._copied(func, args, asked, made_for)
        else:
            self._check(func, args, tensors)
            stays = True
        found = func(*tree_map(_near, args), **tree_map(_near, asked))
        if func._schema.is_mutable:
            return args[0] if isinstance(found, Tensor) else found
        return tree_map(_far, found) if stays else found

    def _copied(
        self, func: Any, args: Sequence[Any], asked: Mapping[str, Any], made_for: torch.device | None
    ) -> bool:
        """Whether it ends on the device."""
        if func is aten.copy_.default:
            source, target = isinstance(args[1], Far), isinstance(args[0], Far)
            waits_for_nothing = len(args) > 2 and args[2]
        else:
            source = isinstance(args[0], Far)
            target = source if made_for is None else made_for == OTHER
            waits_for_nothing = asked.get("non_blocking", False)
        if source != target and not (target and waits_for_nothing):
            self._traffic.waits.append(str(func))
        elif source != target:
            self._traffic.sent += 1
        return target

    def _check(self, func: Any, args: Sequence[Any], tensors: Sequence[Tensor]) -> None:
        """Raises what CUDA would."""
        here = [one for one in tensors if not isinstance(one, Far) and one.dim() > 0]
        if func in LOOK_UPS and isinstance(args[0], Far):
            places = [place for place in args[1] if place is not None]
            here = [one for one in here if not any(one is place for place in places)]
            if any(not isinstance(place, Far) or place.dtype == torch.bool for place in places):
                self._traffic.waits.append(str(func))
        if here and len(here) < len(tensors):
            raise RuntimeError(
                f"expected all tensors to be on the same device: {func} was given some of both"
            )
        if func in WAITED_FOR:
            self._traffic.waits.append(str(func))


def _near(value: Any) -> Any:
    return value.near if isinstance(value, Far) else value


def _far(value: Any) -> Any:
    return Far(value) if isinstance(value, Tensor) else value
