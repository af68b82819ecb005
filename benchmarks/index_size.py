"""What does the index of a data set of ImageNet's size hold, and how long does it take to read?

    python -m benchmarks.index_size

A tree of 1,000 folders with empty files named as ImageNet's, and 294 Parquet files with as many
rows whose images are one byte: an index reads names and labels and no image. Each is read in a
process of its own, which then draws 16 images a class. Memory is resident memory, above what the
process had before: what is held afterwards, and the most while it was read and drawn from. Seconds
are those of the CPU.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.record import commit, write_result
from craft_ray.config.data import FolderSource, ParquetSource
from craft_ray.data.few_shot import sample_few_shot
from craft_ray.data.sources import load_dataset

NUM_CLASSES, NUM_TEST = 1000, 5
NUM_SHARDS = 294
SHOTS = 16


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.index_size", description=__doc__)
    parser.add_argument("--images", type=int, default=1280, help="of each class, for training")
    options = parser.parse_args()
    commit_id = commit()
    rows = []
    with tempfile.TemporaryDirectory(prefix="craft-ray-index-") as name:
        for kind, make in (("folder", make_folders), ("parquet", make_parquet)):
            root = Path(name) / kind
            make(root, options.images)
            spawning = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=spawning) as pool:
                rows.append(pool.submit(measure, kind, str(root)).result())
            print(rows[-1], flush=True)
    print(write_result("index_size", commit_id, {"rows": rows}))


def measure(kind: str, root: str) -> dict[str, Any]:
    """Read one index, in this process."""
    source = FolderSource(root=root) if kind == "folder" else ParquetSource(root=root)
    before = resident()
    started = time.process_time()
    dataset = load_dataset(source)
    read_s = time.process_time() - started
    held = resident() - before
    started = time.process_time()
    sample = sample_few_shot(dataset, SHOTS, 1)
    sample_s = time.process_time() - started
    assert len(sample.train) == SHOTS * NUM_CLASSES
    num_items = sum(map(len, dataset.splits.values()))
    return {
        "source": kind,
        "items": num_items,
        "bytes_an_item": round(held / num_items, 1),
        "held_mb": round(held / 2**20, 1),
        "peak_mb": round(
            (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 2**20, 1
        ),
        "read_cpu_s": round(read_s, 2),
        "sample_cpu_s": round(sample_s, 2),
    }


def resident() -> int:
    """Bytes of this process."""
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def make_folders(root: Path, num_images: int) -> None:
    """`root/{train,test}/<WordNet id>/<file>`."""
    for split, count in (("train", num_images), ("test", NUM_TEST)):
        for label in range(NUM_CLASSES):
            folder = root / split / f"n{1_440_000 + label:08d}"
            folder.mkdir(parents=True)
            for image in range(count):
                path = folder / f"{folder.name}_{image * 7:05d}.JPEG"
                os.close(os.open(path, os.O_CREAT))


def make_parquet(root: Path, num_images: int) -> None:
    """Shards as Hugging Face writes them, of row groups of 100."""
    root.mkdir()
    names = [f"class {label}" for label in range(NUM_CLASSES)]
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
    schema = pa.schema(
        [("image", pa.struct({"bytes": pa.binary(), "path": pa.string()})), ("label", pa.int64())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    labels_N = np.random.default_rng(0).permutation(
        np.arange(NUM_CLASSES * num_images) % NUM_CLASSES
    )
    shards = np.array_split(labels_N, NUM_SHARDS)
    write = [(f"train-{k:05d}-of-{NUM_SHARDS:05d}", labels) for k, labels in enumerate(shards)]
    write.append(("test-00000-of-00001", np.repeat(np.arange(NUM_CLASSES), NUM_TEST)))
    for name, labels in write:
        rows = [{"bytes": b"x", "path": "x.JPEG"}] * len(labels)
        table = pa.table({"image": rows, "label": labels}, schema=schema)
        pq.write_table(table, root / f"{name}.parquet", row_group_size=100)


if __name__ == "__main__":
    main()
