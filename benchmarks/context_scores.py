"""By which score should a search compare contexts, where an oracle has a fixed list of classes?

    python -m benchmarks.context_scores --seeds 1 2 3

What counts is how the deployed head on a context's logits does on images that nobody drew. Scores
know the drawn images only: the error of ridge regression by generalised cross-validation, in closed
form, which is what is shipped (`craft_ray.method.cross_validation`); the loss of Gaussian
discriminant analysis on images held out; and that of the deployed head itself on images held out,
which is no closed form. Contexts are random ones, and those that a search comes across. For each
set: the rank correlation of a score with the accuracy on the training images that were not drawn,
and that accuracy of the five contexts it likes best. No test image is looked at.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from benchmarks.accuracy_rows import interval
from benchmarks.record import commit, write_result
from benchmarks.world import World
from craft_ray.classifiers.score import score_logits
from craft_ray.config.loading import load_run_config
from craft_ray.method.heads import fit_head
from craft_ray.method.projection import PromptProjection
from craft_ray.method.reduction import LinearHeadError
from craft_ray.method.scoring import reduce_logits
from craft_ray.optimizers import make_optimizer
from craft_ray.oracle.contract import FloatArray
from craft_ray.oracle.white_box import load_oracle
from craft_ray.task.prepared import LabelArray

SETTINGS = (
    "data.shots=64",
    "data.views=4",
    "method=both",
    "head.kind=probes",
    "head.names=0",
    "optimizer.sigma=0.02",
)
SHOTS = (4, 16)
NUM_RANDOM, RANDOM_STD = 60, 0.05
GENERATIONS, OF_A_GENERATION = range(5, 15), 6
"""Of the search: those whose contexts are looked at, and how many of each."""
FOLDS, BEST = 5, 5


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.context_scores")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()
    commit_id = commit()
    torch.set_num_threads(1)
    config = load_run_config(None, SETTINGS)
    world = World(load_oracle(config.local_model), config)
    runs = []
    for seed in options.seeds:
        for shots in SHOTS:
            runs += list(compare(world, seed, shots))
            print(*runs[-2:], sep="\n", flush=True)
    rows = list(summarise(runs))
    print(*rows, write_result("context_scores", commit_id, {"rows": rows}), sep="\n")


def compare(world: World, seed: int, shots: int) -> Iterator[dict[str, Any]]:
    """Of one draw of the images: random contexts, and those of a search."""
    generator = np.random.default_rng(seed)
    labels_N = world.train.labels_N
    num_classes = world.task.num_classes
    members = [np.flatnonzero(labels_N == label) for label in range(num_classes)]
    drawn = np.concatenate([generator.permutation(each)[:shots] for each in members])
    error = LinearHeadError(
        labels_N[drawn], num_classes, np.zeros((len(drawn), 0), dtype=np.float32)
    )
    prompt = world.config.prompt
    projection = PromptProjection(world.task.initial_context, prompt, seed)
    optimizer = make_optimizer(world.config.soft_optimizer, prompt.intrinsic_dim, seed)
    shape = (NUM_RANDOM, prompt.intrinsic_dim)
    random = projection.contexts(RANDOM_STD * generator.normal(size=shape))
    found = []
    for generation in range(GENERATIONS.stop):
        contexts_PLE = projection.contexts(optimizer.ask())
        logits_PnC = world.predict(world.train.handle.part(drawn.tolist()), contexts_PLE)
        optimizer.tell(reduce_logits(logits_PnC, error))
        if generation in GENERATIONS:
            found.append(contexts_PLE[generator.permutation(len(contexts_PLE))[:OF_A_GENERATION]])
    for name, contexts_KLE in (("random", random), ("searched", np.concatenate(found))):
        logits_VKNC = np.stack([world.predict(h, contexts_KLE) for h in world.training_handles])
        ridge_K = reduce_logits(logits_VKNC[0][:, drawn], error)
        scored = [
            scores_of(logits_VNC, labels_N, drawn) for logits_VNC in logits_VKNC.swapaxes(0, 1)
        ]
        yield {"contexts": name, "shots": shots, "seed": seed, **judged(ridge_K, scored)}


def scores_of(
    logits_VNC: FloatArray, labels_N: LabelArray, drawn: LabelArray
) -> tuple[float, float, float]:
    """Of one context: accuracy on what was not drawn, loss of discriminant analysis held out, and
    that of the deployed head."""
    rest = np.setdiff1d(np.arange(len(labels_N)), drawn)
    num_classes = logits_VNC.shape[2]
    labels_n = labels_N[drawn]
    analysis = fit_head("gda", logits_VNC[:1, drawn], labels_n, num_classes, FOLDS, 0)
    head = fit_head("anchored", logits_VNC[:, drawn], labels_n, num_classes, FOLDS, 0)
    assert analysis.held_out_loss is not None
    assert head.held_out_loss is not None
    accuracy = score_logits(head.head(logits_VNC[0, rest]), labels_N[rest]).accuracy
    return accuracy, analysis.held_out_loss, head.held_out_loss


def judged(ridge_K: Any, scored: list[tuple[float, float, float]]) -> dict[str, Any]:
    """How each score ranks the contexts."""
    accuracy_K, analysis_K, head_K = np.array(scored).T
    result = {"mean": accuracy_K.mean()}
    for name, score_K in (("ridge", ridge_K), ("analysis", analysis_K), ("head", head_K)):
        best = np.argsort(score_K)[:BEST]
        result[f"rank_{name}"] = spearmanr(accuracy_K, -score_K).statistic
        result[f"best_{name}"] = accuracy_K[best].mean()
    return {name: round(float(value), 4) for name, value in result.items()}


def summarise(runs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Mean over seeds and 95 % interval: rank correlations, and accuracies in percent."""
    for contexts, shots in dict.fromkeys((run["contexts"], run["shots"]) for run in runs):
        own = [run for run in runs if (run["contexts"], run["shots"]) == (contexts, shots)]
        row: dict[str, Any] = {"contexts": contexts, "shots": shots, "seeds": len(own)}
        for name in own[0].keys() - {"contexts", "shots", "seed"}:
            values = [run[name] for run in own]
            is_rank = name.startswith("rank")
            row[name] = round(float(np.mean(values)), 2) if is_rank else interval(values)
        yield dict(sorted(row.items()))


if __name__ == "__main__":
    main()
