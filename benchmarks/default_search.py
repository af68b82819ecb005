"""The whole of `python -m craft_ray.tune`, as it is typed, over seeds.

    python -m benchmarks.default_search --seeds 1 2 3 4 5

Six trials of a real search with Ray Tune on the embedded task; what validation selects is tested
once. Beside it the linear probe on the hidden features, of the same images (stored by
`benchmarks.sample_efficiency`), paired by seed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.accuracy_rows import HIDDEN, interval
from benchmarks.product import start
from benchmarks.record import commit, write_result
from benchmarks.sample_efficiency import earlier_runs
from craft_ray.files.whole_files import read_json

SEARCH_TIMEOUT_S = 1200.0


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.default_search")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    options = parser.parse_args()
    commit_id = commit()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in options.seeds:
            runs.append(search(seed, Path(folder)))
            print(runs[-1], flush=True)
    rows = summarise(runs)
    path = write_result("default_search", commit_id, {**rows, "runs": runs})
    table = Table("", "mean", "95 %")
    for name, (mean, width) in rows.items():
        table.add_row(name.replace("_", " "), f"{mean:.1f}", f"± {width:.1f}")
    Console(width=110).print(table)
    print(path)


def search(seed: int, folder: Path) -> dict[str, Any]:
    """One search.

    Raises:
        RuntimeError: it failed.
    """
    words = (f"seed={seed}", "mlflow.enabled=false")
    command = start("tune", f"seed-{seed}", words, folder)
    output = command.wait(SEARCH_TIMEOUT_S)
    if command.process.returncode != 0:
        raise RuntimeError(output)
    summary = read_json(command.summary)
    best, ledger = summary["best"], summary["ledger"]
    return {
        "seed": seed,
        "zero_shot": summary["zero_shot"]["test"]["accuracy"],
        "accuracy": best["test"]["accuracy"],
        "best": best["params"],
        "candidate_queries": ledger["candidate_queries"],
        "ledger": ledger,
    }


def summarise(runs: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """Means with 95 % intervals, in points."""
    hidden = {
        run["seed"]: run["accuracy"]
        for run in earlier_runs("sample_efficiency")
        if run["method"] == HIDDEN and run["task"] == "embedded"
    }
    return {
        "accuracy": interval([run["accuracy"] for run in runs]),
        "over_zero_shot": interval([run["accuracy"] - run["zero_shot"] for run in runs]),
        "over_the_hidden_probe": interval([run["accuracy"] - hidden[run["seed"]] for run in runs]),
    }


if __name__ == "__main__":
    main()
