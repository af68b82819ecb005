"""How much of a logit the methods need: answers as endpoints really give them, over seeds.

    python -m benchmarks.answers --seeds 1 2 3 4 5

The same oracle, which says less: probabilities over the names that were asked about, probabilities
rounded to three decimals, the five highest of them, and logits with noise. A client takes the
logarithms of what it gets. Everything is asked so: tuning, selection, and the test at the end.
Zero-shot is tested the same way beside it. Intervals as in `benchmarks.sample_efficiency`.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.special import log_softmax
from threadpoolctl import threadpool_limits

from benchmarks.accuracy_rows import interval
from benchmarks.black_box import WrappedOracle
from benchmarks.record import commit, write_result
from benchmarks.sample_efficiency import METHODS, run_once
from craft_ray.config.loading import load_run_config
from craft_ray.oracle.contract import (
    Answer,
    FloatArray,
    ImageHandle,
    Oracle,
    TaskHandle,
)
from craft_ray.oracle.white_box import load_oracle

Restriction = Callable[[FloatArray, np.random.Generator], FloatArray]
COMPARED = ("probes: 500 names", "probes: 25 contexts", "linear head, one prompt")
DECIMALS = 3
TOP = 5
NOISE = 1.0
"""Standard deviation in logits, whose own spread over the classes of an image is 2 to 3."""


def log_probabilities(logits_KNC: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Of all names that were asked about."""
    answer: FloatArray = log_softmax(logits_KNC, axis=2)
    return answer


def rounded(logits_KNC: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Three decimals; what is rounded to 0 is taken for a quarter of the last one."""
    probabilities = np.round(np.exp(log_softmax(logits_KNC, axis=2)), DECIMALS)
    answer: FloatArray = np.log(np.maximum(probabilities, 0.25 * 10.0**-DECIMALS))
    return answer.astype(np.float32)


def top(logits_KNC: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The five highest probabilities; the others are taken to share what is left."""
    answer: FloatArray = log_softmax(logits_KNC.astype(np.float64), axis=2)
    num_others = answer.shape[2] - TOP
    if num_others < 1:
        return answer.astype(np.float32)
    lowest_kept = np.partition(answer, -TOP, axis=2)[:, :, -TOP, None]
    is_kept = answer >= lowest_kept
    left = 1 - np.where(is_kept, np.exp(answer), 0).sum(axis=2, keepdims=True)
    share = np.log(np.maximum(left, 1e-12) / num_others)
    return np.where(is_kept, answer, share).astype(np.float32)


def noisy(logits_KNC: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Gaussian noise on every logit."""
    noise = rng.standard_normal(logits_KNC.shape, dtype=np.float32)
    answer: FloatArray = logits_KNC + np.float32(NOISE) * noise
    return answer


RESTRICTIONS: dict[str, Restriction | None] = {
    "logits": None,
    "probabilities": log_probabilities,
    "probabilities, three decimals": rounded,
    "the five highest probabilities": top,
    "logits with noise": noisy,
}


class RestrictedOracle(WrappedOracle):
    """Passes questions on to `oracle`, and less than all of the answers back."""

    def __init__(self, oracle: Oracle, restriction: Restriction) -> None:
        super().__init__(oracle)
        self._restriction = restriction

    def predict(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        answer: Answer = "logits",
    ) -> FloatArray:
        """A repeated question has the same noise."""
        logits_KNC = self._oracle.predict(task, images, contexts_KLE, answer)
        question = f"{task.digest} {images.content} ".encode() + contexts_KLE.tobytes()
        seed = int.from_bytes(hashlib.sha256(question).digest()[:8], "big")
        return self._restriction(logits_KNC, np.random.default_rng(seed))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.answers", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    commit_id = commit()
    torch.set_num_threads(options.threads)
    threadpool_limits(1, user_api="blas")  # as in a worker
    oracle = load_oracle(load_run_config(None).local_model)
    runs: list[dict[str, Any]] = []
    for seed in options.seeds:
        for name, restriction in RESTRICTIONS.items():
            asked = oracle if restriction is None else RestrictedOracle(oracle, restriction)
            for method in COMPARED:
                run = run_once(asked, [f"seed={seed}", *METHODS[method]])
                runs.append({"answer": name, "method": method, **run})
                print(seed, name, method, run["zero_shot"], run["accuracy"], flush=True)
    rows: list[dict[str, Any]] = []
    for name in RESTRICTIONS:
        for method in COMPARED:
            own = [run for run in runs if (run["answer"], run["method"]) == (name, method)]
            rows.append(
                {
                    "answer": name,
                    "method": method,
                    "zero_shot": interval([run["zero_shot"] for run in own]),
                    "accuracy": interval([run["accuracy"] for run in own]),
                }
            )
    path = write_result("answers", commit_id, {"rows": rows, "runs": runs})
    table = Table("answer", "method", "zero-shot", "accuracy")
    for row in rows:
        cells = [f"{row[key][0]:.1f} ± {row[key][1]:.1f}" for key in ("zero_shot", "accuracy")]
        table.add_row(row["answer"], row["method"], *cells)
    Console(width=110).print(table)
    print(path)


if __name__ == "__main__":
    main()
