"""What a run might have stored, made up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from craft_ray.classifiers.predictions import Predictions, Said
from craft_ray.config.run import RunConfig
from craft_ray.config.space import SpaceConfig
from craft_ray.metering.ledger import Spending

SPACE = SpaceConfig.model_validate(
    {
        "name": "s",
        "base": {"max_queries": 400, "price_per_thousand_predictions": 2.0, "seed": 7},
        "parameters": {
            "head.learning_rate": {"kind": "log_uniform", "low": 1e-4, "high": 1e-1},
            "head.hidden": {"kind": "choice", "values": [64, 256]},
        },
    }
)


def score(accuracy: float) -> dict[str, float]:
    return {"accuracy": accuracy, "loss": 1.0, "calibration_error": 0.1}


def trial(number: int, accuracy: float | None, **changes: Any) -> dict[str, Any]:
    return {
        "number": number,
        "method": "CraFT",
        "status": "failed" if accuracy is None else "finished",
        "params": {"head.learning_rate": 10.0**-number, "head.hidden": 64 * number},
        "validation": None if accuracy is None else score(accuracy),
        "held_out": None,
        "objectives": None if accuracy is None else {"predictions_per_image": 3.0},
        "ledger": Spending(candidate_queries=400, search_predictions=5000).as_dict(),
        "seconds": 12.0,
        "error": None,
        **changes,
    }


def summary(num_test: int = 50, num_classes: int = 4) -> dict[str, Any]:
    """Of what a run and a search have in common."""
    ledger = Spending(candidate_queries=1200, search_predictions=123_000)
    return {
        "name": "run",
        "zero_shot": {"validation": score(0.5), "test": score(0.52)},
        "ledger": ledger.as_dict(),
        "cost": 246.0,
        "seconds": 321.0,
        "data": {
            "name": "pets",
            "num_train": 64,
            "num_validation": 40,
            "num_test": num_test,
            "num_classes": num_classes,
            "few_shot_manifest": "aa",
            "validation_manifest": "bb",
        },
        "oracle_id": "cc",
        "versions": {"python": "3.11"},
        "settings": RunConfig(seed=7).model_dump(mode="json"),
    }


def search(*trials: dict[str, Any], best: int | None = 1, **changes: Any) -> dict[str, Any]:
    document = {**summary(), "settings": SPACE.model_dump(mode="json"), **changes}
    chosen = next((each for each in trials if each["number"] == best), None)
    return {
        **document,
        "trials": list(trials),
        "importances": None,
        "best": chosen and {**chosen, "test": score(0.8)},
    }


def predictions(labels: Sequence[int], right: float, num_classes: int = 4) -> Predictions:
    """Zero-shot is right for the even labels, and the tuned classifier for a share of all."""
    labels_N = np.array(labels)
    others_N = (labels_N + 1) % num_classes
    sure_N = np.linspace(0.3, 1, len(labels))
    said_N = np.where(np.arange(len(labels)) < right * len(labels), labels_N, others_N)
    zero_shot_N = np.where(labels_N % 2 == 0, labels_N, others_N)
    names = tuple(f"{place}.png" for place in range(len(labels)))
    zero_shot, tuned = (
        Said(each_N, sure_N, np.where(each_N == labels_N, 1, 6)) for each_N in (zero_shot_N, said_N)
    )
    return Predictions(names, labels_N, zero_shot, tuned)
