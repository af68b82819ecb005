"""What keeps a head on probes below a linear probe on the hidden features.

    python -m benchmarks.hidden_gap --seeds 1 2 3 4 5 --tasks embedded digits

Logits of many names are projections of the image features: z = T f, the texts' features in the rows
of T. Three things may be lost: the directions that no text has, the lengths of f in the others (T
is not known), and what the fit does not find. So the same head is fitted to

- the logits, standardised, as `head.kind: probes` does;
- the logits, measured as if T were known up to a rotation: every text's feature has length one,
  which fixes the metric as it fixes the camera in structure from motion (Tomasi and Kanade 1992);
- the hidden features, in the directions that the texts have: no metric can be better;
- the hidden features as they are.

Beside them what is shipped, and CLIP's linear probe. Heads are scikit-learn's logistic regression
on the plain images and four views of them, the penalty by cross-validation over images.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from benchmarks.accuracy_rows import HIDDEN, interval
from benchmarks.record import commit, write_result
from benchmarks.sample_efficiency import METHODS, hidden_probe, task_settings
from benchmarks.world import World
from craft_ray.classifiers.score import score_logits
from craft_ray.config.heads import ProbesHeadConfig
from craft_ray.config.loading import load_run_config
from craft_ray.method.heads import fit_head
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import FloatArray, ImageHandle
from craft_ray.oracle.white_box import load_oracle
from craft_ray.task.prepared import LabelArray

FIT = ProbesHeadConfig().fit
Array = npt.NDArray[np.float64]

SHIPPED = "what is shipped"
YARDSTICK = "hidden features"
NEGLIGIBLE = 1e-4
"""Singular values below this share of the largest are noise of float32."""
RIDGE = 1e-3
"""Of the metric, as a share of the mean squared squared length."""
FOLDS = 5
INVERSE_PENALTIES = tuple(float(c) for c in np.logspace(-1, 3.5, 10))


@dataclass(frozen=True)
class Look:
    """One way to see the images: points of the plain images, then of their views, [(1 + V) N, R],
    and of the test images."""

    train_MR: Array
    test_MR: Array


@dataclass(frozen=True)
class Sight:
    """One draw of a task: all answers, and what a black box never gives."""

    logits_VNF: FloatArray
    test_logits_MF: FloatArray
    features: Look
    labels_N: LabelArray
    test_labels_M: LabelArray
    num_classes: int
    seed: int

    @classmethod
    def of(cls, oracle: ClipOracle, settings: Sequence[str]) -> Sight:
        """Asks."""
        world = World(oracle, load_run_config(None, settings))

        def features(images: ImageHandle) -> FloatArray:
            return world.driver.embed_images(images, purpose="white_box")

        return cls(
            logits_VNF=world.predict_names(*world.training_handles),
            test_logits_MF=world.predict_names(world.test.handle)[0],
            features=Look(
                np.concatenate([features(h) for h in world.training_handles]).astype(np.float64),
                features(world.test.handle).astype(np.float64),
            ),
            labels_N=world.train.labels_N,
            test_labels_M=world.test.labels_N,
            num_classes=world.task.num_classes,
            seed=world.config.seed,
        )

    def looks(self) -> Iterator[tuple[str, Look]]:
        """From what is known least to what is hidden."""
        num_logits = self.logits_VNF.shape[2]
        logits_MF = self.logits_VNF.reshape(-1, num_logits).astype(np.float64)
        mean_F, std_F = logits_MF.mean(axis=0), logits_MF.std(axis=0)
        test_MF = self.test_logits_MF.astype(np.float64)
        yield "logits, standardised", Look((logits_MF - mean_F) / std_F, (test_MF - mean_F) / std_F)
        upgrade_FR = metric_upgrade(logits_MF)
        yield "logits, texts of length one", Look(logits_MF @ upgrade_FR, test_MF @ upgrade_FR)
        train_MD, test_MD = self.features.train_MR, self.features.test_MR
        texts_DF = np.linalg.lstsq(train_MD, logits_MF, rcond=None)[0]
        directions_DR, values, _ = np.linalg.svd(texts_DF, full_matrices=False)
        seen_DR = directions_DR[:, values > NEGLIGIBLE * values[0]]
        yield "hidden features that texts see", Look(train_MD @ seen_DR, test_MD @ seen_DR)
        yield YARDSTICK, self.features

    def shipped(self) -> float:
        """Accuracy of the head of `head.kind: probes`."""
        fitted = fit_head(FIT, self.logits_VNF, self.labels_N, self.num_classes, FOLDS, self.seed)
        return score_logits(fitted.head(self.test_logits_MF), self.test_labels_M).accuracy


def metric_upgrade(logits_MF: Array) -> Array:
    """[F, R]: makes of logits points that are the image features up to a rotation.

    The logits' factors z b^T are features up to a linear map; of all metrics Q of the texts b in
    which b^T Q b = 1, the one next to a multiple of the identity (ridge regression with the kernel
    (b . b')^2). There is one only where the texts are more than R (R + 1) / 2.
    """
    _, values, components_RF = np.linalg.svd(logits_MF, full_matrices=False)
    kept = values > NEGLIGIBLE * values[0]
    texts_FR = components_RF[kept].T
    squares_F = (texts_FR**2).sum(axis=1)
    start = 1 / squares_F.mean()
    kernel_FF = (texts_FR @ texts_FR.T) ** 2
    ridge = RIDGE * np.trace(kernel_FF) / len(kernel_FF)
    weights_F = np.linalg.solve(kernel_FF + ridge * np.eye(len(kernel_FF)), 1 - start * squares_F)
    metric_RR = start * np.eye(texts_FR.shape[1]) + (texts_FR.T * weights_F) @ texts_FR
    spectrum, vectors = np.linalg.eigh(metric_RR)
    spectrum = np.maximum(spectrum, RIDGE * np.median(spectrum))
    upgrade: Array = texts_FR @ (vectors / np.sqrt(spectrum))
    return upgrade


def fit_and_test(look: Look, sight: Sight) -> tuple[float, float]:
    """Held-out loss of the best penalty, and the test accuracy of the head with it."""
    mean_R = look.train_MR.mean(axis=0)
    length = np.sqrt(((look.train_MR - mean_R) ** 2).sum(axis=1).mean())
    train_MR, test_MR = (look.train_MR - mean_R) / length, (look.test_MR - mean_R) / length
    # The head's parameters depend on the space by rotations only: the smaller one is faster.
    rotation_RR = np.linalg.svd(train_MR, full_matrices=False)[2].T
    train_MR, test_MR = train_MR @ rotation_RR, test_MR @ rotation_RR
    labels_M = np.tile(sight.labels_N, len(sight.logits_VNF))
    images_M = np.arange(len(labels_M)) % len(sight.labels_N)
    splits = StratifiedKFold(FOLDS, shuffle=True, random_state=sight.seed)
    losses = dict.fromkeys(INVERSE_PENALTIES, 0.0)
    for kept, held_out in splits.split(sight.labels_N, sight.labels_N):
        is_kept_M = np.isin(images_M, kept)
        for inverse_penalty in INVERSE_PENALTIES:
            head = _fit(train_MR[is_kept_M], labels_M[is_kept_M], inverse_penalty)
            final = log_softmax(head.decision_function(train_MR[held_out]), axis=1)
            truth = np.arange(len(held_out)), labels_M[held_out]
            losses[inverse_penalty] -= final[truth].sum() / len(sight.labels_N)
    best = min(losses, key=lambda inverse_penalty: losses[inverse_penalty])
    final_MC = _fit(train_MR, labels_M, best).decision_function(test_MR)
    return losses[best], score_logits(final_MC, sight.test_labels_M).accuracy


def _fit(train_MR: Array, labels_M: LabelArray, inverse_penalty: float) -> LogisticRegression:
    return LogisticRegression(C=inverse_penalty, max_iter=1000).fit(train_MR, labels_M)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hidden_gap", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--tasks", nargs="+", choices=("embedded", "digits"), default=["embedded"])
    options = parser.parse_args()
    commit_id = commit()
    torch.set_num_threads(1)
    threadpool_limits(1, user_api="blas")
    oracle = load_oracle(load_run_config(None, ["oracle.white_box=true"]).local_model)
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = task_settings(Path(folder))
        for task in options.tasks:
            for seed in options.seeds:
                words = [*settings[task], "oracle.white_box=true", f"seed={seed}"]
                runs += [{"task": task, "seed": seed, **run} for run in runs_of(oracle, words)]
                print(*((r["look"], r["accuracy"]) for r in runs if r["seed"] == seed), flush=True)
    rows = rows_of(runs)
    path = write_result("hidden_gap", commit_id, {"rows": rows, "runs": runs})
    table = Table("task", "what the head sees", "held-out loss", "accuracy", "under all features")
    for row in rows:
        cells = [f"{row[key][0]:.1f} ± {row[key][1]:.1f}" for key in ("accuracy", "gap")]
        table.add_row(row["task"], row["look"], str(row.get("held_out_loss", "")), *cells)
    Console(width=110).print(table)
    print(path)


def runs_of(oracle: ClipOracle, words: Sequence[str]) -> Iterator[dict[str, Any]]:
    """All heads of one draw."""
    sight = Sight.of(oracle, [*words, *METHODS["probes: 500 names"]])
    yield {"look": SHIPPED, "accuracy": sight.shipped()}
    for name, look in sight.looks():
        loss, tested = fit_and_test(look, sight)
        yield {"look": name, "held_out_loss": loss, "accuracy": tested}
    yield {"look": HIDDEN, "accuracy": hidden_probe(oracle, words)["accuracy"]}


def rows_of(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means with 95 % intervals; what is missing to all features, paired by seed."""
    rows = []
    for task, look in dict.fromkeys((run["task"], run["look"]) for run in runs):
        own, all_features = (
            {r["seed"]: r for r in runs if (r["task"], r["look"]) == (task, name)}
            for name in (look, YARDSTICK)
        )
        row = {
            "task": task,
            "look": look,
            "accuracy": interval([run["accuracy"] for run in own.values()]),
            "gap": interval([own[s]["accuracy"] - all_features[s]["accuracy"] for s in own]),
        }
        losses = [run["held_out_loss"] for run in own.values() if "held_out_loss" in run]
        rows.append(row | ({"held_out_loss": round(float(np.mean(losses)), 3)} if losses else {}))
    return rows


if __name__ == "__main__":
    main()
