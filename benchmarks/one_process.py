"""The trials of a search in one process without Ray: what its machinery is measured against.

    python -m benchmarks.one_process RUN_FOLDER --trials 6

Loads model and images, validates zero-shot, tunes with the settings of the first trials that the
search has run, and tests the best by validation: what the search has done, one after the other. As
there, trials share what they are answered.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from craft_ray.classifiers.examiner import Examiner
from craft_ray.classifiers.selection import Selected
from craft_ray.config.space import SpaceConfig
from craft_ray.files.whole_files import read_json
from craft_ray.jobs.run_folder import SUMMARY_FILE
from craft_ray.metering.answer_cache import AnswerCache
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.clip import ClipOracle
from craft_ray.search.sharing import shared_probes
from craft_ray.task.preparation import load_data, prepare
from craft_ray.tuners.registry import make_trainer


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.one_process")
    parser.add_argument("run_folder", type=Path)
    parser.add_argument("--trials", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    summary = read_json(options.run_folder / SUMMARY_FILE)
    space = SpaceConfig.model_validate(summary["settings"])
    data = load_data(space.base)
    oracle = ClipOracle.load(space.base.local_model)
    driver = MeteredOracle(oracle, QueryLedger(0))
    prepared = prepare(space.base, data, driver)
    examiner = Examiner(driver, prepared, data)
    prepared, _ = examiner.validate_zero_shot()
    selected = []
    with tempfile.TemporaryDirectory() as name:
        shared = shared_probes(space, prepared, Path(name))
        prepared = replace(prepared, shared_probes=shared)
        answers = AnswerCache(Path(name), space.base.answer_cache.max_mb * 2**20)
        for trial in summary["trials"][: options.trials]:
            config = space.resolve(trial["params"])
            metered = MeteredOracle(oracle, QueryLedger(config.max_queries), cache=answers)
            trainer = make_trainer(metered, prepared, config)
            while not trainer.finished:
                trainer.run_generation()
            selected.append(trainer.selected)
            spent = metered.ledger.spent
            print(
                f"{_validated(trainer.selected):.1%}: {spent.image_predictions:,} image "
                f"predictions, {spent.cached_predictions:,} known, {spent.text_encodes:,} prompts",
                flush=True,
            )
        answers.close()
    best = max(selected, key=_validated)
    print(examiner.test([examiner.zero_shot, best.classifier])[1])


def _validated(selected: Selected) -> float:
    assert selected.validation is not None
    return selected.validation.accuracy


if __name__ == "__main__":
    main()
