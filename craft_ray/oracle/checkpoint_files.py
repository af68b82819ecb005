"""Weights in files as people have them, read without executing anything that is in them."""

from __future__ import annotations

import argparse
import codecs
import json
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path, PosixPath, PurePosixPath
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from craft_ray.oracle.checkpoint_names import CheckpointError, bare_names, weights_within

ALONE = "save the state dict alone: torch.save(model.state_dict(), 'weights.pt')"
READ_BESIDE: list[Any] = [
    np.dtype,
    np.ndarray,
    *{type(np.dtype(code)) for code in "?bBhHiIlLqQefd"},
    codecs.encode,
    argparse.Namespace,
    PosixPath,
    OrderedDict,
    *(
        (function, f"numpy.{core}.multiarray.{name}")
        for name, function in {
            "scalar": np.float64(0).__reduce__()[0],
            "_reconstruct": np.zeros(1).__reduce__()[0],
        }.items()
        for core in ("core", "_core")  # before numpy 2, and since
    ),
]
"""What programs save beside weights and is no more than values: numpy's numbers (a loss, a random
state) and the options of the command line."""


def read_weights(path: Path) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """The weights of a file, or of the parts that an index names; and sentences of what a user
    should know of it.

    Raises:
        CheckpointError: it holds no weights, or not only such as can be read safely, or several
            models.
        OSError, ValueError, RuntimeError: it is broken.
    """
    weights, keys = weights_within(_document(path), lambda value: isinstance(value, torch.Tensor))
    bare, notes = bare_names(weights)
    averaged = [key for key in keys if "ema" in key]
    if averaged:
        notes = (f"Weights: the moving average that stands under {averaged[0]}.", *notes)
    return bare, notes


def _document(path: Path) -> Any:
    if path.name.endswith(".index.json"):
        return _parts(path)
    if path.suffix == ".safetensors":
        return load_file(path)
    if _is_torchscript(path):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch.jit is deprecated, files remain
            return torch.jit.load(path, map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
    try:
        with torch.serialization.safe_globals(READ_BESIDE):
            return torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except pickle.UnpicklingError as error:
        raise CheckpointError(_unread(str(error))) from error


def _parts(index: Path) -> dict[str, Any]:
    names = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    weights: dict[str, Any] = {}
    for name in sorted(set(names.values())):
        if PurePosixPath(name).name != name:
            raise CheckpointError(f"{index.name} must name files of its folder, but names {name}")
        if not (index.parent / name).is_file():
            raise CheckpointError(f"{name} must be beside {index.name}, which names it, but is not")
        weights |= _document(index.parent / name)
    if absent := sorted(names.keys() - weights.keys()):
        raise CheckpointError(f"{index.name} names {absent[0]}, which is in no part")
    return weights


def _unread(message: str) -> str:
    """torch writes paragraphs, and how to run what is in a file nevertheless."""
    kind = re.search(r"GLOBAL ([\w.]+)", message)
    if kind is None:
        return (
            "it is no checkpoint of weights, and only weights are read: nothing in it is executed"
        )
    return (
        f"it holds an object of {kind[1]}, and only weights are read, because reading others could "
        f"execute what is in the file. Where it was written, {ALONE}"
    )


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(PurePosixPath(name).name == "constants.pkl" for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False
