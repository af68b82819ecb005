"""A few images of each class of the embedded data set: for tests of what is around the encoding."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from craft_ray.zoo import EMBEDDED_DATASET

IMAGES_A_CLASS = {"train": 4, "val": 2, "test": 4}


@cache
def small_data() -> str:
    """The setting that names it. The folder lives as long as this process."""
    folder = Path(tempfile.mkdtemp(prefix="craft-ray-small-data-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for split, count in IMAGES_A_CLASS.items():
        table = pq.read_table(EMBEDDED_DATASET / f"{split}.parquet")
        labels_N = table.column("label").to_numpy()
        of_classes = [np.flatnonzero(labels_N == label)[:count] for label in np.unique(labels_N)]
        pq.write_table(table.take(np.concatenate(of_classes)), folder / f"{split}.parquet")
    return f"data.source={{kind: parquet, root: {folder}}}"
