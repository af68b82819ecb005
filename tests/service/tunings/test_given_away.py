"""An owner who limits what leaves the house limits classifiers, too."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import openai
import pytest
from openai import OpenAI
from starlette.testclient import TestClient

from craft_ray.classifiers.artifact import Artifact
from craft_ray.config.oracle import OracleConfig
from craft_ray.config.service import GivenAwayConfig
from craft_ray.service.tunings.classify import labels_of
from craft_ray.service.tunings.handing_out import zipped
from tests.classifiers.test_artifact import trained
from tests.service.tunings.test_openai_client import LINES
from tests.support.tuning_service import fake_service


def test_decimals_and_the_likeliest_classes() -> None:
    gives = GivenAwayConfig(kind="probabilities", decimals=2, top_k=2, scores=False)
    rows = np.array([[0.123456, 0.7, 0.176544]])
    (told,) = labels_of(("cat", "dog", "mouse"), rows, gives)
    assert told["label"] == "dog"
    assert told["probabilities"] == {"dog": 0.7, "mouse": 0.18}


def test_classes_that_may_not_be_asked_about_may_not_be_tuned(tmp_path: Path) -> None:
    service = fake_service(tmp_path, gives={"labels": ["cat", "horse"]})
    with TestClient(service.app(), base_url="http://service") as http:
        client = OpenAI(api_key="anna", base_url="http://service/v1", http_client=http)
        file = client.files.create(file=("x.jsonl", LINES), purpose="fine-tune")
        with pytest.raises(openai.BadRequestError, match="'dog' is not"):
            client.fine_tuning.jobs.create(model="service", training_file=file.id)
    service.records.close()


@pytest.mark.parametrize(
    ("oracle", "is_told"),
    [
        (OracleConfig(model="local-dir:/home/owner/model"), False),
        (OracleConfig(model="ViT-B-32", pretrained="/home/owner/weights.pt"), False),
        (OracleConfig(model="ViT-B-32", pretrained="openai"), True),
    ],
)
def test_where_the_owners_weights_are_is_not_handed_out(
    oracle: OracleConfig, is_told: bool, tmp_path: Path
) -> None:
    content = zipped(replace(trained(), oracle=oracle), "ftjob-1")
    assert b"/home/owner" not in content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert not any(b"/home/owner" in archive.read(name) for name in archive.namelist())
        archive.extractall(tmp_path)
    assert (Artifact.load(tmp_path / "ftjob-1").oracle == oracle) == is_told
