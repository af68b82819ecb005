"""What each way of being closed costs: the embedded oracle behind the contracts of endpoints.

    python -m benchmarks.closed_ways --seeds 1 2 3 --shots 1 4 16

The same model answers as different owners let it: with logits, with probabilities, whole or rounded
or for the best five labels only, with cosines, with features, or for 256 labels a request. What is
made of the answers is what craft-ray makes of an endpoint's. For each way: zero-shot, a linear head
on the task's own labels, a head on 500 more names (`probes`) or on features, and the one of them
that validation chooses. Test images are asked about at the end, for the table.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks.record import commit, write_result
from craft_ray.classifiers.examiner import Examiner
from craft_ray.classifiers.selection import Selected
from craft_ray.config.loading import load_run_config
from craft_ray.config.oracle import OracleConfig
from craft_ray.config.shipped import SPACES
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.softmax import softmax
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import (
    Answer,
    ClassificationTask,
    FloatArray,
    ImageHandle,
    Images,
    OracleDescription,
    TaskHandle,
)
from craft_ray.oracle.endpoints.scores import (
    LabelChunk,
    join_chunks,
    log_probabilities,
    log_probabilities_of_top_k,
)
from craft_ray.oracle.white_box import load_oracle
from craft_ray.task.preparation import load_data, prepare
from craft_ray.tuners.registry import make_trainer

LABELS = 256
"""In a request, as Jina's classifier takes them."""
BEST = 5
PRICE_OF_IMAGE = 0.0001
"""USD, of an image that is sent to Google's multimodalembedding@001.
Owners of scores publish no price a score: theirs are taken to charge the same for an image that is
sent with labels, and nothing for the labels."""

Way = Callable[[FloatArray], FloatArray]


def probabilities_of(logits_NC: FloatArray) -> FloatArray:
    """As a server tells them, float32."""
    probabilities_NC: FloatArray = softmax(logits_NC.astype(np.float64)).astype(np.float32)
    return probabilities_NC


def rounded(probabilities_NC: FloatArray) -> FloatArray:
    """To three decimals."""
    return probabilities_NC.round(3)


def best_only(probabilities_NC: FloatArray) -> FloatArray:
    """NaN in place of all but the best."""
    others = np.argsort(-probabilities_NC, axis=1, kind="stable")[:, BEST:]
    told: FloatArray = probabilities_NC.copy()
    np.put_along_axis(told, others, np.nan, axis=1)
    return told


def in_chunks(logits_NC: FloatArray, decimals: int | None) -> FloatArray:
    """Probabilities over 255 labels and the first, put together by it."""
    num_labels = logits_NC.shape[1]
    chunks = []
    for start in range(1, num_labels, LABELS - 1):
        labels = (0, *range(start, min(start + LABELS - 1, num_labels)))
        probabilities = probabilities_of(logits_NC[:, list(labels)])
        if decimals is not None:
            probabilities = probabilities.round(decimals)
        chunks.append(LabelChunk(labels, probabilities))
    return join_chunks(chunks, num_labels, decimals)


def of_probabilities(made: Way) -> Way:
    """What is made of the whole softmax."""
    return lambda logits_NC: made(probabilities_of(logits_NC))


WAYS: dict[str, Way] = {
    "logits": lambda logits_NC: logits_NC,
    "probabilities": of_probabilities(log_probabilities),
    "probabilities, three decimals": of_probabilities(lambda p: log_probabilities(rounded(p), 3)),
    "256 labels a request": lambda logits_NC: in_chunks(logits_NC, None),
    "256 labels, three decimals": lambda logits_NC: in_chunks(logits_NC, 3),
    "top five": of_probabilities(lambda p: log_probabilities_of_top_k(best_only(p))),
    "top five, three decimals": of_probabilities(
        lambda p: log_probabilities_of_top_k(best_only(rounded(p)), 3)
    ),
    "cosines": lambda logits_NC: logits_NC,
    "features": lambda logits_NC: logits_NC,
}
HEADS: dict[str, tuple[str, ...]] = {
    "linear": ("head={kind: linear}",),
    "probes": ("head.kind=probes",),
    "features": ("head={kind: features}",),
}


