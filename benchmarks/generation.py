"""A whole generation - population, head epoch, validation - against the paper's procedure.

    python -m benchmarks.generation --model embedded

Both sides run the same loop on the same weights and differ in how the oracle works: the paper's
procedure encodes the prompts of one candidate at a time at full length and re-encodes freshly
augmented training images for every head epoch; ours is the fast text path and a bank of views that
is encoded once. Validation images are encoded once on both sides, and they run in turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmarks.black_box import WrappedOracle
from benchmarks.machine import synchronize
from benchmarks.models import load_or_draw
from benchmarks.record import commit, write_result
from craft_ray.config.oracle import OracleConfig
from craft_ray.config.run import RunConfig
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import (
    Answer,
    FloatArray,
    ImageHandle,
    Oracle,
    TaskHandle,
)
from craft_ray.oracle.loading import LoadedModel
from craft_ray.task.preparation import load_data, prepare
from craft_ray.task.prepared import ViewBank
from craft_ray.tuners.base import Trainer
from craft_ray.tuners.registry import make_trainer

VIEWS_TIMED = 4
"""Of the bank's 16: the cost is linear in them."""

GENERATIONS_OF_A_RUN = 200
"""16 shots: the bank's one-time cost is spread over these."""


class OneByOne(WrappedOracle):
    """The paper's order of work: a candidate at a time, and no reduction beside the model."""

    def predict(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        answer: Answer = "logits",
    ) -> FloatArray:
        parts = [self._oracle.predict(task, images, c[None], answer) for c in contexts_KLE]
        return np.concatenate(parts)


@dataclass
class Side:
    """One way to run a generation, with the times of its turns."""

    name: str
    trainer: Trainer
    bank_s: float = 0.0
    """One-time cost of the bank of views, from `VIEWS_TIMED` of them."""
    times: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    side: str
    seconds: float
    """Median of the generations."""
    bank_seconds: float
    seconds_with_share_of_bank: float
    ratio: float
    """Of the paper's procedure to this, the share of the bank included."""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generation", description=__doc__)
    parser.add_argument("--models", nargs="+", default=["embedded", "ViT-B-32"])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options = parser.parse_args()
    commit_id = commit()
    torch.set_num_threads(options.threads)
    threadpool_limits(1, user_api="blas")  # as in a worker
    tables = {}
    for model in options.models:
        rows = measure(load_or_draw(model, options.device), options.turns, options.device)
        show(model, rows)
        tables[model] = [asdict(row) for row in rows]
    result = {"turns": options.turns, "models": tables}
    print(write_result("generation", commit_id, result, options.device))


def measure(loaded: LoadedModel, turns: int, device: str) -> list[Row]:
    """All sides in turns: a generation each."""
    plain = ClipOracle(loaded, OracleConfig(text_path="plain"))
    sides = [make_side("paper's procedure, fp32", OneByOne(plain), "fresh", device)]
    for precision in ("fp32", "bf16"):
        config = OracleConfig.model_validate({"precision": precision})
        sides.append(make_side(f"craft-ray, {precision}", ClipOracle(loaded, config), 16, device))
    for _ in range(turns):
        for side in sides:
            synchronize(device)
            started = time.perf_counter()
            side.trainer.run_generation()
            synchronize(device)
            side.times.append(time.perf_counter() - started)
    totals = []
    for side in sides:
        seconds = statistics.median(side.times)
        totals.append((side, seconds, seconds + side.bank_s / GENERATIONS_OF_A_RUN))
    return [
        Row(side.name, seconds, side.bank_s, total, totals[0][2] / total)
        for side, seconds, total in totals
    ]


def make_side(name: str, oracle: Oracle, views: int | str, device: str) -> Side:
    """A training that has run one generation; a bank's views have been encoded and timed."""
    config = RunConfig.model_validate(
        {"data": {"views": views}, "evaluate_every_generations": 1, "max_queries": 8000}
    )
    data = load_data(config)
    metered = MeteredOracle(oracle, QueryLedger(config.max_queries))
    prepared = prepare(config, data, metered)
    bank_s = 0.0
    if views != "fresh":
        assert isinstance(prepared.views, ViewBank)
        handles = prepared.views.handles
        started = time.perf_counter()
        for handle in handles[:VIEWS_TIMED]:  # those that the turns here look at
            oracle.predict(prepared.task, handle, prepared.task.initial_context[None])
        synchronize(device)
        bank_s = (time.perf_counter() - started) * len(handles) / VIEWS_TIMED
    trainer = make_trainer(metered, prepared, config)
    trainer.run_generation()  # fitness and validation images are encoded now
    return Side(name, trainer, bank_s)


def show(model: str, rows: Sequence[Row]) -> None:
    """A human's table."""
    table = Table("side", "seconds", "bank, once", "with its share", "ratio", title=model)
    for row in rows:
        table.add_row(
            row.side,
            f"{row.seconds:.3f}",
            f"{row.bank_seconds:.1f}",
            f"{row.seconds_with_share_of_bank:.3f}",
            f"{row.ratio:.1f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
