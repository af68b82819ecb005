"""Checkpoints as people have them are read, in the size that their weights have, or refused."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from craft_ray.config.oracle import OracleConfig
from craft_ray.errors import OracleError
from craft_ray.oracle.checkpoint_names import bare_names
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import OracleDescription
from tests.oracle.conftest import clip_of
from tests.support.checkpoints import (
    CONFIG_FILE,
    IMAGE_SIZE,
    TINY_CLIP,
    WEIGHTS_FILE,
    openai_weights,
    tiny_clip_dir,
    tiny_weights,
    write_config,
)

Weights = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def _tiny_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    from craft_ray.oracle import check, weights

    known = {"tiny": TINY_CLIP, "tiny-quickgelu": {**TINY_CLIP, "quick_gelu": True}}
    for name, architecture in known.items():
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, architecture)
    for module in (check, weights):
        monkeypatch.setattr(module, "architectures", lambda: known)


@pytest.fixture(scope="module")
def weights() -> Weights:
    return {name: value.float() for name, value in tiny_weights(seed=1).items()}


def loaded(path: Path, model: str = "tiny", **settings: Any) -> OracleDescription:
    config = {"model": model, "pretrained": str(path), **settings}
    return ClipOracle.load(OracleConfig.model_validate(config)).describe()


def saved(document: Any, folder: Path) -> Path:
    path = folder / "weights.pt"
    torch.save(document, path)
    return path


def prefixed(prefix: str, weights: Weights) -> Weights:
    return {f"{prefix}{name}": value for name, value in weights.items()}


class _Foreign:
    """Of a program that is not installed here."""


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: prefixed("module.", w),
        lambda w: prefixed("_orig_mod.", w),
        lambda w: prefixed("module._orig_mod.", w),
        lambda w: prefixed("_orig_mod.module.", w),
        lambda w: {n.replace("visual.", "visual._orig_mod."): v for n, v in w.items()},
        lambda w: {"model": w},
        lambda w: {"model_state_dict": prefixed("module.", w), "loss": np.float64(0.5)},
        lambda w: {"state_dict": w, "best": np.float32(1), "epoch": np.int64(3)},
        lambda w: {"state_dict": {"model": w}},
        lambda w: {"state_dict": w, "args": argparse.Namespace(lr=0.1, out=Path("/tmp"))},
        lambda w: {"state_dict": w, "random": np.arange(4, dtype=np.uint32)},
        lambda w: {"model": w, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}},
        lambda w: {"state_dict": prefixed("model.", w), "pytorch-lightning_version": "2.0"},
        lambda w: {**prefixed("module.", w), "n_averaged": torch.tensor(3)},
    ],
)
def test_what_training_puts_around_weights_is_taken_off(
    wrap: Callable[[Weights], Any], weights: Weights, tmp_path: Path
) -> None:
    plain = loaded(saved(weights, tmp_path)).weights_id
    assert loaded(saved(wrap(weights), tmp_path)).weights_id == plain


def test_weights_that_were_trained_with_a_sigmoid_keep_their_bias(
    weights: Weights, tmp_path: Path
) -> None:
    description = loaded(saved({**weights, "logit_bias": torch.tensor([-9.5])}, tmp_path))
    assert description.logit_bias == -9.5
    assert description.weights_id != loaded(saved(weights, tmp_path)).weights_id


@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_scale_of_an_attention_is_not_another_model(prefix: str, weights: Weights) -> None:
    swin = {**weights, "visual.trunk.layers.0.blocks.0.attn.logit_scale": torch.zeros(3)}
    assert bare_names(prefixed(prefix, swin)) == (swin, ())


def test_half_precision_is_read_as_it_is(weights: Weights, tmp_path: Path) -> None:
    half = {name: value.half() for name, value in weights.items()}
    whole = {name: value.float() for name, value in half.items()}
    ids = {loaded(saved(each, tmp_path)).weights_id for each in (half, whole)}
    assert len(ids) == 1


def test_a_moving_average_alone_is_taken_and_said(weights: Weights, tmp_path: Path) -> None:
    description = loaded(saved({"ema": {"module": weights, "decay": 0.9}}, tmp_path))
    assert description.notes[1] == "Weights: the moving average that stands under ema."


def test_what_is_no_part_of_the_model_is_left_out_and_said(
    weights: Weights, tmp_path: Path
) -> None:
    state = {**prefixed("model.clip.", weights), "loss.weight": torch.ones(2)}
    description = loaded(saved({"state_dict": state}, tmp_path))
    expected = "Of the weights, 1 outside of model.clip were left out: loss.weight."
    assert description.notes[1] == expected


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (
            lambda w: {"state_dict": w, "state_dict_ema": w},
            r"several models, under state_dict and state_dict_ema: save .*\['state_dict_ema'\]",
        ),
        (
            lambda w: {**prefixed("student.", w), **prefixed("teacher.", w)},
            r"several models: student.logit_scale, teacher.logit_scale; save the state dict",
        ),
        (lambda w: {**w, **prefixed("module.", w)}, "twice, wrapped and not"),
        (
            lambda w: {"epoch": 3, "lr": 0.1},
            "no named tensors, but epoch, lr: save the",
        ),
        (lambda w: [1, 2], "an object of list and no named tensors"),
        (lambda w: {**w, "extra": torch.ones(1)}, "not those of this model: unexpected extra$"),
        (
            lambda w: {n: v for n, v in w.items() if n != "ln_final.bias"},
            "not those of this model: missing ln_final.bias$",
        ),
        (
            lambda w: {f"a_tensor_of_a_long_name_{n:04}": torch.ones(1) for n in range(99)},
            r"missing \S+, .*unexpected .*0000, .* and 95 more$",
        ),
        (
            lambda w: {**w, "text_projection": torch.ones(24, 31)},
            r"of another shape text_projection \(24x31 in place of 24x32\)$",
        ),
        (
            lambda w: {**w, "text_projection": torch.ones(24, 32, dtype=torch.int8)},
            r"quantised text_projection \(int8\)$",
        ),
        (
            lambda w: {"state_dict": w, "trainer": _Foreign()},
            r"an object of tests\S+_Foreign, and only weights .*torch.save\(model.state_dict\(\)",
        ),
    ],
)
def test_what_is_ambiguous_or_another_model_is_refused_with_the_remedy(
    wrap: Callable[[Weights], Any], message: str, weights: Weights, tmp_path: Path
) -> None:
    with pytest.raises(OracleError, match=r"tiny with \S+ cannot be loaded: ") as refused:
        loaded(saved(wrap(weights), tmp_path))
    assert refused.match(message)


def test_weights_in_parts_are_read_by_their_index(weights: Weights, tmp_path: Path) -> None:
    plain = clip_of(tiny_clip_dir(tmp_path / "whole", seed=3)).describe()
    folder = tiny_clip_dir(tmp_path / "parts", seed=3)
    from safetensors.torch import load_file

    state = load_file(folder / WEIGHTS_FILE)
    (folder / WEIGHTS_FILE).unlink()
    names = sorted(state)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, some in parts.items():
        save_file({name: state[name] for name in some}, folder / file)
    index = {"weight_map": {name: file for file, some in parts.items() for name in some}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert clip_of(folder).describe().weights_id == plain.weights_id
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(OracleError, match=r"model-2\.safetensors must be beside"):
        clip_of(folder)


def test_a_folder_with_several_files_that_may_be_meant_is_refused(tmp_path: Path) -> None:
    folder = tiny_clip_dir(tmp_path / "model")
    whole = (folder / WEIGHTS_FILE).rename(folder / "epoch_1.safetensors")
    assert clip_of(folder)
    (folder / "epoch_2.safetensors").write_bytes(whole.read_bytes())
    with pytest.raises(OracleError, match=r"has epoch_1.safetensors, epoch_2.safetensors$"):
        clip_of(folder)


def longer(weights: Weights, name: str, length: int) -> Weights:
    torch.manual_seed(0)
    return {**weights, name: torch.randn(length, weights[name].shape[1])}


@pytest.mark.parametrize("custom", [False, True])
def test_a_model_is_built_in_the_size_of_its_weights(
    custom: bool, weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if custom:
        settings = {**TINY_CLIP, "custom_text": True}
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", settings)
    other = longer(weights, "visual.positional_embedding", 3 * 3 + 1)
    other = longer(other, "positional_embedding", 40)
    description = loaded(saved(other, tmp_path))
    assert (description.image_size, description.context_length) == (48, 40)
    assert (
        "tiny has another size here: image_size is 48, that of the weights, context_length is 40, "
        "that of the weights."
    ) in description.notes


def test_nothing_is_interpolated(weights: Weights, tmp_path: Path) -> None:
    other = longer(weights, "visual.positional_embedding", 12)  # of no square
    with pytest.raises(OracleError, match=r"visual.positional_embedding \(12x32 in place of 5x32"):
        loaded(saved(other, tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vision_cfg": {"image_size": 64}}, "image_size must be 32, .* but is 64"),
        ({"text_cfg": {"context_length": 77}}, "context_length must be 24, .* but is 77"),
    ],
)
def test_a_description_of_another_size_than_the_weights_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = tiny_clip_dir(tmp_path / "model")
    for tower, values in changes.items():
        write_config(folder, {**TINY_CLIP, tower: {**TINY_CLIP[tower], **values}})
    with pytest.raises(OracleError, match=f"contradict each other: {message}. Nothing is inter"):
        clip_of(folder)
    assert (folder / CONFIG_FILE).is_file()


def test_openais_own_resolution_must_be_that_of_its_weights(tmp_path: Path) -> None:
    document = openai_weights(tiny_weights())
    model = "tiny-quickgelu"
    assert loaded(saved(document, tmp_path), model).image_size == IMAGE_SIZE
    document["input_resolution"] = torch.tensor(IMAGE_SIZE + 16)
    with pytest.raises(OracleError, match="input_resolution is 48, but its position embeddings"):
        loaded(saved(document, tmp_path), model)


def test_files_of_siglips_own_training_code_are_left_to_open_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    monkeypatch.setattr(
        open_clip.factory, "load_checkpoint", lambda model, path, **_: read.append(path)
    )
    path = tmp_path / "weights.npz"
    np.savez(path, any=np.zeros(1))
    assert loaded(path).image_size == IMAGE_SIZE
    assert read == [str(path)]
