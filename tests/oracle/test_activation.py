"""QuickGELU or GELU: what the weights were trained with is what is computed, or nothing is."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import open_clip.factory
import open_clip.pretrained
import pytest
import torch
from safetensors.torch import save_file

from craft_ray.config.oracle import OracleConfig
from craft_ray.errors import OracleError
from craft_ray.oracle import loading, weights
from craft_ray.oracle.catalogue import architectures, tags_of
from craft_ray.oracle.check import check_model_exists
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import ClassificationTask, FloatArray
from tests.oracle.conftest import clip_of
from tests.support.checkpoints import (
    IMAGE_SIZE,
    TINY_CLIP,
    WEIGHTS_FILE,
    openai_weights,
    save_torchscript,
    tiny_clip_dir,
    tiny_weights,
    write_config,
)

TASK = ClassificationTask(("cat", "ankle boot"))
PROMPTS = [f"a photo of a {name}." for name in TASK.class_names]
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 3, IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tiny`, `tiny-quickgelu` and `lonely` among open_clip's architectures."""
    for configs in (open_clip.factory._MODEL_CONFIGS, architectures()):
        for name in ("tiny", "lonely"):
            monkeypatch.setitem(configs, name, TINY_CLIP)
        monkeypatch.setitem(configs, "tiny-quickgelu", {**TINY_CLIP, "quick_gelu": True})


def save_plain(state: dict[str, torch.Tensor], path: Path) -> None:
    torch.save(state, path)


def save_nested(state: dict[str, torch.Tensor], path: Path) -> None:
    torch.save({"state_dict": state, "epoch": 3}, path)


def save_safetensors(state: dict[str, torch.Tensor], path: Path) -> None:
    save_file(state, path)


SAVERS: dict[str, tuple[str, Callable[[dict[str, torch.Tensor], Path], None]]] = {
    "TorchScript": ("RN50.pt", save_torchscript),
    "state dict": ("openai.pt", save_plain),
    "nested state dict": ("openai.bin", save_nested),
    "safetensors": ("openai.safetensors", save_safetensors),
}


@pytest.fixture(params=SAVERS)
def openai_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    name, save = SAVERS[request.param]
    save(openai_weights(tiny_weights()), tmp_path / name)
    return tmp_path / name


@pytest.fixture
def plain_file(tmp_path: Path) -> Path:
    """The same weights without a mark."""
    torch.save(tiny_weights(), tmp_path / "plain.pt")
    return tmp_path / "plain.pt"


def config(model: str, pretrained: Path | str) -> OracleConfig:
    return OracleConfig(model=model, pretrained=str(pretrained))


def logits_of(oracle: ClipOracle) -> FloatArray:
    task = oracle.register_task(TASK)
    images = oracle.register_images(PIXELS)
    logits_NC: FloatArray = oracle.predict(task, images, task.initial_context[None])[0]
    return logits_NC


