"""The dialect `hf_zero_shot` against the pipeline of `transformers` itself, with a small CLIP
(softmax) and a small SigLIP (sigmoid)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from craft_ray.oracle.endpoints.adapter import requests_of
from craft_ray.oracle.endpoints.capabilities import Limits, Served
from craft_ray.oracle.endpoints.hf_zero_shot import HFZeroShot
from craft_ray.oracle.endpoints.wire import AnswerError, FloatArray, ImageFile, Question
from tests.support.foreign_environment import python_or_skip, run_program
from tests.support.foreign_server import foreign_server
from tests.support.images import encoded, noise
from tests.support.infinity_server import INFINITY
from tests.support.plain_client import PlainClient, plain_client

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),  # the first time, its environment is built
    pytest.mark.nightly(
        "craft_ray/oracle",
        "tests/oracle/endpoints",
        "tests/support/foreign_environment.py",
        "tests/support/zero_shot_app.py",
    ),
]

SERVED: dict[str, Served] = {"clip": "probabilities", "siglip": "sigmoid"}
TEXTS = ("a photo of a cat.", "the dog", "ein Käfer, 猫", "x", "a phone", "zebra", "two of them")
IMAGES = (
    ImageFile(encoded(noise(60, 41)), "0.png"),
    ImageFile(encoded(noise(50, 70, seed=1), "JPEG"), "1.jpg"),
    ImageFile(encoded(noise(50, 50, seed=2).convert("L")), "2.png"),
)


@dataclass(frozen=True)
class Pipeline:
    """A served model.

    Attributes:
        logits: of `IMAGES` with `TEXTS`, without server and pipeline.
    """

    kind: str
    client: PlainClient
    logits: FloatArray

    def adapter(self, **limits: int) -> HFZeroShot:
        return HFZeroShot(sigmoid=self.kind == "siglip", limits=Limits(**limits))

    def ask(self, texts: tuple[str, ...] = TEXTS, **limits: int) -> FloatArray:
        question = Question(IMAGES, texts)
        return self.client.ask(self.adapter(**limits), question, SERVED[self.kind])

    def expected(self) -> FloatArray:
        """What the answers are turned into."""
        if self.kind == "siglip":
            return self.logits
        wide = self.logits.astype(np.float64)
        shifted = wide - wide.max(axis=1, keepdims=True)
        logs: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return logs


@pytest.fixture(scope="module", params=["clip", "siglip"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    python = python_or_skip(INFINITY)
    kind: str = request.param
    folder = tmp_path_factory.mktemp(kind)
    model = folder / "model"
    run_program(python, "tiny_clip_folder.py", kind, str(model))
    (folder / "images").mkdir()
    for image in IMAGES:
        (folder / "images" / image.name).write_bytes(image.data)
    (folder / "texts.json").write_text(json.dumps(TEXTS))
    run_program(python, "zero_shot_scores.py", str(model), str(folder))
    program = str(Path(run_program.__code__.co_filename).with_name("zero_shot_app.py"))
    with (
        foreign_server(
            lambda port: [str(python), program, str(model), str(port)],
            folder / "server.log",
            {"HF_HUB_OFFLINE": "1"},
        ) as url,
        plain_client(url) as client,
    ):
        yield Pipeline(kind, client, np.load(folder / "logits.npy"))


def test_scores_are_those_of_the_model(served: Pipeline) -> None:
    scores = served.ask()
    assert np.ptp(scores, axis=1).min() > 0.01  # texts are told apart
    np.testing.assert_allclose(scores, served.expected(), atol=2e-5)


def test_labels_may_be_sent_in_any_order(served: Pipeline) -> None:
    np.testing.assert_allclose(served.ask(TEXTS[::-1])[:, ::-1], served.ask(), atol=1e-5)


def test_chunks_of_labels_are_as_one_request(served: Pipeline) -> None:
    whole = served.ask()
    assert len(served.client.answers) == len(IMAGES)
    chunks = served.ask(labels=3)
    assert len(served.client.answers) == 3 * len(IMAGES)
    np.testing.assert_allclose(chunks, whole, atol=1e-5)


def test_what_goes_wrong_is_final_and_not_billed(served: Pipeline) -> None:
    adapter = served.adapter()
    broken = ImageFile(IMAGES[0].data[:8] + b"nothing more", "broken.png")
    (request,) = requests_of(adapter, Question((broken,), TEXTS))
    verdict = served.client.verdict(adapter, request)
    assert (verdict.action, verdict.billed) == ("never", "no")
    assert verdict.message.startswith("status 400")


def test_scores_of_the_other_kind_are_noticed(served: Pipeline) -> None:
    """`oracle.options.sigmoid` is missing: the scores do not add up to 1."""
    if served.kind == "clip":
        pytest.skip("softmax scores could be sigmoid ones")
    with pytest.raises(AnswerError, match=r"oracle\.options\.sigmoid"):
        served.client.ask(HFZeroShot(), Question(IMAGES, TEXTS), "probabilities")
