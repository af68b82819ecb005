"""The deployable result of a run: arrays in safetensors, a description in JSON, and a card."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import ValidationError

from craft_ray.classifiers.about import About
from craft_ray.classifiers.card import model_card
from craft_ray.classifiers.classifier import TunedClassifier
from craft_ray.classifiers.earlier import with_earlier_preprocessing
from craft_ray.classifiers.kinds import restore_classifier
from craft_ray.classifiers.stored import StoredDescription, check_arrays
from craft_ray.config.oracle import AnyOracleConfig
from craft_ray.config.problems import describe_problems
from craft_ray.data.decoding import AS_STORED, Decoding
from craft_ray.errors import ArtifactError
from craft_ray.files.remote import Place
from craft_ray.files.whole_files import (
    read_signed_pair,
    sha256_of_values,
    write_signed_pair,
    write_text,
)
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.contract import (
    ClassificationTask,
    FloatArray,
    ImageHandle,
    Oracle,
    OracleDescription,
)
from craft_ray.oracle.contract_laws import check_features

RESULT_FOLDER = "best"
"""Of a run: where its classifier is stored."""
ARRAYS_FILE = "classifier.safetensors"
DESCRIPTION_FILE = "classifier.json"
CARD_FILE = "README.md"
EXPORTED_ARRAYS_FILE, EXPORTED_FILE = "model.safetensors", "config.json"
"""What hubs of models know these two by."""
HUB_FIELDS = ("model_type", "id2label", "label2id")
"""Of an exported description, for hubs; nobody here reads them."""
FORMAT_VERSION = 3


@dataclass(frozen=True)
class Artifact:
    """A tuned classifier with what it must be used with."""

    classifier: TunedClassifier
    task: ClassificationTask
    oracle_id: str
    weights_id: str = ""
    """Of the oracle that it was tuned for (`OracleDescription`)."""
    oracle: AnyOracleConfig | None = None
    """How that oracle is loaded, so that the classifier can be used from its folder alone."""
    about: About | None = None
    """How it was made, and how good it is."""
    logit_scale: float = 1.0
    """What the oracle's predictions are multiplied by, where it answers with cosines."""
    decoding: Decoding = AS_STORED
    """How image files became what it was tuned on: new images are decoded in the same way."""

    def save(self, folder: Place) -> None:
        """Write the card, then both files with their checksums: a folder with the description is
        complete."""
        arrays = self.classifier.arrays()
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / CARD_FILE, self.card(folder.name))
        path = folder / DESCRIPTION_FILE
        write_signed_pair(folder / ARRAYS_FILE, arrays, path, self.description())

    def export(self, folder: Place) -> None:
        """As `save`, under the names and with the fields that hubs of models look for; `load` reads
        it."""
        names = self.task.class_names
        labels = {
            "model_type": "craft-ray",
            "id2label": {str(number): name for number, name in enumerate(names)},
            "label2id": {name: number for number, name in enumerate(names)},
        }
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / CARD_FILE, self.card(folder.name))
        paths = folder / EXPORTED_ARRAYS_FILE, folder / EXPORTED_FILE
        values = {**labels, **self.description()}
        write_signed_pair(paths[0], self.classifier.arrays(), paths[1], values)

    def card(self, folder: str) -> str:
        """Of the classifier in a folder of this name, in Markdown."""
        return model_card(
            folder,
            self.task.class_names,
            self.template,
            self.classifier.kind,
            self.classifier.predictions_per_image,
            self.weights_id,
            self.oracle,
            self.about,
            self.decoding,
            self.classifier.prompts,
        )

    @property
    def template(self) -> str:
        """Around a class name: the task's, or what a search over text has found."""
        return self.classifier.template or self.task.template

    def description(self) -> dict[str, Any]:
        """What `load` reads beside the arrays, as JSON can hold it."""
        description = {
            "format_version": FORMAT_VERSION,
            "oracle_id": self.oracle_id,
            "weights_id": self.weights_id,
            "class_names": list(self.task.class_names),
            "template": self.template,
            "kind": self.classifier.kind,
            "extra_names": list(self.classifier.extra_names),
            "oracle": self.oracle and self.oracle.model_dump(mode="json"),
            "about": self.about and self.about.model_dump(mode="json"),
            "logit_scale": self.logit_scale,
        }
        # Left out where nothing is new, so that an old classifier keeps its content address.
        if self.decoding != AS_STORED:
            description["decoding"] = asdict(self.decoding)
        if self.classifier.prompts:
            description["prompts"] = list(self.classifier.prompts)
        return description

    @property
    def content_id(self) -> str:
        """Content address of all that decides a prediction, and of how the model is loaded; not of
        what is said about it."""
        decisive = {key: value for key, value in self.description().items() if key != "about"}
        digest = hashlib.sha256(sha256_of_values(decisive).encode())
        for name, array in sorted(self.classifier.arrays().items()):
            digest.update(f"{name} {array.shape} ".encode() + array.tobytes())
        return digest.hexdigest()

    @classmethod
    def load(cls, folder: Place) -> Artifact:
        """Read what `save` or `export` wrote.

        Raises:
            ArtifactError: a file is missing, broken, changed, of another format version, or its
                content cannot be that of a classifier.
        """
        path = description_in(folder) or folder / DESCRIPTION_FILE
        is_exported = path.name == EXPORTED_FILE
        arrays_path = folder / (EXPORTED_ARRAYS_FILE if is_exported else ARRAYS_FILE)
        arrays, document = read_signed_pair(arrays_path, path, FORMAT_VERSION)
        for name in HUB_FIELDS:
            document.pop(name, None)
        document = with_earlier_preprocessing(document)
        try:
            description = StoredDescription.model_validate(document)
        except ValidationError as error:
            raise ArtifactError(f"{path}: {'; '.join(describe_problems(error))}") from error
        check_arrays(arrays, description, arrays_path)
        classifier = restore_classifier(
            description.kind,
            arrays,
            description.extra_names,
            description.template,
            description.prompts,
        )
        task = ClassificationTask(description.class_names, description.template)
        ids = description.oracle_id, description.weights_id
        scale = description.logit_scale
        decoding = description.decoding
        return cls(classifier, task, *ids, description.oracle, description.about, scale, decoding)

    def is_for_weights_of(self, oracle: OracleDescription) -> bool:
        """Whether it was tuned for this oracle, or for the same weights in another precision."""
        same_weights = self.weights_id != "" and self.weights_id == oracle.weights_id
        return same_weights or self.oracle_id == oracle.oracle_id

    def check_oracle(self, description: OracleDescription, *, any_precision: bool = False) -> None:
        """Raise ArtifactError unless it was tuned for this oracle (see `predict`); OracleError if
        this one does not give the features that it needs."""
        if self.classifier.kind == "features":
            check_features(description)
        is_same = description.oracle_id == self.oracle_id
        if not is_same and not (any_precision and self.is_for_weights_of(description)):
            remedy = (
                "; its weights are the same: any_precision=True accepts it, and labelled images "
                "tell how good it is there"
            )
            others = self.about.other_images(description) if self.about else ""
            raise ArtifactError(
                f"oracle_id: must be {self.oracle_id[:12]} as tuned, but the oracle is "
                f"{description.oracle_id[:12]}"
                + (remedy if self.is_for_weights_of(description) else "")
                + (f"; {others}" if others else "")
            )

    def predict(
        self, oracle: Oracle, images: ImageHandle, *, any_precision: bool = False
    ) -> FloatArray:
        """Final logits [N, C] of registered images.

        Args:
            oracle: answers.
            images: registered with it.
            any_precision: also of an oracle that has the same weights in another precision, such
                as fp32 on a laptop after bf16 on a GPU. How good it is there, the caller finds out
                on images with labels (`craft_ray.classifiers.score.score_logits`).

        Raises:
            ArtifactError: the oracle is not the one that this classifier was tuned for.
            OracleError: it does not give the features that this classifier needs.
        """
        self.check_oracle(oracle.describe(), any_precision=any_precision)
        # Nobody counts here: whoever deploys it has no budget.
        client = MeteredOracle(oracle, QueryLedger(0), logit_scale=self.logit_scale)
        return self.classifier.predict(client, self.task, images)


def description_in(folder: Place) -> Place | None:
    """The file that describes the classifier which `Artifact.save` or `export` has written there;
    None if there is none."""
    if (folder / DESCRIPTION_FILE).is_file():
        return folder / DESCRIPTION_FILE
    names = EXPORTED_FILE, EXPORTED_ARRAYS_FILE
    is_exported = all((folder / name).is_file() for name in names)
    return folder / EXPORTED_FILE if is_exported else None
