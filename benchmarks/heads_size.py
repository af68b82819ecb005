"""What does a head cost at ImageNet's size: 16,000 images, four views, 1,000 classes, 1,510 logits?

    python -m benchmarks.heads_size

The logits are made up: features of 512 directions around the classes' means. Each kind of head is
fitted in a process of its own, which makes the logits, measures the rate of a float32 matrix
product, and then fits. CPU seconds are those of all threads; "times the products" compares them
with what the fit's own matrix products alone take at that rate, all in float32. Seconds of the
clock mean something on a machine with nothing else to do. Memory is the process's peak, with the
libraries and 0.5 GB of logits.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, get_args
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from benchmarks.record import commit, write_result
from craft_ray.config.heads import HeadFit
from craft_ray.method.heads import fit_head
from craft_ray.method.reduction import FloatArray, LabelArray

NUM_IMAGES, NUM_VIEWS, NUM_CLASSES, NUM_LOGITS, RANK = 16_000, 5, 1_000, 1_510, 512
LOGIT_SCALE = 50.0
FOLDS = 5
IN_TWO_FITS = 1.8
"""Rows of both fits, as a share of all: in one of them a fifth of the images is held out."""
KINDS: tuple[HeadFit, ...] = ("gda", "logistic", "anchored")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.heads_size", description=__doc__)
    parser.add_argument("--heads", nargs="+", default=KINDS, choices=get_args(HeadFit))
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    commit_id = commit()
    torch.set_num_threads(options.threads)  # as the result says
    rows = []
    for kind in options.heads:
        spawning = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawning) as pool:
            rows.append(pool.submit(measure, kind, options.threads).result())
        print(rows[-1], flush=True)
    print(write_result("heads_size", commit_id, {"rows": rows}))


def measure(kind: HeadFit, threads: int) -> dict[str, Any]:
    """One fit, in this process."""
    torch.set_num_threads(threads)
    logits_VNF, labels_N = made_up()
    rate = product_rate()

    def fit() -> Any:
        return fit_head(kind, logits_VNF, labels_N, NUM_CLASSES, FOLDS, 0, logit_scale=LOGIT_SCALE)

    gradients, log_softmax = 0, F.log_softmax

    def counted(*args: Any, **kwargs: Any) -> torch.Tensor:
        # No mock: it would keep every argument, 0.3 GB each.
        nonlocal gradients
        gradients += 1
        return log_softmax(*args, **kwargs)

    with patch.object(F, "log_softmax", counted):
        fitted, seconds, cpu_s = timed(fit)
    operations = operations_of(kind, gradients)
    return {
        "head": kind,
        "threads": threads,
        "seconds": round(seconds, 1),
        "cpu_s": round(cpu_s, 1),
        "gradients": gradients,
        "products_cpu_s": round(operations / rate, 1),
        "times_the_products": round(cpu_s * rate / operations, 2),
        "gflop_per_cpu_s": round(rate / 1e9, 1),
        "rank": fitted.rank,
        "held_out_loss": round(fitted.held_out_loss, 4),
        "most_resident_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "process_cpu_s": round(time.process_time(), 1),
    }


def timed(do: Callable[[], Any]) -> tuple[Any, float, float]:
    """What it gives, seconds of the clock and of all threads."""
    started_s, started_cpu_s = time.monotonic(), time.process_time()
    result = do()
    return result, time.monotonic() - started_s, time.process_time() - started_cpu_s


def operations_of(kind: HeadFit, gradients: int) -> float:
    """Of the matrix products that no way around is known to."""
    rows = NUM_IMAGES * NUM_VIEWS
    space = 2 * rows * NUM_LOGITS * (NUM_LOGITS + RANK)
    held_out = 2 * (2 - IN_TWO_FITS) * NUM_IMAGES * NUM_LOGITS * NUM_CLASSES
    descent = 4 * gradients * (IN_TWO_FITS / 2) * rows * RANK * NUM_CLASSES
    analysis = 2 * IN_TWO_FITS * rows * RANK**2
    return space + held_out + descent + (0.0 if kind == "logistic" else analysis)


def product_rate() -> float:
    """Operations a CPU second of a float32 product as in a gradient: the best of a few."""
    points_MR, weights_RC = torch.randn(NUM_IMAGES, RANK), torch.randn(RANK, NUM_CLASSES)
    torch.matmul(points_MR, weights_RC)
    cpu_s = min(timed(lambda: torch.matmul(points_MR, weights_RC))[2] for _ in range(5))
    return 2 * NUM_IMAGES * RANK * NUM_CLASSES / cpu_s


def made_up() -> tuple[FloatArray, LabelArray]:
    """Logits [views, images, names] and labels."""
    generator = torch.Generator().manual_seed(0)

    def randn(*shape: int) -> torch.Tensor:
        return F.normalize(torch.randn(*shape, generator=generator), dim=-1)

    texts_FR, centres_CR = randn(NUM_LOGITS, RANK), randn(NUM_CLASSES, RANK)
    texts_FR[:NUM_CLASSES] = randn(NUM_CLASSES, RANK) + 0.3 * centres_CR
    labels_N = torch.arange(NUM_CLASSES).repeat_interleave(NUM_IMAGES // NUM_CLASSES)
    logits_VNF = torch.empty(NUM_VIEWS, NUM_IMAGES, NUM_LOGITS)
    for view_NF in logits_VNF:
        features_NR = F.normalize(0.35 * centres_CR[labels_N] + randn(NUM_IMAGES, RANK), dim=1)
        torch.matmul(LOGIT_SCALE * features_NR, texts_FR.T, out=view_NF)
    return logits_VNF.numpy(), labels_N.numpy().astype(np.int64)


if __name__ == "__main__":
    main()
