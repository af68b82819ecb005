"""Do heads found in few gradients predict what a solver without shortcuts predicts?

    python -m benchmarks.heads_reference --seeds 1 2 3 4 5 --tasks 4

The same objective is minimised on the same images by scipy's L-BFGS in float64, without a
preconditioner and until the gradient is below 1e-9 (the shipped solver: float32, at most 25
gradients). Everything else stays: `logistic` and `anchored` are fitted twice, once with each
solver, and tested on all test images of the tasks of `benchmarks.heads`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from threadpoolctl import threadpool_limits

from benchmarks.accuracy_rows import interval
from benchmarks.guard import Answers, Images, draw_tasks
from benchmarks.heads import FOLDS, IMAGES_PER_CLASS, SHOTS
from benchmarks.record import commit, write_result
from benchmarks.sample_efficiency import task_settings
from craft_ray.config.heads import HeadFit
from craft_ray.method.heads import fit, fit_head
from craft_ray.method.reduction import FloatArray

KINDS: tuple[HeadFit, ...] = ("logistic", "anchored")
STEEPEST = 1e-9
"""Largest entry of the gradient at which the reference is done."""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.heads_reference", description=__doc__
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--tasks", type=int, default=4, help="of classes, for each seed")
    options = parser.parse_args()
    commit_id = commit()
    torch.set_num_threads(1)
    threadpool_limits(1, user_api="blas")
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for task, settings in task_settings(Path(folder)).items():
            shots = IMAGES_PER_CLASS[task]
            answers = Answers.ask((*settings, f"data.shots={shots}", "data.validation=few_shot"))
            for seed in options.seeds:
                generator = np.random.default_rng(seed)
                runs += compare(task, answers, seed, generator)
                if task == "embedded":
                    for classes in draw_tasks(answers.train, options.tasks, generator):
                        some = answers.of_classes(classes)
                        runs += compare("good zero-shot", some, seed, generator)
                print(task, seed, flush=True)
    rows = list(summarise(runs))
    for row in rows:
        print(row)
    print(write_result("heads_reference", commit_id, {"seeds": options.seeds, "rows": rows}))


def compare(
    task: str, answers: Answers, seed: int, generator: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Both solvers on one draw."""
    test_NF, labels_N = answers.test.logits_VNF[0], answers.test.labels_N
    for shots in SHOTS:
        train = answers.train.draw(shots, generator)
        for kind in KINDS:
            shipped_NC, shipped_s = predict(kind, train, test_NF)
            with patch.object(fit, "fit_logistic", fit_reference):
                reference_NC, reference_s = predict(kind, train, test_NF)
            predicted_N, expected_N = shipped_NC.argmax(axis=1), reference_NC.argmax(axis=1)
            yield {
                "task": task,
                "shots": shots,
                "head": kind,
                "seed": seed,
                "accuracy": float((predicted_N == labels_N).mean()),
                "reference": float((expected_N == labels_N).mean()),
                "changed": float((predicted_N != expected_N).mean()),
                "cpu_s": shipped_s,
                "reference_cpu_s": reference_s,
            }


def predict(kind: HeadFit, train: Images, test_NF: FloatArray) -> tuple[FloatArray, float]:
    """Final logits of the test images, and CPU seconds of the fit."""
    num_classes = int(train.labels_N.max()) + 1
    started_s = time.process_time()
    fitted = fit_head(kind, train.logits_VNF, train.labels_N, num_classes, FOLDS, 0)
    seconds = time.process_time() - started_s
    return fitted.head(test_NF), seconds


def fit_reference(
    points_MR: torch.Tensor,
    variances_R: torch.Tensor,
    base_MC: torch.Tensor,
    labels_M: torch.Tensor,
    penalty: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """In place of `fit_logistic`: the same objective to its end.

    Raises:
        RuntimeError: it did not converge.
    """
    ones_M1 = np.ones((len(points_MR), 1))
    points_MS = np.hstack([points_MR.double().numpy(), ones_M1])
    base = base_MC.double().numpy()
    labels, rows = labels_M.numpy(), np.arange(len(labels_M))
    shape = (points_MS.shape[1], base.shape[1])

    def objective(values: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        weights_SC = values.reshape(shape)
        logs_MC = log_softmax(base + points_MS @ weights_SC, axis=1)
        loss = -logs_MC[rows, labels].mean() + penalty / 2 * float(values @ values)
        slopes_MC = np.exp(logs_MC)
        slopes_MC[rows, labels] -= 1.0
        gradient_SC = points_MS.T @ slopes_MC / len(rows) + penalty * weights_SC
        return loss, gradient_SC.ravel()

    found = minimize(
        objective,
        np.zeros(shape).ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 100_000, "maxfun": 100_000, "gtol": STEEPEST, "ftol": 0.0},
    )
    if not found.success:
        raise RuntimeError(f"the reference must converge, but: {found.message}")
    weights_SC = torch.from_numpy(found.x.reshape(shape))
    return weights_SC[:-1], weights_SC[-1]


def summarise(runs: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Of each task, number of shots and head; differences are those of the shipped solver."""
    for task, shots, head in dict.fromkeys((r["task"], r["shots"], r["head"]) for r in runs):
        own = [r for r in runs if (r["task"], r["shots"], r["head"]) == (task, shots, head)]
        differences = [run["accuracy"] - run["reference"] for run in own]
        yield {
            "task": task,
            "shots": shots,
            "head": head,
            "reference": interval([run["reference"] for run in own]),
            "difference": interval(differences),
            "largest_difference": round(100 * max(map(abs, differences)), 2),
            "predictions_changed": round(100 * float(np.mean([r["changed"] for r in own])), 2),
            "cpu_s": round(float(np.mean([run["cpu_s"] for run in own])), 3),
            "reference_cpu_s": round(float(np.mean([r["reference_cpu_s"] for r in own])), 2),
            "runs": len(own),
        }


if __name__ == "__main__":
    main()
