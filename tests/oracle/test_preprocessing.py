"""What a model wants of an image: who says it, and what is asked where nobody does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from craft_ray.config.oracle import OracleConfig
from craft_ray.errors import OracleError
from craft_ray.oracle.check import check_model_exists
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.preprocessing import CLIP_ITSELF, preprocessing_of
from tests.oracle.conftest import clip_of
from tests.support.checkpoints import CONFIG_FILE, TINY_CLIP, tiny_clip_dir, write_config


def config(**settings: Any) -> OracleConfig:
    return OracleConfig.model_validate(settings)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "weights.pt"
    torch.save({"visual.proj": torch.zeros(2, 2)}, path)
    return str(path)


@pytest.mark.parametrize(
    ("model", "mean", "resize_mode", "interpolation"),
    [
        ("PE-Core-L-14-336", (0.5,) * 3, "squash", "bilinear"),
        ("MobileCLIP-S1", (0.0,) * 3, "shortest", "bilinear"),
        ("ViT-B-32", CLIP_ITSELF["mean"], "shortest", "bicubic"),
        ("ViT-SO400M-14-SigLIP-384", (0.5,) * 3, "squash", "bicubic"),
    ],
)
def test_a_file_gets_what_all_published_weights_of_the_model_have(
    model: str, mean: tuple[float, ...], resize_mode: str, interpolation: str, file: str
) -> None:
    found = preprocessing_of(config(model=model, pretrained=file))
    assert found.mean == mean
    assert (found.resize_mode, found.interpolation) == (resize_mode, interpolation)
    assert f"all published weights of {model}" in found.describe()


def test_a_tag_gets_its_own() -> None:
    found = preprocessing_of(config(model="ViT-H-14-quickgelu", pretrained="dfn5b"))
    assert found.resize_mode == "squash"
    other = preprocessing_of(config(model="ViT-H-14-quickgelu", pretrained="metaclip_fullcc"))
    assert other.resize_mode == "shortest"


def test_where_published_weights_differ_it_is_asked_for_before_anything_starts(file: str) -> None:
    settings = {"model": "ViT-L-14", "pretrained": file}
    with pytest.raises(OracleError) as refused:
        check_model_exists(config(**settings))
    message = str(refused.value)
    assert message.startswith("oracle.image_mean, oracle.image_std: must say")
    assert "[0.5,0.5,0.5] (laion2b_s32b_b82k)" in message
    assert "openai, laion400m_e31, laion400m_e32 and 8 more" in message
    assert "oracle.image_mean=[0.48145466,0.4578275,0.40821073]" in message
    told = config(**settings, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    check_model_exists(told)
    assert preprocessing_of(told).sources == ("the settings", "all published weights of ViT-L-14")
    with pytest.raises(OracleError, match=r"oracle.resize_mode: .*squash \(dfn5b\)"):
        check_model_exists(config(model="ViT-H-14", pretrained=file))


def test_a_model_that_nobody_has_published_gets_what_open_clip_trains_with(file: str) -> None:
    found = preprocessing_of(config(model="ViT-S-32-alt", pretrained=file))
    assert found.mean == CLIP_ITSELF["mean"]
    assert "open_clip's defaults" in found.describe()


def test_a_description_beside_the_weights_wins_over_the_published_ones(file: str) -> None:
    from craft_ray.oracle.catalogue import architectures

    beside = Path(file).parent / CONFIG_FILE
    statistics = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7], "resize_mode": "longest"}
    document = {"model_cfg": architectures()["ViT-B-32"], "preprocess_cfg": statistics}
    beside.write_text(json.dumps(document))
    found = preprocessing_of(config(model="ViT-B-32", pretrained=file))
    assert (found.mean, found.std) == ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    assert (found.resize_mode, found.interpolation) == ("longest", "bicubic")
    other = preprocessing_of(config(model="ViT-B-16", pretrained=file))  # describes another model
    assert other.mean == CLIP_ITSELF["mean"]


def test_a_setting_wins_over_all(file: str) -> None:
    found = preprocessing_of(
        config(model="ViT-B-32", pretrained="openai", resize_mode="squash", image_mean=[0, 0.1, 1])
    )
    assert (found.resize_mode, found.mean) == ("squash", (0.0, 0.1, 1.0))
    assert found.std == CLIP_ITSELF["std"]


def test_the_model_of_a_folder_says_its_transform_in_its_description(tmp_path: Path) -> None:
    folder = tiny_clip_dir(tmp_path / "model")
    usual = clip_of(folder).describe()
    assert usual.transform.unusual == {}
    path = folder / CONFIG_FILE
    document = json.loads(path.read_text())
    document["preprocess_cfg"] |= {"resize_mode": "squash", "interpolation": "bilinear"}
    path.write_text(json.dumps(document))
    squash = clip_of(folder).describe()
    assert (squash.resize_mode, squash.interpolation) == ("squash", "bilinear")
    assert squash.image_mean == usual.image_mean
    assert squash.oracle_id != usual.oracle_id
    assert squash.weights_id != usual.weights_id
    assert squash.notes == (
        "Images: mean 0.5, standard deviation 0.5, squash, bilinear; from open_clip_config.json.",
    )
    told = ClipOracle.load(
        config(model=f"local-dir:{folder}", resize_mode="shortest", interpolation="bicubic")
    )
    assert told.describe().weights_id == usual.weights_id


def test_a_folder_that_does_not_say_its_mean_is_asked_for_it(tmp_path: Path) -> None:
    folder = tiny_clip_dir(tmp_path / "model")
    (folder / CONFIG_FILE).write_text(json.dumps({"model_cfg": TINY_CLIP}))
    with pytest.raises(OracleError, match=r"oracle.image_mean, oracle.image_std: must say"):
        check_model_exists(config(model=f"local-dir:{folder}"))
    check_model_exists(
        config(model=f"local-dir:{folder}", image_mean=[0.5] * 3, image_std=[0.5] * 3)
    )
    write_config(folder, TINY_CLIP)
    check_model_exists(config(model=f"local-dir:{folder}"))


def test_a_transform_that_open_clip_does_not_know_is_refused(tmp_path: Path) -> None:
    folder = tiny_clip_dir(tmp_path / "model")
    path = folder / CONFIG_FILE
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "preprocess_cfg": {"mean": 0, "std": [1, 1]}}))
    with pytest.raises(OracleError, match="mean and std must be three finite numbers, but are"):
        check_model_exists(config(model=f"local-dir:{folder}"))
    statistics = {"mean": 0, "std": 1, "resize_mode": "stretch"}
    path.write_text(json.dumps({**document, "preprocess_cfg": statistics}))
    with pytest.raises(OracleError, match="resize_mode must be one of"):
        clip_of(folder)


def test_the_embedded_oracle_does_as_clip_itself() -> None:
    found = preprocessing_of(config())
    assert (found.resize_mode, found.interpolation) == ("shortest", "bicubic")
    assert found.mean == (0.4980392156862745,) * 3


def test_a_processor_of_another_model_beside_a_file_says_nothing_of_it(file: str) -> None:
    beside = Path(file).parent / "preprocessor_config.json"
    sides = {"height": 224, "width": 224}
    beside.write_text(
        json.dumps({"image_mean": [0.1] * 3, "image_std": [0.2] * 3, "resample": 2, "size": sides})
    )
    found = preprocessing_of(config(model="ViT-B-32", pretrained=file))
    assert found.mean == CLIP_ITSELF["mean"]
    assert (found.resize_mode, found.interpolation) == ("shortest", "bicubic")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"std": [0.0] * 3}, "std must be above 0"),
        ({"mean": [float("nan")] * 3}, "must be three finite numbers"),
        ({"interpolation": "nearest"}, "interpolation must be one of"),
        ({"resize_mode": "longest", "fill_color": "x"}, "fill_color must be from"),
    ],
)
def test_a_description_that_cannot_be_followed_is_refused_before_anything_starts(
    changes: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    folder = tiny_clip_dir(tmp_path / "model")
    path = folder / "open_clip_config.json"
    document = json.loads(path.read_text())
    document["preprocess_cfg"] |= changes
    path.write_text(json.dumps(document))
    with pytest.raises(OracleError, match=problem):
        check_model_exists(config(model=f"local-dir:{folder}"))
