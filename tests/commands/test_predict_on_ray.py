"""`craft-ray predict --replicas N`: the same labels from several copies of the model."""

from __future__ import annotations

from pathlib import Path

import pytest

from craft_ray.classifiers.artifact import Artifact
from craft_ray.classifiers.kinds import PromptClassifier
from craft_ray.commands import predict
from craft_ray.config.data import EmbeddedSource
from craft_ray.config.oracle import OracleConfig
from craft_ray.data.sources import load_dataset
from craft_ray.inference import predictor
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import ClassificationTask

pytestmark = pytest.mark.slow


def test_replicas_say_what_one_copy_says(
    on_shared_ray: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predictor, "IMAGES_AT_A_TIME", 4)
    dataset = load_dataset(EmbeddedSource())
    for number, item in enumerate(dataset.splits["test"][:30]):
        path = Path("photos", f"{number:02}.png")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(item.read())
    oracle = ClipOracle.load(OracleConfig())
    task = ClassificationTask(dataset.class_names)
    context = oracle.register_task(task).initial_context
    ids = oracle.describe().oracle_id, oracle.describe().weights_id
    Artifact(PromptClassifier(context, None), task, *ids, OracleConfig()).save(tmp_path / "best")
    assert predict.main(["best", "photos"]) == 0
    here = capsys.readouterr().out
    assert predict.main(["best", "photos", "--replicas", "2"]) == 0
    there = capsys.readouterr().out
    assert len(here.splitlines()) == 30
    assert [line.split("\t")[:2] for line in here.splitlines()] == [
        line.split("\t")[:2] for line in there.splitlines()
    ]