@torch.inference_mode()
def expected_logits(path: Path, *, quick_gelu: bool) -> FloatArray:
    """open_clip's own."""
    model: Any = open_clip.create_model("tiny", str(path), force_quick_gelu=quick_gelu).eval()
    cfg = open_clip.get_model_preprocess_cfg(model)
    mean, std = (torch.tensor(cfg[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    image = model.encode_image((torch.tensor(PIXELS) / 255 - mean) / std, normalize=True)
    text = model.encode_text(open_clip.get_tokenizer("tiny")(PROMPTS), normalize=True)
    result: FloatArray = (model.logit_scale.exp() * image @ text.T).numpy()
    return result


def test_a_wrong_activation_is_another_classifier(plain_file: Path) -> None:
    quick, plain = (expected_logits(plain_file, quick_gelu=flag) for flag in (True, False))
    assert np.abs(quick - plain).max() > 1e-2


def test_openais_files_are_read_as_published_and_computed_with_quick_gelu(
    openai_file: Path, plain_file: Path
) -> None:
    settings = config("tiny-quickgelu", openai_file)
    check_model_exists(settings)
    expected = expected_logits(plain_file, quick_gelu=True)
    np.testing.assert_allclose(logits_of(ClipOracle.load(settings)), expected, atol=1e-4)


@pytest.mark.parametrize("use", [check_model_exists, ClipOracle.load])
def test_openais_files_with_gelu_are_refused_with_the_remedy(
    openai_file: Path, use: Callable[[OracleConfig], object]
) -> None:
    with pytest.raises(OracleError) as caught:
        use(config("tiny", openai_file))
    message = str(caught.value)
    assert message.startswith("oracle.model: must compute the activation")
    assert str(openai_file) in message
    assert "trained with, QuickGELU, but 'tiny' computes GELU" in message
    assert message.endswith("use oracle.model=tiny-quickgelu")
    with pytest.raises(OracleError, match="use a local-dir: whose model_cfg says so"):
        use(config("lonely", openai_file))


@pytest.mark.parametrize("model", ["tiny", "tiny-quickgelu"])
def test_a_file_without_a_mark_is_taken_at_the_users_word(plain_file: Path, model: str) -> None:
    check_model_exists(config(model, plain_file))
    actual = logits_of(ClipOracle.load(config(model, plain_file)))
    expected = expected_logits(plain_file, quick_gelu=model == "tiny-quickgelu")
    np.testing.assert_allclose(actual, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("tiny", "Activation: GELU, by the name tiny; .*tuned from them.* oracle.model=tiny-quick"),
        ("tiny-quickgelu", "Activation: QuickGELU, .* trained with GELU want oracle.model=tiny\\."),
    ],
)
def test_the_activation_of_a_file_without_a_mark_is_said(
    plain_file: Path, model: str, said: str
) -> None:
    notes = ClipOracle.load(config(model, plain_file)).describe().notes
    assert re.search(said, " ".join(notes))


def test_the_activation_is_not_said_where_there_is_no_doubt(
    plain_file: Path, openai_file: Path
) -> None:
    for oracle in (config("tiny-quickgelu", openai_file), config("lonely", plain_file)):
        assert "Activation" not in " ".join(ClipOracle.load(oracle).describe().notes)


def test_a_torchscript_archive_of_ones_own_is_read(tmp_path: Path, plain_file: Path) -> None:
    save_torchscript(tiny_weights(), tmp_path / "own.pt")
    actual = logits_of(ClipOracle.load(config("tiny", tmp_path / "own.pt")))
    np.testing.assert_allclose(actual, expected_logits(plain_file, quick_gelu=False), atol=1e-4)


@pytest.mark.parametrize(
    ("trained", "model", "remedy"),
    [(True, "tiny", "tiny-quickgelu"), (False, "tiny-quickgelu", "tiny")],
)
def test_a_release_of_open_clip_is_known_by_its_sha256(
    trained: bool, model: str, remedy: str, plain_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(plain_file.read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(weights, "_releases", lambda: {digest: {"quick_gelu": trained}})
    with pytest.raises(OracleError, match=f"use oracle.model={remedy}$"):
        check_model_exists(config(model, plain_file))
    check_model_exists(config(remedy, plain_file))


def test_the_known_releases_are_openais_and_open_clips() -> None:
    releases = weights._releases()
    rn50 = "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"
    assert releases[rn50]["quick_gelu"] is True
    assert releases["d867053b"]["quick_gelu"] is True  # vit_b_32-quickgelu-laion400m_e31
    assert not releases["00efa78f"].get("quick_gelu")  # vit_b_16-laion400m_e31
    assert all(len(start) in (8, 64) for start in releases)


def test_weights_of_a_tag_get_the_activation_that_the_tag_declares(
    plain_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = {"openai": {"quick_gelu": True}, "laion": {"mean": (0.5,) * 3}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", tags)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-quickgelu", tags)
    monkeypatch.setattr(open_clip.factory, "download_pretrained", lambda cfg, **_: str(plain_file))
    by_tag = ClipOracle.load(config("tiny", "OpenAI"))
    expected = expected_logits(plain_file, quick_gelu=True)
    np.testing.assert_allclose(logits_of(by_tag), expected, atol=1e-4)
    by_name = ClipOracle.load(config("tiny-quickgelu", "openai"))
    assert by_tag.describe().oracle_id == by_name.describe().oracle_id
    with_gelu = ClipOracle.load(config("tiny", "laion"))
    assert with_gelu.describe().oracle_id != by_tag.describe().oracle_id
    with pytest.raises(OracleError, match="QuickGELU, but 'laion' was trained with GELU"):
        check_model_exists(config("tiny-quickgelu", "laion"))


@pytest.mark.parametrize("model", ["RN50", "RN101", "ViT-B-32", "ViT-B-16"])
def test_the_papers_models_are_openais_with_quick_gelu(model: str) -> None:
    for name in (model, f"{model}-quickgelu"):
        check_model_exists(config(name, "openai"))
        assert loading._tag_declares_quick_gelu(config(name, "openai"))
    with_gelu = open_clip.get_model_config(model)
    assert {**with_gelu, "quick_gelu": True} == open_clip.get_model_config(f"{model}-quickgelu")


def test_published_weights_are_refused_where_a_sibling_of_the_model_computes_theirs_only() -> None:
    refused = set()
    for model in architectures():
        for tag in tags_of(model):
            try:
                check_model_exists(config(model, tag))
            except OracleError as error:
                if "activation" in str(error):
                    refused.add(model)
    assert all(model.endswith("-quickgelu") for model in refused)


def test_a_folder_with_openais_weights_must_say_quick_gelu(tmp_path: Path) -> None:
    folder = tiny_clip_dir(tmp_path / "model")
    save_file(openai_weights(tiny_weights()), folder / WEIGHTS_FILE)
    for use in (check_model_exists, ClipOracle.load):
        with pytest.raises(OracleError, match=r"quick_gelu in .* must be true, because"):
            use(OracleConfig(model=f"local-dir:{folder}"))
    write_config(folder, {**TINY_CLIP, "quick_gelu": True})
    check_model_exists(OracleConfig(model=f"local-dir:{folder}"))


def test_a_folder_without_marks_is_taken_at_its_word(tmp_path: Path) -> None:
    folder = tiny_clip_dir(tmp_path / "model", quick_gelu=True)
    (folder / "notes.json").write_text(json.dumps({"quick_gelu": False}))
    assert np.isfinite(logits_of(clip_of(folder))).all()


@pytest.mark.parametrize("is_quick", [True, False])
def test_a_description_beside_a_file_without_a_mark_tells_its_activation(
    is_quick: bool, plain_file: Path
) -> None:
    write_config(plain_file.parent, {**TINY_CLIP, "quick_gelu": is_quick})
    fits, differs = ("tiny-quickgelu", "tiny") if is_quick else ("tiny", "tiny-quickgelu")
    check_model_exists(config(fits, plain_file))
    with pytest.raises(OracleError, match=f"use oracle.model={fits}$"):
        check_model_exists(config(differs, plain_file))


def test_a_description_of_another_model_beside_a_file_says_nothing_of_it(plain_file: Path) -> None:
    write_config(plain_file.parent, {**TINY_CLIP, "embed_dim": 64, "quick_gelu": True})
    check_model_exists(config("tiny", plain_file))


def test_of_a_folder_the_file_that_is_loaded_tells_the_activation(tmp_path: Path) -> None:
    folder = tiny_clip_dir(tmp_path / "model")
    save_file(openai_weights(tiny_weights()), folder / "backup.safetensors")
    check_model_exists(OracleConfig(model=f"local-dir:{folder}"))
    (folder / "backup.safetensors").unlink()
    (folder / WEIGHTS_FILE).unlink()
    torch.save(openai_weights(tiny_weights()), folder / "weights.pt")
    with pytest.raises(OracleError, match=r"weights\.pt were trained with QuickGELU"):
        check_model_exists(OracleConfig(model=f"local-dir:{folder}"))
