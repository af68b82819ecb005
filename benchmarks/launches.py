"""How many kernels a computation launches, counted without a GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

NO_KERNEL = frozenset(
    f"aten::{name}"
    for name in ("empty", "empty_strided", "empty_like", "new_empty", "_unsafe_view")
)
"""Operators that compute nothing: they give memory, or look at it in another shape."""


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.launches: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # In inference mode operators arrive that are made of others: those are what is launched.
        with self:
            result = func.decompose(*args, **(kwargs or {}))
        if result is not NotImplemented:
            return result
        name = func._schema.name
        if not func.is_view and name not in NO_KERNEL:
            self.launches[name] += 1
        return func(*args, **(kwargs or {}))


def launches_of(work: Callable[[], object]) -> Counter[str]:
    """How often each operator is sent to the device that computes.

    One operator counts as one kernel. Views (`transpose`, `slice`, `expand` ...) and allocations
    are none. That is what a GPU launches, but for operators that it computes in several kernels:
    some matrix products are in two (split sums), a sort in several.
    """
    counter = _Counter()
    with counter:
        work()
    return counter.launches
