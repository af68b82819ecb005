"""Models that cannot be used are refused with their reason, most of them before anything starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch

from craft_ray.config.oracle import OracleConfig
from craft_ray.errors import OracleError
from craft_ray.oracle.check import check_model_exists, model_like
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import ClassificationTask
from tests.oracle.conftest import clip_of
from tests.support.checkpoints import (
    CONFIG_FILE,
    TINY_CLIP,
    WEIGHTS_FILE,
    save_random_weights,
    tiny_clip_dir,
    write_config,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of one's own to break."""
    return tiny_clip_dir(tmp_path / "model")


def config(**settings: Any) -> OracleConfig:
    return OracleConfig.model_validate(settings)


@pytest.mark.parametrize(
    "good",
    [
        {},
        {"model": "ViT-B-32", "pretrained": "laion2b_s34b_b79k"},
        {"model": "RN50", "pretrained": "OpenAI"},
        {"model": "ViT-B-32", "pretrained": __file__},
    ],
)
def test_a_model_that_can_be_loaded_passes_the_check(good: dict[str, str]) -> None:
    check_model_exists(config(**good))


def test_a_checkpoint_folder_passes_the_check(folder: Path) -> None:
    check_model_exists(config(model=f"local-dir:{folder}"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"model": "ViT-B-33", "pretrained": "openai"}, "oracle.model: .*'ViT-B-33'"),
        ({"model": "ViT-B-32", "pretrained": "nobody"}, "oracle.pretrained: .*openai.*'nobody'"),
        ({"model": "ViT-B-32", "pretrained": "/no/file.pt"}, "oracle.pretrained: .*/no/file.pt"),
        ({"model": "local-dir:/no/folder"}, "oracle.model: /no/folder must be a folder"),
    ],
)
def test_a_model_that_does_not_exist_is_refused_before_anything_is_started(
    wrong: dict[str, str], message: str
) -> None:
    with pytest.raises(OracleError, match=message):
        check_model_exists(config(**wrong))


def test_a_folder_without_a_description_is_refused(folder: Path) -> None:
    (folder / CONFIG_FILE).unlink()
    with pytest.raises(OracleError, match=r"with open_clip_config.json"):
        check_model_exists(config(model=f"local-dir:{folder}"))
    with pytest.raises(OracleError, match="cannot be loaded"):
        clip_of(folder)


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / WEIGHTS_FILE).unlink()
    for use in (check_model_exists, ClipOracle.load):
        with pytest.raises(OracleError, match=r"oracle.model: \S+ must have one file of weights"):
            use(config(model=f"local-dir:{folder}"))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[: len(content) // 2], id="truncated"),
        pytest.param(lambda content: content[:5], id="only its first bytes"),
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: b"<html>not found</html>" * 9, id="a web page"),
    ],
)
def test_damaged_weights_are_refused(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    path = folder / WEIGHTS_FILE
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(OracleError, match=f"{folder} cannot be loaded"):
        clip_of(folder)


@pytest.mark.parametrize(
    "model_cfg",
    [
        pytest.param({**TINY_CLIP, "embed_dim": 16}, id="other shapes than the weights"),
        pytest.param({**TINY_CLIP, "no_such_key": 1}, id="unknown key"),
        pytest.param({**TINY_CLIP, "vision_cfg": {"timm_model_name": "none"}}, id="unknown tower"),
        pytest.param({**TINY_CLIP, "text_cfg": {"width": 24, "heads": 5}}, id="24 by 5 heads"),
        pytest.param({"embed_dim": 32}, id="no towers"),
    ],
)
def test_a_description_that_does_not_fit_the_weights_is_refused(
    folder: Path, model_cfg: dict[str, Any]
) -> None:
    write_config(folder, model_cfg)
    with pytest.raises(OracleError, match="cannot be loaded"):
        clip_of(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_description_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / CONFIG_FILE).write_text(text)
    with pytest.raises(OracleError, match="cannot be loaded"):
        clip_of(folder)


def test_a_description_of_another_model_than_the_weights_is_told_by_their_names(
    folder: Path,
) -> None:
    write_config(folder, open_clip.get_model_config("RN50"))
    wrong = r"weights are not those of this model: missing visual\.bn1.*; unexpected visual\."
    with pytest.raises(OracleError, match=wrong):
        clip_of(folder)


def test_a_folder_as_weights_is_answered_with_where_it_belongs(folder: Path) -> None:
    with pytest.raises(OracleError, match=rf"is a folder: .*oracle\.model=local-dir:{folder} and"):
        check_model_exists(config(model="ViT-B-32", pretrained=str(folder)))


@pytest.mark.parametrize("broken", [b"", b"no pickle at all", b"PK\x03\x04 no zip"])
def test_a_broken_checkpoint_file_is_refused(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(broken)
    with pytest.raises(OracleError, match=r"ViT-S-32-alt with \S*weights\.pt cannot be loaded"):
        ClipOracle.load(config(model="ViT-S-32-alt", pretrained=str(path)))


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"layer.weight": torch.zeros(3, 3)}, path)
    with pytest.raises(OracleError, match=r"ViT-S-32-alt with \S*weights\.pt cannot be loaded"):
        ClipOracle.load(config(model="ViT-S-32-alt", pretrained=str(path)))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ViT-B-32", "RN50"])
def test_a_full_size_model_is_loaded_by_name_from_a_checkpoint_file(
    model: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pt"
    save_random_weights(model, path)
    settings = config(model=model, pretrained=str(path))
    check_model_exists(settings)
    oracle = ClipOracle.load(settings)
    path.unlink()  # 600 MB
    description = oracle.describe()
    assert (description.embed_dim, description.context_length) == (512, 77)
    assert description.image_size == 224
    task = oracle.register_task(ClassificationTask(("cat", "dog", "ankle boot")))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 224, 224), dtype=np.uint8)
    contexts = np.stack([task.initial_context, task.initial_context + np.float32(0.05)])
    logits = oracle.predict(task, oracle.register_images(pixels), contexts)
    assert logits.shape == (2, 2, 3)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("ViT-B32", "ViT-B-32"),
        ("ViT-B/32", "ViT-B-32"),
        ("vit_b_32", "ViT-B-32"),
        ("ViT-L/14@336px", "ViT-L-14-336"),
        ("openai/clip-vit-base-patch32", "ViT-B-32"),
        ("openai/clip-vit-large-patch14", "ViT-L-14"),
        ("RN-50", "RN50"),
    ],
)
def test_a_name_that_others_use_is_answered_with_that_of_open_clip(typed: str, meant: str) -> None:
    with pytest.raises(OracleError) as caught:
        check_model_exists(config(model=typed, pretrained="openai"))
    assert str(caught.value).endswith(f": did you mean oracle.model={meant}?")
    check_model_exists(config(model=meant, pretrained="openai"))


def test_a_name_like_no_other_is_answered_with_the_law_alone() -> None:
    assert model_like("nothing/like-it") is None
    assert model_like("x" * 10_000) is None


def test_a_folder_as_a_model_is_answered_with_its_word(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    for typed in (str(folder), folder.name, f"./{folder.name}"):
        with pytest.raises(ValueError, match=f"oracle.model=local-dir:{typed}"):
            config(model=typed)
        check_model_exists(config(model=f"local-dir:{typed}"))


def test_a_model_without_weights_is_answered_with_a_tag_that_there_is() -> None:
    with pytest.raises(ValueError, match=r"but got null: oracle\.pretrained=openai takes"):
        config(model="ViT-B-32")