class ClosedOracle:
    """The oracle as an owner serves it; implements `Oracle` and, for features, `FeatureOracle`."""

    def __init__(self, oracle: ClipOracle, way: str) -> None:
        self._oracle = oracle
        self._answer = WAYS[way]
        description = oracle.describe()
        self._factor = 1.0 / description.logit_scale if way in ("cosines", "features") else 1.0
        assert description.logit_bias == 0
        self._description = replace(
            description, scores=False, expects=False, scale_is_known=self._factor == 1.0
        )
        if way == "features":
            self.embed_images = oracle.embed_images  # type: ignore[attr-defined]
            self.embed_texts = oracle.embed_texts  # type: ignore[attr-defined]

    def describe(self) -> OracleDescription:
        """Scores are not reduced there."""
        return self._description

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        """As the model."""
        return self._oracle.register_task(task)

    def register_images(self, images: Images, *, keep: bool = True) -> ImageHandle:
        """As the model."""
        return self._oracle.register_images(images, keep=keep)

    def predict(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        answer: Answer = "logits",
    ) -> FloatArray:
        """What is made of what the owner tells."""
        logits_KNC = self._oracle.predict(task, images, contexts_KLE, answer)
        made_KNC = np.stack([self._answer(logits_NC) for logits_NC in logits_KNC])
        return made_KNC * np.float32(self._factor)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.closed_ways", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 4, 16])
    options = parser.parse_args()
    commit_id = commit()
    torch.set_num_threads(1)
    threadpool_limits(1, user_api="blas")
    oracle = load_oracle(OracleConfig(features=True))
    runs = []
    for shots in options.shots:
        for seed in options.seeds:
            words = [f"seed={seed}", f"data.shots={shots}", "oracle.features=true"]
            for run in runs_of(oracle, words):
                runs.append({"shots": shots, "seed": seed, **run})
                print(runs[-1], flush=True)
        result = {"rows": rows(runs), "runs": runs}
        path = write_result("closed_ways", commit_id, result)
    print(path)


def runs_of(oracle: ClipOracle, words: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Every way, on the same images."""
    path = SPACES / "runs" / "probes.yaml"
    data = load_data(load_run_config(path, words))
    for way in WAYS:
        closed = ClosedOracle(oracle, way)
        driver = MeteredOracle(closed, QueryLedger(0))
        chosen = {}
        for head, changes in HEADS.items():
            if (head == "features") != (way == "features"):
                continue
            config = load_run_config(path, [*words, *changes])
            prepared = prepare(config, data, driver)
            ledger = QueryLedger(config.max_queries)
            metered = MeteredOracle(closed, ledger, logit_scale=prepared.logit_scale)
            trainer = make_trainer(metered, prepared, config)
            while not trainer.finished:
                trainer.run_generation()
            chosen[head] = (trainer.selected, ledger.spent)
        examiner = Examiner(driver, prepared, data)
        names = ["zero-shot", *chosen]
        tested = examiner.test(
            [examiner.zero_shot, *(selected.classifier for selected, _ in chosen.values())]
        )
        best = max(chosen, key=lambda head: rank_of(chosen[head][0]))
        num_labels = len(data.dataset.class_names) + (500 if best == "probes" else 0)
        requests = -(-(num_labels - 1) // (LABELS - 1)) if way.startswith("256") else 1
        accuracies = {n: score.accuracy for n, score in zip(names, tested, strict=True)}
        losses = {n: round(score.loss, 3) for n, score in zip(names, tested, strict=True)}
        yield {
            "way": way,
            "test_accuracy": {**accuracies, "chosen": accuracies[best]},
            "test_loss": {**losses, "chosen": losses[best]},
            "chosen": best,
            "requests_an_image": requests,
            "images_to_tune": requests * chosen[best][1].image_predictions,
        }


def rank_of(selected: Selected) -> tuple[float, float]:
    """By validation alone."""
    assert selected.validation is not None
    return selected.validation.accuracy, -selected.validation.loss


def rows(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard deviation over seeds, in percent, and the difference to logits by seed."""
    summary = []
    for shots in dict.fromkeys(run["shots"] for run in runs):
        of_logits = {r["seed"]: r for r in runs if r["shots"] == shots and r["way"] == "logits"}
        for way in WAYS:
            own = [run for run in runs if run["shots"] == shots and run["way"] == way]
            means = {
                name: [100 * run["test_accuracy"][name] for run in own]
                for name in own[0]["test_accuracy"]
            }
            lost = [100 * (accuracy_of(run) - accuracy_of(of_logits[run["seed"]])) for run in own]
            tuned = statistics.mean(run["images_to_tune"] for run in own)
            requests = statistics.mean(run["requests_an_image"] for run in own)
            summary.append(
                {
                    "shots": shots,
                    "way": way,
                    "accuracy": {name: spread(values) for name, values in means.items()},
                    "points_to_logits": spread(lost),
                    "loss": round(statistics.mean(run["test_loss"]["chosen"] for run in own), 3),
                    "usd_to_tune": round(tuned * PRICE_OF_IMAGE, 3),
                    "usd_of_1000_images": round(1000 * requests * PRICE_OF_IMAGE, 3),
                }
            )
    return summary


def accuracy_of(run: dict[str, Any]) -> float:
    """Of what validation has chosen."""
    return float(run["test_accuracy"]["chosen"])


def spread(values: Sequence[float]) -> list[float]:
    """Mean and standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return [round(statistics.mean(values), 1), round(deviation, 1)]


if __name__ == "__main__":
    main()
