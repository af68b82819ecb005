"""What classifiers said of each labelled image, kept in a Parquet file: whoever wants to know more
than a score reads it there, and asks nothing again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from craft_ray.data.dataset import Item
from craft_ray.errors import ArtifactError
from craft_ray.files.remote import Place
from craft_ray.files.whole_files import write_whole
from craft_ray.method.softmax import softmax
from craft_ray.oracle.contract import FloatArray

if TYPE_CHECKING:
    import pyarrow

PREDICTIONS_FILE = "test_predictions.parquet"
"""In the folder of a run."""

IndexArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Said:
    """What one classifier said of N images.

    Attributes:
        said_N: the predicted class of each.
        sure_N: its probability; 0 where the logits are not finite.
        rank_N: the place of the true class when all are ordered by their probability; 1 where the
            prediction is right. At most k: right among the first k. What is not finite comes first.
    """

    said_N: IndexArray
    sure_N: npt.NDArray[np.float64]
    rank_N: IndexArray


@dataclass(frozen=True)
class Predictions:
    """What was said of the N images of a split, in its order.

    Attributes:
        images: what each image is called: its path, or file and row.
        labels_N: their true classes.
        zero_shot: said by the untouched classifier.
        tuned: said by the one that is returned; None if no trial has a result.
    """

    images: tuple[str, ...]
    labels_N: IndexArray
    zero_shot: Said
    tuned: Said | None

    def save(self, path: Place, class_names: Sequence[str]) -> None:
        """Write one row an image, complete or not at all.

        Args:
            path: of the file, on a disk or an object store.
            class_names: written beside the numbers of the classes.

        Raises:
            OSError, StorageError: it cannot be written.
        """
        import pyarrow
        import pyarrow.parquet

        names = pyarrow.array([_readable(name) for name in class_names])

        def named(labels_N: IndexArray) -> pyarrow.Array:
            # Plain text: of a dictionary array the writer leaves chance bytes in the file.
            return names.take(pyarrow.array(labels_N))

        columns = {
            "image": pyarrow.array([_readable(image) for image in self.images]),
            "label": self.labels_N,
            "class": named(self.labels_N),
        }
        for prefix, said in (("", self.tuned), ("zero_shot_", self.zero_shot)):
            if said is not None:
                columns |= {
                    f"{prefix}predicted_label": said.said_N,
                    f"{prefix}predicted_class": named(said.said_N),
                    f"{prefix}probability": said.sure_N,
                    f"{prefix}rank": said.rank_N,
                }
        buffer = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(pyarrow.table(columns), buffer)
        write_whole(path, buffer.getvalue().to_pybytes())

    @classmethod
    def load(cls, path: Place) -> Predictions:
        """Read what `save` wrote.

        Raises:
            ArtifactError: the file is missing or broken.
        """
        import pyarrow
        import pyarrow.parquet

        try:
            table = pyarrow.parquet.read_table(pyarrow.BufferReader(path.read_bytes()))
            has_tuned = "predicted_label" in table.column_names
            return cls(
                tuple(table["image"].to_pylist()),
                table["label"].to_numpy(),
                _said(table, "zero_shot_"),
                _said(table, "") if has_tuned else None,
            )
        except (OSError, KeyError, pyarrow.ArrowException) as error:
            raise ArtifactError(f"{path}: cannot be read: {error}") from error


def _readable(name: str) -> str:
    """A name that UTF-8 can write: that of a file need not be one."""
    return name.encode("utf-8", "replace").decode()


def _said(table: pyarrow.Table, prefix: str) -> Said:
    columns = ("predicted_label", "probability", "rank")
    return Said(*(table[f"{prefix}{column}"].to_numpy() for column in columns))


class PredictionLog:
    """Takes down what is said of images, block by block.

    Args:
        scored_classes: labels among which a prediction is chosen (see `Dataset`); None: all.
    """

    def __init__(self, scored_classes: Sequence[int] | None = None) -> None:
        self._scored = None if scored_classes is None else np.array(scored_classes, np.int64)
        self._images: list[str] = []
        self._labels: list[int] = []
        self._said: list[list[Said]] = []
        """Of each block, of each classifier."""

    def add(self, items: Sequence[Item], logits: Sequence[FloatArray]) -> None:
        """Take down the final logits [N, C] of each classifier for a block of N images."""
        self._images += [item.name for item in items]
        self._labels += [item.label for item in items]
        labels_N = np.array([item.label for item in items], np.int64)
        self._said.append([self._read(logits_NC, labels_N) for logits_NC in logits])

    def _read(self, logits_NC: FloatArray, labels_N: IndexArray) -> Said:
        if self._scored is not None:
            logits_NC = logits_NC[:, self._scored]
            labels_N = np.searchsorted(self._scored, labels_N)
        said_N = logits_NC.argmax(axis=1)
        with np.errstate(invalid="ignore"):  # what is not finite is sure of nothing
            sure_N = np.nan_to_num(softmax(logits_NC.astype(np.float64)).max(axis=1))
        own_N1 = np.take_along_axis(logits_NC, labels_N[:, None], axis=1)
        # NaN is not below anything. Of equal ones the first is said, and the others are behind it.
        behind_N = np.maximum(1 + (~(logits_NC <= own_N1)).sum(axis=1), 2)
        rank_N = np.where(said_N == labels_N, 1, behind_N)
        return Said(said_N if self._scored is None else self._scored[said_N], sure_N, rank_N)

    def predictions(self) -> Predictions:
        """Of all images so far. The first classifier must be zero-shot, a second the tuned one."""
        zero_shot, *others = (
            Said(
                np.concatenate([said.said_N for said in blocks]),
                np.concatenate([said.sure_N for said in blocks]),
                np.concatenate([said.rank_N for said in blocks]),
            )
            for blocks in zip(*self._said, strict=True)
        )
        tuned = others[0] if others else None
        labels_N = np.array(self._labels, np.int64)
        return Predictions(tuple(self._images), labels_N, zero_shot, tuned)
