"""What a run leaves for people to look at. None of it is worth a run that was paid for: what cannot
be written is said, and the run goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from craft_ray.classifiers.predictions import PREDICTIONS_FILE, Predictions
from craft_ray.config.secrets import mask
from craft_ray.data.dataset import Dataset
from craft_ray.errors import StorageError, UserError, last_words
from craft_ray.files.remote import Place
from craft_ray.files.whole_files import write_whole

logger = logging.getLogger(__name__)

REPORT_FILE = "report.html"
MISTAKES_SHOWN = 24

Curve = Sequence[tuple[int, float]]
"""Queries and validation accuracy of a working state, from the start."""


@contextmanager
def dispensable(file: Place, say: Callable[[str], None]) -> Iterator[None]:
    """Around the writing of a file that a run can do without: an error is said in a line. One that
    is no trouble of a disk, a store or a file is our defect, and its traceback is logged.

    What is there already, of an earlier part of the run, goes first: if it stayed when the new one
    cannot be written, it would pass for it.
    """
    try:
        file.unlink(missing_ok=True)
        yield
    except Exception as error:
        is_trouble = isinstance(error, OSError | StorageError | UserError)
        logger.log(logging.DEBUG if is_trouble else logging.WARNING, file.name, exc_info=error)
        say(f"{file.name} could not be written, all else is there: {last_words(error)}")


def write_run_report(
    folder: Place,
    summary: Mapping[str, Any],
    curves: Mapping[int, Curve],
    dataset: Dataset,
) -> None:
    """Write the page of a run from what the run has stored; nothing is asked for it.

    Args:
        folder: of the run.
        summary: what stands in its `summary.json`.
        curves: see `RunPageFacts`.
        dataset: whose test images were asked about; some are shown.

    Raises:
        OSError, StorageError: it cannot be written.
        ArtifactError: the predictions that are there cannot be read.
    """
    from craft_ray.reports.run_page import RunPageFacts, run_page

    path = folder / PREDICTIONS_FILE
    predictions = Predictions.load(path) if path.is_file() else None
    facts = RunPageFacts(
        summary=summary,
        curves=curves,
        class_names=dataset.class_names,
        folder=mask(str(folder)),
        is_address=not isinstance(folder, Path),
        predictions=predictions,
        mistakes=[] if predictions is None else _pictures(predictions, dataset),
    )
    write_whole(folder / REPORT_FILE, run_page(facts).encode("utf-8", "replace"))


def _pictures(predictions: Predictions, dataset: Dataset) -> list[Any]:
    """The surest mistakes of the tuned classifier, or of zero-shot if there is no other."""
    from craft_ray.reports.sections import Picture
    from craft_ray.reports.thumbnails import thumbnail

    said = predictions.tuned or predictions.zero_shot
    wrong = np.flatnonzero(said.said_N != predictions.labels_N)
    surest = wrong[np.argsort(-said.sure_N[wrong], kind="stable")][:MISTAKES_SHOWN]
    names, items = dataset.class_names, dataset.splits["test"]
    return [
        Picture(
            thumbnail(items[place]),
            predictions.images[place],
            names[said.said_N[place]],
            float(said.sure_N[place]),
            names[predictions.labels_N[place]],
        )
        for place in surest.tolist()
    ]
