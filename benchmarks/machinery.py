"""What the machinery of a search costs beside its work: CPU seconds, processes, memory, silences.

    python -m benchmarks.machinery

On the embedded task, all processes of a command counted:

- the search of `tune_spaces/probes.yaml` with six and with twelve trials, against the same trials
  in one process without Ray, imports included on both sides: their ratio, and what a further trial
  costs beside its own arithmetic;
- how soon a trial begins after the one before it in its slot;
- the default search, as it is typed: when its first result is on the screen, and its end;
- the search of six again after it was killed: what taking it up costs;
- a search with a hundred trials of one query: the driver's CPU seconds a trial.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.process_tree import Cost, measure
from benchmarks.record import ROOT, commit, write_result
from craft_ray.jobs.tuned import read_tuned

PROBES = "tune_spaces/probes.yaml"
DRIVER = "craft_ray.tune"
ONE_QUERY = (
    PROBES,
    "trials=100",
    "head.contexts=0",
    "parameters.head.contexts=null",
    "parameters.head.context_std=null",
    "parameters.head.names={kind: int_uniform, low: 20, high: 400}",
    "first_trials=[]",
)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.machinery")
    parser.add_argument("--repeats", type=int, default=1, help="medians are taken of so many")
    options = parser.parse_args()
    commit_id = commit()
    with tempfile.TemporaryDirectory() as name:
        runs = [run_all(Path(name) / str(number)) for number in range(options.repeats)]
    rows = {key: statistics.median(run["figures"][key] for run in runs) for key in AIMS}
    table = Table("figure", "measured", "aim")
    for key, value in rows.items():
        table.add_row(key.replace("_", " "), f"{value:.2f}", f"<= {AIMS[key]:g}")
    Console(width=100).print(table)
    print(write_result("machinery", commit_id, {"figures": rows, "aims": AIMS, "runs": runs}))


AIMS = {
    "cpu_of_six_trials_over_one_process": 2.5,
    "cpu_s_of_a_further_trial_beside_its_arithmetic": 3.0,
    "s_from_a_trial_to_the_next_in_its_slot": 1.0,
    "s_to_the_first_result_of_the_default_search": 25.0,
    "s_of_the_default_search": 60.0,
    "peak_resident_mb": 4000.0,
    "peak_resident_mb_shared_once": 4000.0,
    "driver_cpu_s_a_trial_of_one_query": 1.0,
}


def run_all(folder: Path) -> dict[str, Any]:
    """Everything, once."""
    folder.mkdir()
    six, twelve = (search(folder, f"probes-{n}", PROBES, f"trials={n}") for n in (6, 12))
    alone_six, alone_twelve = (alone(folder, "probes-12", n) for n in (6, 12))
    resumed = search(folder, "probes-6", PROBES, "trials=7", "--resume")
    default = search(folder, "default")
    many = search(folder, "hundred", *ONE_QUERY)
    arithmetic = (alone_twelve.total_cpu_s - alone_six.total_cpu_s) / 6
    further = (twelve.total_cpu_s - six.total_cpu_s) / 6
    first = default.seconds_to("  trial ")
    assert first is not None
    commands = {
        "six probes": six,
        "twelve probes": twelve,
        "six alone": alone_six,
        "twelve alone": alone_twelve,
        "one more trial by --resume": resumed,
        "default": default,
        "hundred": many,
    }
    return {
        "figures": {
            "cpu_of_six_trials_over_one_process": six.total_cpu_s / alone_six.total_cpu_s,
            "cpu_s_of_a_further_trial_beside_its_arithmetic": further - arithmetic,
            "s_from_a_trial_to_the_next_in_its_slot": pause_between_trials(folder / "runs/hundred"),
            "s_to_the_first_result_of_the_default_search": first,
            "s_of_the_default_search": default.wall_s,
            "peak_resident_mb": default.peak_mb,
            "peak_resident_mb_shared_once": default.peak_shared_once_mb,
            "driver_cpu_s_a_trial_of_one_query": many.cpu_s[DRIVER] / 100,
        },
        "commands": {name: cost.as_dict() for name, cost in commands.items()},
        "screen_of_the_default_search": [
            f"{at_s:6.1f} {line.replace(str(folder), 'FOLDER')}" for at_s, line in default.lines
        ],
    }


def search(folder: Path, name: str, *words: str) -> Cost:
    """`python -m craft_ray.tune`."""
    return _python(folder, "craft_ray.tune", *words, f"name={name}", "mlflow.enabled=true")


def alone(folder: Path, name: str, trials: int) -> Cost:
    """The first trials of a search that has run, in one process."""
    return _python(folder, "benchmarks.one_process", f"runs/{name}", "--trials", str(trials))


def _python(folder: Path, module: str, *words: str) -> Cost:
    print(module, *words, flush=True)
    return measure([sys.executable, "-m", module, *words], folder, {"PYTHONPATH": str(ROOT)})


def pause_between_trials(run: Path) -> float:
    """Median seconds from the end of a trial to the beginning of the next one in its slot, as the
    workers' clocks have it: with two slots, trial n + 2 begins when the n-th has ended."""
    began, ended = [], []
    for path in (run / "trials").glob("*/result.json"):
        ended.append(path.stat().st_mtime)
        began.append(ended[-1] - read_tuned(path.parent).seconds)
    pairs = zip(sorted(began)[2:], sorted(ended), strict=False)
    return statistics.median(start - end for start, end in pairs)


if __name__ == "__main__":
    main()
