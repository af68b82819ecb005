"""An adapter by its name, with its settings."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from craft_ray.config.problems import describe_problems
from craft_ray.errors import OracleError
from craft_ray.oracle.endpoints.adapter import Adapter
from craft_ray.oracle.endpoints.capabilities import Capabilities
from craft_ray.oracle.endpoints.cohere_v2 import CohereV2
from craft_ray.oracle.endpoints.hf_zero_shot import HFZeroShot
from craft_ray.oracle.endpoints.kserve_v2 import KServeV2
from craft_ray.oracle.endpoints.openai_embeddings import OpenAIEmbeddings

ADAPTERS: Mapping[str, tuple[Callable[..., Adapter], Mapping[str, str]]] = {
    "infinity": (OpenAIEmbeddings, {"dialect": "infinity"}),
    "vllm": (OpenAIEmbeddings, {"dialect": "vllm"}),
    "nim": (OpenAIEmbeddings, {"dialect": "nim"}),
    "jina": (OpenAIEmbeddings, {"dialect": "jina"}),
    "hf_zero_shot": (HFZeroShot, {}),
    "hf_sagemaker": (HFZeroShot, {"wrapper": "sagemaker"}),
    "hf_vertex": (HFZeroShot, {"wrapper": "vertex"}),
    "cohere_v2": (CohereV2, {"dialect": "cohere"}),
    "vllm_cohere_v2": (CohereV2, {"dialect": "vllm"}),
    "kserve_v2": (KServeV2, {}),
}
"""What is made for each name of a dialect, and with which settings beside the user's."""

_METHODS = ("capabilities", "encode", "decode", "classify")


def make_adapter(dialect: str, options: Mapping[str, Any]) -> Adapter:
    """The adapter of a dialect; loads a user's module where the name is `my.module:Adapter`.

    Args:
        dialect: a name of `ADAPTERS`, or module and class.
        options: for the adapter's class, by name.

    Raises:
        OracleError: an unknown dialect or option; a module or class that is not there, cannot be
            made, or is no adapter.
    """
    if ":" in dialect:
        return _users_own(dialect, options)
    if dialect not in ADAPTERS:
        raise OracleError(
            f"oracle.dialect: must be one of {', '.join(ADAPTERS)}, or my.module:Adapter, but got "
            f"{dialect!r}"
        )
    make, fixed = ADAPTERS[dialect]
    return _made(dialect, make, {**fixed, **options})


def _users_own(place: str, options: Mapping[str, Any]) -> Adapter:
    module_name, _, class_name = place.partition(":")
    try:
        make = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        is_found = not isinstance(error, ModuleNotFoundError)
        remedy = "" if is_found else "; PYTHONPATH=. before the command finds what lies here"
        raise OracleError(
            f"oracle.dialect: must be a module and a class in it that can be imported "
            f"(my.module:Adapter), but {place!r} cannot: {error}{remedy}"
        ) from error
    adapter = _made(place, make, options)
    missing = [name for name in _METHODS if not callable(getattr(adapter, name, None))]
    if missing:
        raise OracleError(
            f"oracle.dialect: an adapter must have the methods {', '.join(_METHODS)}, but "
            f"{place} has no {', '.join(missing)}"
        )
    declared = adapter.capabilities()
    if not isinstance(declared, Capabilities):
        raise OracleError(
            f"oracle.dialect: {place}.capabilities() must return Capabilities, but returned "
            f"{type(declared).__name__}"
        )
    return adapter


def _made(name: str, make: Callable[..., Adapter], options: Mapping[str, Any]) -> Adapter:
    try:
        adapter = make(**options)
        if is_dataclass(make):  # its fields say of which types the options are
            adapter = TypeAdapter(make).validate_python(dict(options))
        return adapter
    except ValidationError as error:
        problems = "; ".join(describe_problems(error))
        raise OracleError(f"oracle.options: do not fit {name}: {problems}") from error
    except TypeError as error:
        raise OracleError(f"oracle.options: do not fit {name}: {error}") from error
