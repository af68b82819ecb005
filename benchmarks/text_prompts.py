"""What words alone give on the embedded oracle: zero-shot, searched templates, probes, and both.

    python -m benchmarks.text_prompts --seeds 1 2 3 4 5

Every question is a text: contexts are those of a template and never numbers. Each row chooses by
validation; test images are asked about at the end, for the table. The search is one run of 1,000
queries, read at the marks: it would have been the same with less. Its floor draws the same frames
and words at random. `both` are probes under the template that the search has found.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from benchmarks.record import commit, write_result
from craft_ray.classifiers.classifier import TunedClassifier
from craft_ray.classifiers.examiner import Examiner
from craft_ray.config.loading import load_run_config
from craft_ray.config.optimizers import TextConfig
from craft_ray.config.run import RunConfig
from craft_ray.config.shipped import SPACES
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.white_box import load_oracle
from craft_ray.task.preparation import load_data, prepare
from craft_ray.tuners.registry import make_trainer
from craft_ray.tuners.text_prompt import TextPromptTrainer

MARKS = (100, 200, 400, 1000)


class RandomWords(TextPromptTrainer):
    """The floor: nothing is learnt."""

    def __init__(self, *words: Any) -> None:
        super().__init__(*words)
        optimizer = self._optimizer
        optimizer._likely = optimizer._first  # type: ignore[method-assign]


class Task:
    """Of one seed and number of shots."""

    def __init__(self, oracle: ClipOracle, words: Sequence[str]) -> None:
        self.words = words
        self.config = self.settings("text.yaml", f"max_queries={MARKS[-1]}")
        self.data = load_data(self.config)
        self.oracle = oracle
        self.driver = MeteredOracle(oracle, QueryLedger(0))

    def settings(self, file: str, *words: str) -> RunConfig:
        """Of a shipped run."""
        return load_run_config(SPACES / "runs" / file, [*words, *self.words])

    def search(self, *, random: bool) -> dict[int, TunedClassifier]:
        """What is chosen after so many queries."""
        prepared = prepare(self.config, self.data, self.driver)
        metered = MeteredOracle(self.oracle, QueryLedger(self.config.max_queries))
        text = self.config.optimizer
        assert isinstance(text, TextConfig)
        kind = RandomWords if random else TextPromptTrainer
        trainer = kind(metered, prepared, self.config, text)
        chosen = {}
        while not trainer.finished:
            trainer.run_generation()  # a template that was asked before costs no query
            if (queries := trainer.generation * self.config.optimizer.population) in MARKS:
                chosen[queries] = trainer.selected.classifier
        return chosen

    def probes(self, template: str) -> TunedClassifier:
        """500 names under a template."""
        config = self.settings("probes.yaml", f'data.template="{template}"')
        prepared = prepare(config, self.data, self.driver)
        metered = MeteredOracle(self.oracle, QueryLedger(config.max_queries))
        trainer = make_trainer(metered, prepared, config)
        while not trainer.finished:
            trainer.run_generation()
        return trainer.selected.classifier

    def test(self, classifiers: dict[str, TunedClassifier], template: str) -> dict[str, float]:
        """Accuracies on the test images, of what was tuned under a template."""
        config = self.settings("text.yaml", f'data.template="{template}"')
        prepared = prepare(config, self.data, self.driver)
        examiner = Examiner(self.driver, prepared, self.data)
        scores = examiner.test([examiner.zero_shot, *classifiers.values()])
        names = ["zero-shot", *classifiers]
        return {name: score.accuracy for name, score in zip(names, scores, strict=True)}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.text_prompts", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 4, 16])
    options = parser.parse_args()
    commit_id = commit()
    torch.set_num_threads(1)
    threadpool_limits(1, user_api="blas")
    oracle = load_oracle(load_run_config(None).local_model)
    runs = []
    for shots in options.shots:
        for seed in options.seeds:
            run = run_once(Task(oracle, [f"seed={seed}", f"data.shots={shots}"]))
            runs.append({"shots": shots, "seed": seed, **run})
            print(shots, seed, run, flush=True)
        result = {"marks": MARKS, "rows": rows(runs), "runs": runs}
        path = write_result("text_prompts", commit_id, result)
    print(path)


def run_once(task: Task) -> dict[str, Any]:
    """Every way, and the templates that were found."""
    template = task.config.data.template
    searched, drawn = task.search(random=False), task.search(random=True)
    found = {queries: each.template or template for queries, each in searched.items()}
    classifiers = {f"searched, {queries} queries": each for queries, each in searched.items()}
    classifiers |= {f"drawn, {queries} queries": each for queries, each in drawn.items()}
    classifiers["probes"] = task.probes(template)
    accuracies = task.test(classifiers, template)
    best = found[MARKS[-1]]
    accuracies["both"] = task.test({"both": task.probes(best)}, best)["both"]
    return {"templates": found, "test_accuracy": accuracies}


def rows(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard deviation over seeds, in percent."""
    summary = []
    for shots in dict.fromkeys(run["shots"] for run in runs):
        own = [run["test_accuracy"] for run in runs if run["shots"] == shots]
        for name in own[0]:
            values = [100 * accuracies[name] for accuracies in own]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            row = {"mean": round(statistics.mean(values), 1), "std": round(spread, 1)}
            summary.append({"shots": shots, "way": name, **row})
    return summary


if __name__ == "__main__":
    main()
