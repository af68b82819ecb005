"""What features are worth beside names: heads on both, by the number of labelled images.

    python -m benchmarks.features                  # two tasks, seeds 1 to 3, a quarter of an hour

The embedded oracle in this process, on one thread. Every head has four views of each training
image, and is returned by the usual selection. Beside the test accuracies, two ways in which a head
may see features are compared on validation images: what is shipped was chosen by these.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmarks.accuracy_rows import interval
from benchmarks.record import commit, write_result
from benchmarks.sample_efficiency import hidden_probe, run_once, task_settings
from benchmarks.world import World
from craft_ray.config.heads import ProbesHeadConfig
from craft_ray.config.loading import load_run_config
from craft_ray.config.oracle import OracleConfig
from craft_ray.method.heads import fit_head
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import FloatArray
from craft_ray.oracle.white_box import load_oracle

FIT = ProbesHeadConfig().fit
SHOTS = (1, 2, 4, 8, 16)
HEADS = {
    "zero-shot": (),
    "linear": ("head.kind=linear",),
    "500 names": ("head.kind=probes", "head.names=500"),
    "features": ("head.kind=features",),
}
PROBE = "CLIP's linear probe"
CENTRED, STANDARDISED = "validation, centred", "validation, zero-shot and all standardised"
COMMON = ("method=head", "data.views=4", "oracle.features=true")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and store."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.features", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--shots", type=int, nargs="+", default=list(SHOTS))
    parser.add_argument("--tasks", nargs="+", default=["embedded", "digits"])
    options = parser.parse_args(arguments)
    commit_id, console = commit(), Console()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        settings = task_settings(Path(folder))
        for task in options.tasks:
            for row in measure(settings[task], options.shots, options.seeds):
                rows.append({"task": task, **row})
                console.print(rows[-1], highlight=False)
    summary = summarise(rows)
    console.print(table(summary))
    result = {"summary": summary, "rows": rows}
    console.print(f"stored in {write_result('features', commit_id, result)}")


def measure(
    settings: Sequence[str], shots: Sequence[int], seeds: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Test accuracies of one task, a row for each head, number of shots and seed."""
    oracle = load_oracle(OracleConfig(features=True))
    for number in shots:
        for seed in seeds:
            common = (*settings, *COMMON, f"data.shots={number}", f"seed={seed}")
            zero_shot = None
            for head, words in HEADS.items():
                if not words:
                    continue
                started = time.perf_counter()
                found = run_once(oracle, (*common, *words))
                seconds = round(time.perf_counter() - started, 1)
                row = {"shots": number, "seed": seed, "head": head, "seconds": seconds}
                yield {**row, **{key: found[key] for key in ("accuracy", "validation")}}
                zero_shot = found["zero_shot"]
            row = {"shots": number, "seed": seed, **compare_sights(oracle, common)}
            yield {**row, "head": "zero-shot", "accuracy": zero_shot}
            probe = hidden_probe(oracle, (*common, "head.kind=features"))
            yield {**row, "head": PROBE, "accuracy": probe["accuracy"]}


def compare_sights(oracle: ClipOracle, settings: Sequence[str]) -> dict[str, float]:
    """Validation accuracy of the head that sees centred features, and of one that sees zero-shot
    logits and features, standardised, as other heads see logits."""
    world = World(oracle, load_run_config(None, [*settings, "head.kind=features"]))
    sets = (*world.training_handles, world.validation.handle)
    context_1LE = world.task.initial_context[None]
    features = [world.driver.embed_images(each, purpose="evaluation") for each in sets]
    zero_shot = [world.predict(each, context_1LE)[0] for each in sets]
    both = [np.hstack(each) for each in zip(zero_shot, features, strict=True)]
    labels_N, num_classes = world.train.labels_N, world.task.num_classes
    rest = (labels_N, num_classes, 5, world.config.seed, None)
    seen = fit_head(FIT, np.stack(features[:-1]), *rest, np.stack(zero_shot[:-1]))
    seen_NC = seen.head(features[-1]) + seen.base_scale * zero_shot[-1]
    standardised = fit_head(FIT, np.stack(both[:-1]), *rest).head(both[-1])

    def accuracy(logits_NC: FloatArray) -> float:
        return float((logits_NC.argmax(axis=1) == world.validation.labels_N).mean())

    return {CENTRED: accuracy(seen_NC), STANDARDISED: accuracy(standardised)}


def summarise(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean over the seeds, and the difference of features to names, paired by seed."""
    summary = []
    for task, shots in dict.fromkeys((row["task"], row["shots"]) for row in rows):
        of_head = {
            head: [
                100 * row["accuracy"]
                for row in rows
                if (row["task"], row["shots"], row["head"]) == (task, shots, head)
            ]
            for head in (*HEADS, PROBE)
        }
        own = [
            row for row in rows if (row["task"], row["shots"]) == (task, shots) and CENTRED in row
        ]
        gain = np.subtract(of_head["features"], of_head["500 names"])
        _, half_width = interval([float(value) / 100 for value in gain])
        summary.append(
            {
                "task": task,
                "shots": shots,
                **{head: round(float(np.mean(values)), 1) for head, values in of_head.items()},
                "features - 500 names": round(float(gain.mean()), 1),
                "95 %": half_width,
                **{
                    sight: round(100 * float(np.mean([row[sight] for row in own])), 1)
                    for sight in (CENTRED, STANDARDISED)
                },
            }
        )
    return summary


def table(summary: Sequence[dict[str, Any]]) -> Table:
    """For people."""
    shown = Table("task", "shots", *HEADS, PROBE, "features - 500 names")
    for row in summary:
        gain = f"{row['features - 500 names']:+.1f} ± {row['95 %']:.1f}"
        shown.add_row(*(str(row[key]) for key in ("task", "shots", *HEADS, PROBE)), gain)
    return shown


if __name__ == "__main__":
    main()
