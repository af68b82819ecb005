"""A fine-tuning of ImageNet's shape: memory of every process, time beside the oracle's, scaling.

    python -m benchmarks.imagenet
    python -m benchmarks.imagenet --scaling --images-per-s 600

The whole default method of `craft-ray train` with real Ray, worker, journal and test: 16,000
training images, their views and 50,000 test images, each a JPEG of 500 x 375 pixels that is decoded
for real, and 1,000 classes. An oracle that sleeps stands in for the towers of a GPU (see
`imagenet_oracle`).

The oracle's own time is that in which its replica answers: fetching files and decoding them, as far
as that does not hide behind the towers, belong to it. What the towers alone take, by the rates
that are given, is compared as well. Verifying all images, which `train` does first, counts.

How well many replicas are used is measured apart (`--scaling`), with an oracle that decodes
nothing: all of them share the cores of one machine here.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError
from rich.console import Console
from rich.table import Table

from benchmarks.imagenet_oracle import StandInFactory, dataset_of
from benchmarks.process_tree import Cost, measure
from benchmarks.record import ROOT, commit, write_result
from craft_ray.config.loading import load_default_run
from craft_ray.config.oracle import PoolConfig
from craft_ray.config.sections import RayConfig
from craft_ray.data.few_shot import MAX_VALIDATION_SHOTS, sample_few_shot, verify_decodable
from craft_ray.data.recipe import Sources
from craft_ray.jobs import experiment
from craft_ray.jobs.ray_session import ray_session
from craft_ray.jobs.single_run import run_training
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.pool.client import PoolOracle
from craft_ray.pool.lifecycle import running_pool
from craft_ray.pool.membership import PoolSize
from craft_ray.task.preparation import FewShotData
from craft_ray.task.sending import IMAGES_PER_BLOCK, send

TEXTS_PER_S = 20_000.0
OBJECT_STORE_MB = 8000
"""Twice the aim."""
LOOK_EVERY_S = 0.5
AIMS = {
    "driver_mb": 4096,
    "worker_mb": 4096,
    "object_store_mb": 4096,
    "seconds_beside_the_oracle_over_its_own": 0.2,
}
EFFICIENCY_AIM = 0.9


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imagenet", description=__doc__)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--test", type=int, default=50_000)
    parser.add_argument("--images-per-s", type=float, default=150.0, help="of the one replica")
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--scaling", action="store_true", help="this, and no run")
    parser.add_argument("--role", choices=["run"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        run(options)
        return
    commit_id = commit()
    if options.scaling:
        rows = measure_scaling(options)
        for row in rows:
            print(row)
        found = {"rows": rows, "aim_of_16_replicas": EFFICIENCY_AIM}
        print(write_result("imagenet_scaling", commit_id, found, module="imagenet"))
        return
    with tempfile.TemporaryDirectory() as name:
        words = ["--role", "run", "--folder", name, *sys.argv[1:]]
        cost = measure([sys.executable, "-m", "benchmarks.imagenet", *words], ROOT)
        found = json.loads((Path(name) / "found.json").read_text())
    figures = figures_of(found, cost)
    table = Table("figure", "measured", "aim")
    for key, value in figures.items():
        table.add_row(key.replace("_", " "), f"{value:,.3g}", f"{AIMS.get(key, '')}")
    Console(width=100).print(table)
    result = {"figures": figures, "aims": AIMS, "run": {**found, **cost.as_dict()}}
    print(write_result("imagenet", commit_id, result))


def figures_of(found: dict[str, Any], cost: Cost) -> dict[str, Any]:
    """What has an aim, and how much longer all took than the towers."""
    seconds = found["verified_s"] + found["seconds"]
    return {
        "driver_mb": cost.mb["benchmarks.imagenet"],
        "worker_mb": max(mb for name, mb in cost.mb.items() if "TrainWorker" in name),
        "object_store_mb": found["object_store_mb"],
        "seconds_beside_the_oracle_over_its_own": seconds / found["oracle_busy_s"] - 1,
        "seconds_beside_the_towers_over_theirs": seconds / found["towers_s"] - 1,
    }


def run(options: argparse.Namespace) -> None:
    """The fine-tuning, in a process of its own."""
    words = [
        f"output_dir={options.folder}",
        f"data.shots={options.shots}",
        f"ray.object_store_mb={OBJECT_STORE_MB}",
        "ray.num_cpus=2",
    ]
    config = load_default_run(words)
    # As CoOp validates where a data set has no split for it.
    dataset = dataset_of(options.classes, options.shots + MAX_VALIDATION_SHOTS, options.test)
    sample = sample_few_shot(dataset, options.shots, config.seed, validation="few_shot")
    data = FewShotData(dataset, sample.train, sample.validation)
    started_s = time.monotonic()
    verify_decodable([*data.train, *data.validation, *data.test])
    verified_s = time.monotonic() - started_s
    factory = StandInFactory(options.images_per_s, TEXTS_PER_S)
    experiment.hosted_by = lambda *_: (  # type: ignore[attr-defined]  # what a replica hosts
        factory,
        PoolSize(1, 0.0, 1),
        "one replica that stands in for a GPU",
    )
    shared = ObjectStore()
    with ray_session(config.ray):
        shared.start()
        summary = run_training(config, data, options.folder / "run", Console())
    images_encoded = sum(each["images_encoded"] for each in summary["pool"].values())
    found = {
        "verified_s": round(verified_s, 1),
        "seconds": summary["seconds"],
        "startup_s": summary["startup_seconds"],
        "oracle_busy_s": sum(each["busy_s"] for each in summary["pool"].values()),
        "towers_s": images_encoded / options.images_per_s
        + summary["ledger"]["text_encodes"] / TEXTS_PER_S,
        "images_encoded": images_encoded,
        "object_store_mb": round(shared.peak_mb),
        "mb_on_disk": _megabytes_in(options.folder / "run"),
        "ledger": summary["ledger"],
    }
    (options.folder / "found.json").write_text(json.dumps(found))


class ObjectStore(threading.Thread):
    """Looks how much of the object store there is; a thread that ends with the process."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_mb = 0.0

    def run(self) -> None:
        while True:
            with suppress(RayError):
                all_of_it = ray.cluster_resources().get("object_store_memory", 0.0)
                free = ray.available_resources().get("object_store_memory", 0.0)
                self.peak_mb = max(self.peak_mb, (all_of_it - free) / 2**20)
            time.sleep(LOOK_EVERY_S)


