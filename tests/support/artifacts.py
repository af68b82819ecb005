"""Changing a stored classifier so that its checksums still fit: what is refused is the content."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from craft_ray.classifiers.artifact import ARRAYS_FILE, DESCRIPTION_FILE
from craft_ray.files.whole_files import Arrays, read_arrays, sha256_of_values, write_arrays


def edit_description(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the description and sign it anew."""
    path = folder / DESCRIPTION_FILE
    document = json.loads(path.read_text())
    change(document)
    document.pop("values_sha256", None)
    document["values_sha256"] = sha256_of_values(document)
    path.write_text(json.dumps(document))


def edit_arrays(folder: Path, change: Callable[[Arrays], object]) -> None:
    """Change the arrays and sign them anew."""
    path = folder / ARRAYS_FILE
    arrays = {name: array.copy() for name, array in read_arrays(path).items()}
    change(arrays)
    digest = write_arrays(path, arrays)
    edit_description(folder, lambda document: document.update(arrays_sha256=digest))
