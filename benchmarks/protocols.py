"""What does the default give by the labelled images that it may use, for training and for choosing?

    python -m benchmarks.protocols --seeds 1 2 3 4 5

The whole training of `craft-ray train`, with one configuration for all tasks and shots, on the
embedded task and on scikit-learn's digits, by protocol:

- A: validation-free, the labelled images are shots x classes (`data.validation=none`);
- U: the same, and the training images that were not drawn, without their labels
  (`data.unlabelled=rest`);
- B: at most four images a class more to choose by (`data.validation=few_shot`);
- full: the whole validation split to choose by, 200 images of the embedded task, 359 of digits.

One seed draws the same training images in all. Tested once, at the end; intervals are 95 % over
seeds, differences to A are paired by seed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from benchmarks.accuracy_rows import interval
from benchmarks.methods import run_once
from benchmarks.record import commit, write_result
from benchmarks.sample_efficiency import PROBING, task_settings
from craft_ray.config.loading import load_run_config
from craft_ray.oracle.white_box import load_oracle

PROTOCOLS = {
    "A": ("data.validation=none",),
    "U": ("data.validation=none", "data.unlabelled=rest"),
    "B": ("data.validation=few_shot",),
    "full": ("data.validation=full",),
}
SHOTS = (1, 2, 4, 8, 16)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.protocols")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    options = parser.parse_args()
    commit_id = commit()
    torch.set_num_threads(1)  # as in a worker
    threadpool_limits(1, user_api="blas")
    oracle = load_oracle(load_run_config(None, PROBING).local_model)
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for task, settings in task_settings(Path(folder)).items():
            for seed in options.seeds:
                for shots in SHOTS:
                    drawn = (*PROBING, *settings, f"data.shots={shots}", f"seed={seed}")
                    for protocol, words in PROTOCOLS.items():
                        run = run_once(oracle, [*drawn, *words])
                        runs.append({"task": task, "shots": shots, "protocol": protocol, **run})
                print(task, seed, flush=True)
    rows = list(summarise(runs))
    print(*rows, write_result("protocols", commit_id, {"rows": rows}), sep="\n")


def summarise(runs: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Of each task, protocol and number of shots."""
    for task, protocol, shots in dict.fromkeys(
        (run["task"], run["protocol"], run["shots"]) for run in sorted(runs, key=_place)
    ):
        own = _of(runs, task, shots, protocol)
        first = _of(runs, task, shots, "A")
        gains = [own[seed]["test_accuracy"] - first[seed]["test_accuracy"] for seed in own]
        yield {
            "task": task,
            "protocol": protocol,
            "shots": shots,
            "accuracy": interval([run["test_accuracy"] for run in own.values()]),
            "over_A": interval(gains),
            "zero_shot": round(100 * own[min(own)]["zero_shot_test_accuracy"], 1),
            "below_zero_shot": sum(
                run["test_accuracy"] < run["zero_shot_test_accuracy"] for run in own.values()
            ),
            "runs": len(own),
        }


def _place(run: dict[str, Any]) -> tuple[bool, int, int]:
    return run["task"] != "embedded", list(PROTOCOLS).index(run["protocol"]), run["shots"]


def _of(
    runs: Sequence[dict[str, Any]], task: str, shots: int, protocol: str
) -> dict[int, dict[str, Any]]:
    """By seed."""
    wanted = (task, shots, protocol)
    return {r["seed"]: r for r in runs if (r["task"], r["shots"], r["protocol"]) == wanted}


if __name__ == "__main__":
    main()
