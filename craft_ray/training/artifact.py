"""The deployable result of a run: arrays in safetensors and a description in JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from craft_ray.errors import ArtifactError
from craft_ray.files import read_arrays, read_json, write_arrays, write_json
from craft_ray.oracle.contract import (
    ClassificationTask,
    FloatArray,
    ImageHandle,
    Oracle,
)
from craft_ray.training.classifier import TunedClassifier

ARRAYS_FILE = "classifier.safetensors"
DESCRIPTION_FILE = "classifier.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Artifact:
    """A tuned classifier with what it must be used with."""

    classifier: TunedClassifier
    task: ClassificationTask
    oracle_id: str

    def save(self, folder: Path) -> None:
        """Write both files; the description goes last, so that a folder with it is complete."""
        folder.mkdir(parents=True, exist_ok=True)
        head = self.classifier.head or {}
        arrays = {
            "context": self.classifier.context_LE,
            **{f"head.{name}": weights for name, weights in head.items()},
        }
        write_arrays(folder / ARRAYS_FILE, arrays)
        write_json(
            folder / DESCRIPTION_FILE,
            {
                "format_version": FORMAT_VERSION,
                "oracle_id": self.oracle_id,
                "class_names": list(self.task.class_names),
                "template": self.task.template,
                "has_head": self.classifier.head is not None,
            },
        )

    @classmethod
    def load(cls, folder: Path) -> Artifact:
        """Read what `save` wrote.

        Raises:
            ArtifactError: a file is missing, broken or of another format version.
        """
        path = folder / DESCRIPTION_FILE
        document = read_json(path)
        if document.get("format_version") != FORMAT_VERSION:
            raise ArtifactError(f"{path}: format_version must be {FORMAT_VERSION}")
        arrays = read_arrays(folder / ARRAYS_FILE)
        head = {
            name.removeprefix("head."): array
            for name, array in arrays.items()
            if name.startswith("head.")
        }
        try:
            context = arrays["context"]
            task = ClassificationTask(tuple(document["class_names"]), str(document["template"]))
            if bool(head) != document["has_head"]:
                raise ArtifactError(f"{folder}: has_head must tell whether head arrays are stored")
            classifier = TunedClassifier(context, head or None)
            # A head that is incomplete or of another task is found here, not when it is needed.
            classifier.refine(np.zeros((1, len(task.class_names)), np.float32))
            return cls(classifier, task, str(document["oracle_id"]))
        except ArtifactError:
            raise
        except KeyError as error:
            raise ArtifactError(f"{folder}: must have {error}") from error
        except (TypeError, RuntimeError, ValueError) as error:
            raise ArtifactError(f"{folder}: parts must fit together, but: {error}") from error

    def predict(self, oracle: Oracle, images: ImageHandle) -> FloatArray:
        """Final logits [N, C] of registered images.

        Raises:
            ArtifactError: the oracle is not the one that this classifier was tuned for.
        """
        oracle_id = oracle.describe().oracle_id
        if oracle_id != self.oracle_id:
            raise ArtifactError(
                f"oracle_id: must be {self.oracle_id[:12]} as tuned, but the oracle is "
                f"{oracle_id[:12]}"
            )
        task = oracle.register_task(self.task)
        logits_KNC = oracle.predict(task, images, self.classifier.context_LE[None])
        return self.classifier.refine(logits_KNC[0])
