"""A stored classifier says what it is: to programs in its description, to people in its card."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from craft_ray.classifiers.about import SENT_AS_FILE, About, Measured
from craft_ray.classifiers.artifact import CARD_FILE, DESCRIPTION_FILE, Artifact
from craft_ray.classifiers.score import Score
from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.oracle import OracleConfig
from craft_ray.errors import ArtifactError
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.oracle.origin import origin_of
from tests.classifiers.test_artifact import trained
from tests.support.artifacts import edit_description

ORACLE = OracleConfig(model="ViT-B-32", pretrained="laion2b_s34b_b79k", precision="bf16")
ABOUT = About(
    created="2026-01-02T03:04:05+00:00",
    run="pets-1",
    seed=7,
    method="probes",
    data="pets",
    num_train=32,
    source="hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    revision="abc123",
    computed_by="cpu, torch 2.13",
    image_size=224,
    image_mean=(0.5, 0.25, 0.125),
    image_std=(0.3, 0.2, 0.1),
    zero_shot_validation=Measured.of(Score(0.5, 1.0, 0.1), 20),
    validation=Measured.of(Score(0.75, float("nan"), float("nan")), 20),
    zero_shot_test=Measured.of(Score(0.4, 1.0, 0.1), 100),
    test=Measured.of(Score(0.8, 0.5, 0.0625), 100),
    candidate_queries=1234,
    image_predictions=56789,
    cost=14.2,
    price_per_thousand_predictions=0.25,
    versions={"craft_ray": "0.1.0"},
    commit="0123abcd-dirty",
)


def described(**changes: Any) -> Artifact:
    return replace(trained(), weights_id="w" * 64, oracle=ORACLE, about=ABOUT, **changes)


def test_all_that_was_said_of_it_is_read_again(tmp_path: Path) -> None:
    described().save(tmp_path / "best")
    loaded = Artifact.load(tmp_path / "best")
    assert loaded.about == ABOUT
    assert loaded.about.validation is not None
    assert loaded.about.validation.loss is None  # it was not finite, which JSON does not know


def test_the_card_has_a_head_that_hubs_read_and_says_all_of_it(tmp_path: Path) -> None:
    described().save(tmp_path / "best")
    text = (tmp_path / "best" / CARD_FILE).read_text()
    _, head, body = re.split(r"^---$", text, flags=re.MULTILINE)
    fields = yaml.safe_load(head)
    assert "license" not in fields  # the owner's to say
    assert fields["base_model"] == "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
    (result,) = fields["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "accuracy", "value": 0.8}]
    for said in (
        'CraftClassifier.load("best")',
        "craft-ray predict best photos/",
        "| tuned, test | 80.0% | 71.1% to 86.7% | 100 | 0.062 |",
        "| zero-shot, validation | 50.0% |",
        "precision: bf16",
        "revision: abc123",
        "image size: 224",
        "mean 0.5, 0.25, 0.125; standard deviation 0.3, 0.2, 0.1",
        "seed: 7",
        "candidate queries: 1,234",
        "cost: 14.20 (at 0.25 for 1,000 predictions)",
        "0123abcd-dirty",
        "## Limits",
    ):
        assert said in body
    assert "license" in head  # as a comment


ENDPOINT = EndpointConfig.model_validate(
    {
        "kind": "http",
        "dialect": "infinity",
        "url": "https://host.example/v1",
        "model": "clip",
        "api_key_env": "MY_KEY",
    }
)


def test_the_card_of_an_endpoint_speaks_of_no_weights(tmp_path: Path) -> None:
    about = ABOUT.model_copy(
        update={
            "source": origin_of(ENDPOINT).source,
            "view": SENT_AS_FILE,
            "cost": 0.0299,
            "currency": "EUR",
            "price_per_thousand_predictions": None,
        }
    )
    replace(described(), oracle=ENDPOINT, about=about).save(tmp_path / "best")
    text = (tmp_path / "best" / CARD_FILE).read_text()
    for said in (
        "The environment variable `MY_KEY` must have its key",
        "`--set oracle.url=URL`",
        "- endpoint: https://host.example/v1\n- dialect: infinity",
        "view of an image: sent as its own file",
        "cost: 0.0299 EUR\n",
        "may change the model behind it",
    ):
        assert said in text
    assert not re.search("weights|pretrained|precision|image size", text)


def test_a_card_without_what_is_not_known_still_says_how_to_load_it(tmp_path: Path) -> None:
    trained().save(tmp_path / "mine")
    text = (tmp_path / "mine" / CARD_FILE).read_text()
    assert 'CraftClassifier.load("mine", oracle=client)' in text
    assert "Scores" not in text
    assert "not tested" in text
    assert not re.search(r"None|: \n", text)


def test_names_of_classes_are_text_in_the_card(tmp_path: Path) -> None:
    names = ("<script>alert(1)</script>", "[a](javascript:x)", "a_b*c*", "| d |")
    task = ClassificationTask(names, trained().task.template)
    described(task=task).save(tmp_path)
    text = (tmp_path / CARD_FILE).read_text()
    assert "<script>" not in text
    assert r"\[a\](javascript:x)" in text


def test_code_in_the_card_is_as_it_is_typed(tmp_path: Path) -> None:
    oracle = OracleConfig(model="coca_ViT-B-32", pretrained="mscoco_finetuned_laion2b_s13b_b90k")
    about = ABOUT.model_copy(update={"source": ""})
    artifact = replace(described(), oracle=oracle, about=about)
    text = artifact.card("my_flowers-1")
    assert 'CraftClassifier.load("my_flowers-1")' in text
    assert "craft-ray predict my_flowers-1 photos/" in text
    assert "coca_ViT-B-32" in yaml.safe_load(text.split("---\n")[1])["tags"]
    assert "`" not in text.replace("```", "").replace("`craft-ray evaluate`", "").replace(
        "`--set oracle.pretrained=FILE`", ""
    ).replace("`oracle_settings={'pretrained': 'FILE'}`", "")
    for name in ("", "my flowers", '");import os;("', "a\n```\n# b", "$(reboot)", "-x"):
        assert 'CraftClassifier.load("FOLDER")' in artifact.card(name)


def test_names_that_are_not_utf8_or_of_several_lines_do_no_harm(tmp_path: Path) -> None:
    strange = os.fsdecode(b"caf\xe9")
    about = ABOUT.model_copy(update={"data": strange, "run": "a\n\n# b &lt;"})
    replace(described(), about=about).export(tmp_path / strange)
    text = (tmp_path / strange / CARD_FILE).read_text()
    assert "caf?" in text
    assert "run: a \\# b \\&lt;" in text


def test_no_folder_of_the_machine_is_in_the_card(tmp_path: Path) -> None:
    weights = tmp_path / "somebody" / "weights.pt"
    oracle = OracleConfig(model="ViT-B-32", pretrained=str(weights))
    about = ABOUT.model_copy(update={"source": origin_of(oracle).source})
    replace(described(), oracle=oracle, about=about).save(tmp_path / "best")
    text = (tmp_path / "best" / CARD_FILE).read_text()
    assert "weights.pt" in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize("missing", [("about",), ("about", "oracle", "weights_id")])
def test_what_earlier_versions_stored_is_read(tmp_path: Path, missing: tuple[str, ...]) -> None:
    described().save(tmp_path)
    (tmp_path / CARD_FILE).unlink()

    def forget(document: dict[str, Any]) -> None:
        for name in missing:
            del document[name]

    edit_description(tmp_path, forget)
    loaded = Artifact.load(tmp_path)
    assert loaded.about is None
    assert (loaded.oracle is None) == ("oracle" in missing)
    assert "about" not in json.loads((tmp_path / DESCRIPTION_FILE).read_text())


@pytest.mark.parametrize(
    ("settings", "source"),
    [
        ({}, "craft-ray's own demonstration model"),
        ({"model": "local-dir:/data/mine"}, "folder mine"),
        ({"model": "ViT-B-32", "pretrained": "/data/w.pt"}, "file w.pt"),
        ({"model": "ViT-B-32", "pretrained": "openai"}, "hf-hub:timm/vit_base_patch32_clip_224"),
    ],
)
def test_where_weights_come_from(settings: dict[str, str], source: str) -> None:
    assert origin_of(OracleConfig(**settings)).source.startswith(source)


def test_the_revision_is_that_of_the_hubs_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert origin_of(ORACLE).revision is None
    refs = tmp_path / "models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("f00d")
    assert origin_of(ORACLE).revision == "f00d"


def test_an_export_has_the_names_and_fields_of_hubs_and_is_read(tmp_path: Path) -> None:
    artifact = described()
    artifact.export(tmp_path / "mine")
    names = sorted(path.name for path in (tmp_path / "mine").iterdir())
    assert names == ["README.md", "config.json", "model.safetensors"]
    config = json.loads((tmp_path / "mine" / "config.json").read_text())
    assert config["model_type"] == "craft-ray"
    assert config["id2label"]["1"] == artifact.task.class_names[1]
    assert config["label2id"][artifact.task.class_names[1]] == 1
    loaded = Artifact.load(tmp_path / "mine")
    assert loaded.content_id == artifact.content_id
    assert loaded.about == ABOUT
    config["id2label"]["1"] = "somebody else"
    (tmp_path / "mine" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ArtifactError, match="must be as it was written"):
        Artifact.load(tmp_path / "mine")


def test_what_decides_a_prediction_has_an_address() -> None:
    one = described()
    assert one.content_id == replace(one, about=None).content_id
    others = [trained("prompt"), replace(one, oracle=OracleConfig()), trained()]
    assert len({one.content_id, *(other.content_id for other in others)}) == 4