def _megabytes_in(folder: Path) -> dict[str, float]:
    """Of the larger files."""
    sizes = {
        str(path.relative_to(folder)): round(path.stat().st_size / 2**20, 1)
        for path in folder.rglob("*")
        if path.is_file()
    }
    return {name: size for name, size in sorted(sizes.items()) if size >= 1}


def measure_scaling(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The question of the default method, about the plain images and four views in one go, to more
    and more replicas."""
    rows = []
    factory = StandInFactory(options.images_per_s, TEXTS_PER_S, decodes=False)
    dataset = dataset_of(options.classes, options.shots, 1)
    sources = Sources.of(dataset.splits["train"])
    size_N2 = np.full((len(sources.items), 2), 300, np.int32)
    config = PoolConfig(cpus_per_replica=0.01)
    with ray_session(RayConfig(object_store_mb=OBJECT_STORE_MB)):
        for replicas in options.replicas:
            size = PoolSize(replicas, 0.0, 1)
            with running_pool("imagenet", factory, config, size) as pool:
                client = PoolOracle(pool.address, config)
                oracle = MeteredOracle(client, QueryLedger(1))
                views = [send(oracle, sources, _crops(size_N2, view)) for view in range(5)]
                task = oracle.register_task(ClassificationTask(dataset.class_names))
                started_s = time.monotonic()
                asked = [(view, "head") for view in views]
                oracle.predict_each(task, asked, task.initial_context[None])  # type: ignore[arg-type]
                seconds = time.monotonic() - started_s

                needed_s = 5 * len(sources.items) / options.images_per_s
                texts_s = options.classes / TEXTS_PER_S
                rows.append(
                    {
                        "replicas": replicas,
                        "blocks": 5 * -(-len(sources.items) // IMAGES_PER_BLOCK),
                        "seconds": round(seconds, 2),
                        "efficiency": (needed_s / replicas + texts_s) / seconds,
                    }
                )
    return rows


def _crops(size_N2: Any, view: int) -> Any:
    crops = np.zeros((len(size_N2), 5), np.int32)
    crops[:, 2:4] = size_N2
    crops[:, 4] = view
    return crops


if __name__ == "__main__":
    main()
