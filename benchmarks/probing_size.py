"""What does a probing run hold and keep for 16,000 images, four views of each and 1,000 classes?

    python -m benchmarks.probing_size

The answers are made up: features of 128 directions around the classes' means, so that the fit takes
minutes and not an hour; `heads_size` says what fits take. One training without names beside the
classes', in one process, with its record on the disk: the peak of the process's memory before the
head is fitted and at the end, the time of all answers without the fit, and the bytes of a
checkpoint and of the record, before and after the answers have served. Megabytes are 10^6 bytes.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from benchmarks.record import commit, write_result
from craft_ray.config.run import RunConfig
from craft_ray.metering.journal import JOURNAL_FILE
from craft_ray.metering.journal_sqlite import QueryId, QueryJournal
from craft_ray.metering.ledger import QueryLedger, Spending
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.heads import FittedHead, fit_head
from craft_ray.oracle.contract import (
    Answer,
    ClassificationTask,
    FloatArray,
    ImageHandle,
    Images,
    OracleDescription,
    TaskHandle,
)
from craft_ray.task.prepared import LabelledImages, PreparedTask, ViewBank
from craft_ray.tuners import questions
from craft_ray.tuners.registry import make_trainer
from craft_ray.tuners.state import save_state

NUM_VIEWS, NUM_CLASSES, RANK = 4, 1_000, 128
LOGIT_SCALE = 50.0
MB = 1e6


class MadeUpOracle:
    """Logits of features that are drawn anew for each image set."""

    def __init__(self, num_images: int) -> None:
        self.labels_N = torch.arange(num_images) % NUM_CLASSES
        self._centres_CR, self._texts_CR = self._drawn(0, NUM_CLASSES), self._drawn(1, NUM_CLASSES)

    def _drawn(self, seed: int, number: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return F.normalize(torch.randn(number, RANK, generator=generator), dim=1)

    def describe(self) -> OracleDescription:
        """A black box."""
        return OracleDescription("made up", 1, 77, 8, LOGIT_SCALE, np.zeros((1, 1), np.float32))

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        """One task."""
        return TaskHandle("task", len(task.class_names), np.zeros((1, 1), np.float32))

    def register_images(self, images: Images, *, keep: bool = True) -> ImageHandle:
        """None is sent."""
        raise NotImplementedError

    def predict(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        answer: Answer = "logits",
    ) -> FloatArray:
        """The digest of a set is its seed."""
        noise_NR = self._drawn(int(images.digest), images.num_images)
        features_NR = F.normalize(0.5 * self._centres_CR[self.labels_N] + noise_NR, dim=1)
        texts_CR = self._texts_CR + 0.3 * self._centres_CR
        logits: FloatArray = (LOGIT_SCALE * features_NR @ texts_CR.T)[None].numpy()
        return logits


class TimedJournal(QueryJournal):
    """Counts the CPU seconds of putting answers on record."""

    cpu_s = 0.0

    def record(
        self,
        query: QueryId,
        question: bytes,
        start: int,
        spending: Spending,
        answer: np.ndarray[Any, Any],
    ) -> bool:
        """As a journal does."""
        began_s = time.process_time()
        is_new = super().record(query, question, start, spending, answer)
        self.cpu_s += time.process_time() - began_s
        return is_new


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probing_size", description=__doc__)
    parser.add_argument("--images", type=int, default=16_000)
    options = parser.parse_args()
    commit_id = commit()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        row = measure(options.images, Path(folder))
    print(row)
    print(write_result("probing_size", commit_id, {"rows": [row]}))


def measure(num_images: int, folder: Path) -> dict[str, Any]:
    """One training, in this process."""
    config = RunConfig.model_validate(
        {
            "method": "head",
            "head": {"kind": "linear"},
            "data": {"views": NUM_VIEWS, "validation": "none"},
        }
    )
    oracle = MadeUpOracle(num_images)
    views = tuple(ImageHandle(str(10 + view), num_images) for view in range(NUM_VIEWS))
    names = tuple(f"class {number}" for number in range(NUM_CLASSES))
    template = "a photo of a {}."
    prepared = PreparedTask(
        task=oracle.register_task(ClassificationTask(names, template)),
        class_names=names,
        template=template,
        oracle_id="made up",
        fitness=LabelledImages(ImageHandle("2", num_images), oracle.labels_N.numpy()),
        views=ViewBank(views),
        validation=None,
    )
    imported = most_resident_mb()
    before_fit: dict[str, float] = {}

    def fit(*words: Any, **named: Any) -> FittedHead:
        before_fit.update(resident=most_resident_mb(), cpu_s=time.process_time() - began_s)
        return fit_head(*words, **named)

    with TimedJournal(folder / JOURNAL_FILE) as journal, patch.object(questions, "fit_head", fit):
        metered = MeteredOracle(oracle, QueryLedger(config.max_queries), journal)
        trainer = make_trainer(metered, prepared, config)
        began_s = time.process_time()
        trainer.run_generation()
        cpu_s = time.process_time() - began_s
        save_state(trainer.state_dict(), folder / "state")
        record_mb = size_mb(folder / JOURNAL_FILE)
        began_s = time.process_time()
        journal.forget_answers()
        journal.compact()
        forgetting_s = time.process_time() - began_s
    return {
        "images": num_images,
        "views": NUM_VIEWS,
        "logits": NUM_CLASSES,
        "answers_mb": round(4 * num_images * (1 + NUM_VIEWS) * NUM_CLASSES / MB, 1),
        "resident_after_imports_mb": round(imported),
        "most_resident_before_the_fit_mb": round(before_fit["resident"]),
        "most_resident_mb": round(most_resident_mb()),
        "asking_cpu_s": round(before_fit["cpu_s"], 1),
        "fit_cpu_s": round(cpu_s - before_fit["cpu_s"], 1),
        "checkpoint_mb": round(sum(size_mb(path) for path in (folder / "state").iterdir()), 3),
        "record_mb": round(record_mb, 1),
        "recording_cpu_s": round(journal.cpu_s, 2),
        "record_after_the_result_mb": round(size_mb(folder / JOURNAL_FILE), 3),
        "forgetting_cpu_s": round(forgetting_s, 2),
        "zero_shot_scale": trainer.findings and round(trainer.findings.zero_shot_scale, 6),
    }


def most_resident_mb() -> float:
    """Of this process, until now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB


def size_mb(path: Path) -> float:
    """Of a file."""
    return path.stat().st_size / MB


if __name__ == "__main__":
    main()
