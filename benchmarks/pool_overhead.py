"""What the pool costs: one replica against the same oracle in this process, in turns.

    python -m benchmarks.pool_overhead

A population is scored and predicted, 40 candidates x 10 classes on 160 images. Both sides have the
same threads and the same chunks; "whole" is the oracle in this process without chunks.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.models import DrawnOracle
from benchmarks.record import commit, write_result
from benchmarks.text_work import CIFAR10
from craft_ray.config.oracle import OracleConfig, PoolConfig
from craft_ray.config.sections import RayConfig
from craft_ray.jobs.ray_session import ray_session
from craft_ray.method.reduction import PromptLoss
from craft_ray.oracle.contract import (
    ClassificationTask,
    FloatArray,
    ImageHandle,
    ScoringOracle,
    TaskHandle,
)
from craft_ray.pool.client import PoolOracle
from craft_ray.pool.lifecycle import running_pool
from craft_ray.pool.membership import PoolSize
from craft_ray.pool.scheduler import split_population

NUM_IMAGES, NUM_CANDIDATES = 160, 40
Question = tuple[TaskHandle, ImageHandle, FloatArray]


@dataclass(frozen=True)
class Row:
    """One model and kind of question; medians of turns."""

    model: str
    question: str
    whole_ms: float
    in_process_ms: float
    pool_ms: float
    overhead: float
    """pool / in process - 1."""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pool_overhead", description=__doc__)
    parser.add_argument("--models", nargs="+", default=["embedded", "ViT-B-32"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options = parser.parse_args()
    commit_id = commit()
    rows = []
    with ray_session(RayConfig(object_store_mb=200)):
        for model in options.models:
            rows += measure(model, options.threads, options.turns, options.device)
    show(rows)
    result = {"threads": options.threads, "rows": [asdict(row) for row in rows]}
    print(write_result("pool_overhead", commit_id, result, options.device))


def measure(model: str, threads: int, turns: int, device: str) -> list[Row]:
    """Both kinds of question to one model."""
    config = PoolConfig(cpus_per_replica=0.1)
    factory = DrawnOracle(model, OracleConfig(), device, threads)
    alone = factory()
    gpus = 1.0 if device == "cuda" else 0.0
    reduction = PromptLoss(np.arange(NUM_IMAGES) % len(CIFAR10), None, 0.0)
    chunks = split_population(NUM_CANDIDATES, config.candidates_per_chunk)
    with running_pool(f"of-{model}", factory, config, PoolSize(1, gpus, threads)) as pool:
        client = PoolOracle(pool.address, config)
        here, there = question_to(alone), question_to(client)

        def predict(oracle: ScoringOracle, question: Question) -> None:
            oracle.predict(*question)

        def score(oracle: ScoringOracle, question: Question) -> None:
            oracle.score(*question, reduction)

        rows = []
        for name, ask in (("score", score), ("predict", predict)):

            def by_chunks(ask: Callable[[ScoringOracle, Question], None] = ask) -> None:
                task, images, contexts = here
                for chunk in chunks:
                    ask(alone, (task, images, contexts[chunk.start : chunk.stop]))

            works = [
                lambda ask=ask: ask(alone, here),
                by_chunks,
                lambda ask=ask: ask(client, there),
            ]
            whole, chunked, pooled = (1000 * value for value in medians_in_turns(works, turns))
            rows.append(Row(model, name, whole, chunked, pooled, pooled / chunked - 1))
    return rows


def question_to(oracle: ScoringOracle) -> Question:
    """Register task and images; draw a population."""
    size = oracle.describe().image_size
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (NUM_IMAGES, 3, size, size), dtype=np.uint8)
    task = oracle.register_task(ClassificationTask(CIFAR10))
    noise = rng.normal(0, 0.1, (NUM_CANDIDATES, *task.initial_context.shape))
    contexts = (task.initial_context + noise).astype(np.float32)
    return task, oracle.register_images(pixels), contexts


def medians_in_turns(works: Sequence[Callable[[], object]], turns: int) -> list[float]:
    """Seconds of each; one after the other in every turn, so that a busy moment hits all."""
    for work in works:
        work()
    times: list[list[float]] = [[] for _ in works]
    for _ in range(turns):
        for entry, work in zip(times, works, strict=True):
            started = time.perf_counter()
            work()
            entry.append(time.perf_counter() - started)
    return [statistics.median(entry) for entry in times]


def show(rows: Sequence[Row]) -> None:
    """A human's table."""
    table = Table("model", "question", "whole ms", "in process ms", "pool ms", "overhead")
    for row in rows:
        times = [f"{value:.1f}" for value in (row.whole_ms, row.in_process_ms, row.pool_ms)]
        table.add_row(row.model, row.question, *times, f"{row.overhead:+.1%}")
    Console().print(table)


if __name__ == "__main__":
    main()
