"""Values of any shape as named arrays and one text: what a state has, without pickle.

Numbers, arrays, random generators, lists, and the objects of the optimizer library that hold them
are kept bit for bit. Functions, classes and containers of other kinds are not: whoever takes a
state up has made an object of the same settings before, which has its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from craft_ray.optimizers.base import State

TEXT = "values"
"""Name of the array that holds the text."""
_LEFT_OUT = object()


def to_bytes(document: Any) -> np.ndarray[Any, Any]:
    """JSON as an array; `inf` and `nan` are numbers, and floats come back bit for bit."""
    return np.frombuffer(json.dumps(document).encode(), dtype=np.uint8)


def from_bytes(array: np.ndarray[Any, Any]) -> Any:
    """Inverse of `to_bytes`.

    Raises:
        ValueError: it is not JSON.
    """
    return json.loads(np.asarray(array, dtype=np.uint8).tobytes())


class Encoder:
    """Which objects are looked into, and what of them is passed over.

    Args:
        is_open: whether the attributes of an object are part of the state.
        passed_over: names of attributes that say nothing of the future, or only what the settings
            say.
        makers: an object by the name of its class, where one is first made during a run.
    """

    def __init__(
        self,
        is_open: Callable[[object], bool] = lambda value: False,
        passed_over: Collection[str] = (),
        makers: Mapping[str, Callable[[], object]] | None = None,
    ) -> None:
        self._is_open = is_open
        self._passed_over = passed_over
        self._makers = makers or {}

    def encode(self, values: Mapping[str, object]) -> State:
        """Arrays are copied; one that is met twice is there once, and is one again when it is read.
        What holds other things than these is left out with them, and so is an empty dictionary:
        the library's caches, which are filled anew, begin as one."""
        state: State = {}
        text = {"dict": self._encode_each(values, "", state, {})}
        return {**state, TEXT: to_bytes(text)}

    def decode(self, state: Mapping[str, Any], present: Mapping[str, object]) -> dict[str, Any]:
        """The values, with copies of the arrays. Open objects of `present` are changed and given
        back, as a whole or not at all as far as the state can be read.

        Raises:
            KeyError, TypeError, ValueError: it is not the state of such values.
        """
        arrays = {name: np.array(array) for name, array in state.items() if name != TEXT}
        decoded: dict[str, Any] = self._decode(from_bytes(state[TEXT]), dict(present), arrays)
        return decoded

    def _encode(self, value: object, path: str, state: State, names: dict[int, str]) -> Any:
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, np.ndarray | np.generic):
            name = names.get(id(value), path)
            if isinstance(value, np.ndarray):
                names[id(value)] = name
            if name not in state:
                state[name] = np.array(value)
            if isinstance(value, np.generic):
                return {"scalar": name}
            # A file has rows first; BLAS sums other layouts in another order.
            is_columns_first = value.flags.f_contiguous and not value.flags.c_contiguous
            return {"array": name, "order": "F" if is_columns_first else "C"}
        if isinstance(value, np.random.Generator):
            return {"generator": value.bit_generator.state}
        if type(value) in (list, tuple):
            assert isinstance(value, list | tuple)
            items = [
                self._encode(item, f"{path}.{place}", state, names)
                for place, item in enumerate(value)
            ]
            return _LEFT_OUT if _LEFT_OUT in items else {type(value).__name__: items}
        if type(value) is dict and value and all(isinstance(key, str) for key in value):
            return {"dict": self._encode_each(value, path, state, names)}
        if self._is_open(value):
            parts = self._encode_each(vars(value), path, state, names)
            return {"object": type(value).__name__, "parts": parts}
        return _LEFT_OUT

    def _encode_each(
        self, values: Mapping[str, object], path: str, state: State, names: dict[int, str]
    ) -> dict[str, Any]:
        parts = {
            name: self._encode(value, f"{path}.{name}" if path else name, state, names)
            for name, value in values.items()
            if name not in self._passed_over
        }
        return {name: part for name, part in parts.items() if part is not _LEFT_OUT}

    def _decode(self, text: Any, present: Any, arrays: dict[str, Any]) -> Any:
        if not isinstance(text, dict):
            return text
        if "array" in text:
            name = text["array"]
            if text["order"] == "F" and not arrays[name].flags.f_contiguous:
                arrays[name] = np.asfortranarray(arrays[name])
            return arrays[name]
        if "scalar" in text:
            return arrays[text["scalar"]][()]
        if "generator" in text:
            generator = np.random.default_rng(0)
            generator.bit_generator.state = text["generator"]
            return generator
        for kind in (list, tuple):
            if kind.__name__ in text:
                return kind(self._decode(item, None, arrays) for item in text[kind.__name__])
        if "dict" in text:
            known = present if isinstance(present, dict) else {}
            parts = text["dict"].items()
            return {name: self._decode(part, known.get(name), arrays) for name, part in parts}
        if type(present).__name__ != text["object"]:
            present = self._makers[text["object"]]()
        attributes = vars(present)
        parts = text["parts"].items()
        attributes.update(
            {name: self._decode(part, attributes.get(name), arrays) for name, part in parts}
        )
        return present
