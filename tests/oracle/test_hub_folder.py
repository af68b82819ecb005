"""A `CLIPModel` of `transformers` answers here as it does there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from craft_ray.config.oracle import OracleConfig
from craft_ray.errors import OracleError
from craft_ray.oracle.check import check_model_exists
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.hub_folder import hub_architecture, image_processor_in
from craft_ray.oracle.loading import load_model

transformers: Any = pytest.importorskip("transformers")

SIDE, PATCH, LONGEST = 48, 16, 20
PROCESSOR = {
    "crop_size": {"height": SIDE, "width": SIDE},
    "do_center_crop": True,
    "image_mean": [0.4, 0.5, 0.6],
    "image_std": [0.2, 0.3, 0.4],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": SIDE},
}


@pytest.fixture(scope="module", params=["quick_gelu", "gelu"])
def theirs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny model, and its folder."""
    common = {"num_hidden_layers": 2, "hidden_act": request.param}
    text = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 80, **common}
    vision = {"hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 96, **common}
    config = transformers.CLIPConfig(
        text_config={
            **text,
            "max_position_embeddings": LONGEST,
            "bos_token_id": 49406,
            "eos_token_id": 49407,
            "pad_token_id": 49407,
        },
        vision_config={**vision, "image_size": SIDE, "patch_size": PATCH},
        projection_dim=40,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.CLIPModel(config).eval()
        for parameter in model.parameters():  # theirs start near zero
            parameter.data += 0.1 * torch.randn_like(parameter)
    folder = tmp_path_factory.mktemp(request.param) / "model"
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return model, folder


@pytest.fixture
def folder(theirs: Any, tmp_path: Path) -> Path:
    """Of one's own to change."""
    own = tmp_path / "model"
    own.mkdir()
    for path in theirs[1].iterdir():
        (own / path.name).write_bytes(path.read_bytes())
    return own


def config(folder: Path, **settings: Any) -> OracleConfig:
    return OracleConfig(model=f"local-dir:{folder}", **settings)


def features_of(output: Any) -> torch.Tensor:
    """Of one version of `transformers` or another."""
    found: torch.Tensor = getattr(output, "pooler_output", output)
    return found


@torch.inference_mode()
def test_features_and_scale_are_those_of_transformers(theirs: Any) -> None:
    model, folder = theirs
    settings = config(folder)
    check_model_exists(settings)
    loaded = load_model(settings, torch.device("cpu"))
    images = torch.randn(3, 3, SIDE, SIDE)
    own = loaded.model.encode_image(images)
    torch.testing.assert_close(own, features_of(model.get_image_features(images)))
    tokens = open_clip.SimpleTokenizer()(["a cat", "two dogs in the snow"], context_length=LONGEST)
    own = loaded.model.encode_text(tokens)
    mask = torch.ones_like(tokens)  # causal: what follows the end does not show
    torch.testing.assert_close(own, features_of(model.get_text_features(tokens, mask)))
    torch.testing.assert_close(loaded.model.logit_scale, model.logit_scale)


def test_its_processor_says_what_it_wants_of_an_image(theirs: Any) -> None:
    description = ClipOracle.load(config(theirs[1])).describe()
    assert description.image_size == SIDE
    assert description.context_length == LONGEST
    assert description.image_mean == (0.4, 0.5, 0.6)
    assert description.transform.unusual == {}
    assert "from preprocessor_config.json" in description.notes[0]


def test_weights_of_torch_are_read_as_well(folder: Path, theirs: Any) -> None:
    expected = ClipOracle.load(config(theirs[1])).describe().weights_id
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    positions = torch.arange(LONGEST)[None]  # a buffer that old versions stored
    torch.save(
        {**state, "text_model.embeddings.position_ids": positions}, folder / "pytorch_model.bin"
    )
    assert ClipOracle.load(config(folder)).describe().weights_id == expected


def test_a_folder_that_does_not_say_its_mean_is_asked_for_it(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(OracleError, match=r"oracle.image_mean, .*no file in the folder says it"):
        check_model_exists(config(folder))
    # As newer versions store it.
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": PROCESSOR}))
    check_model_exists(config(folder))


def test_a_lacking_tensor_is_named(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    del state["vision_model.encoder.layers.1.self_attn.k_proj.weight"]
    save_file(state, folder / "model.safetensors")
    with pytest.raises(OracleError, match=r"visual.transformer.resblocks.1.attn lacks k_proj"):
        ClipOracle.load(config(folder))


@pytest.mark.parametrize(
    ("tower", "changes", "message"),
    [
        ("text_config", {"hidden_act": "relu"}, "hidden_act .* must be one of"),
        ("vision_config", {"layer_norm_eps": 1e-6}, "vision_config.layer_norm_eps .* 1e-5"),
        ("text_config", {"vocab_size": 250_000}, "vocab_size .* must be 49408"),
    ],
)
def test_a_model_that_open_clip_does_not_have_is_refused_before_anything_starts(
    tower: str, changes: dict[str, Any], message: str, folder: Path
) -> None:
    document = json.loads((folder / "config.json").read_text())
    document[tower] |= changes
    (folder / "config.json").write_text(json.dumps(document))
    with pytest.raises(OracleError, match=f"oracle.model: .*{message}"):
        check_model_exists(config(folder))


def test_a_file_of_it_in_a_model_of_another_activation_is_refused(
    theirs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from craft_ray.oracle import weights

    folder = theirs[1]
    architecture = hub_architecture(folder)
    names = {"right": architecture}
    names["wrong"] = {**architecture, "quick_gelu": not architecture["quick_gelu"]}
    monkeypatch.setattr(weights, "architectures", lambda: names)
    for name, settings in names.items():
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, settings)
    path = str(folder / "model.safetensors")
    description = ClipOracle.load(OracleConfig(model="right", pretrained=path)).describe()
    assert description.image_mean == (0.4, 0.5, 0.6)
    with pytest.raises(OracleError, match=r"activation that \S+config.json names, .*local-dir:"):
        ClipOracle.load(OracleConfig(model="wrong", pretrained=path))


@pytest.mark.parametrize("stored", ["vocab.json", "tokenizer.json"])
def test_a_vocabulary_that_is_not_clips_is_refused(stored: str, folder: Path) -> None:
    words = dict(open_clip.SimpleTokenizer().encoder)
    words["<|startoftext|>"] = words.pop("<start_of_text>")  # as theirs is called

    def write() -> None:
        document = words if stored == "vocab.json" else {"model": {"vocab": words}}
        (folder / stored).write_text(json.dumps(document))

    write()
    ClipOracle.load(config(folder))
    words["cat</w>"], words["dog</w>"] = words["dog</w>"], words["cat</w>"]
    write()
    with pytest.raises(OracleError, match=r"must be CLIP's own, .* 2 words: 'dog</w>', 'cat</w>'"):
        ClipOracle.load(config(folder))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"resize_mode": "shortest", "interpolation": "bicubic"}),
        ({"size": SIDE, "crop_size": SIDE}, {"resize_mode": "shortest"}),
        ({"resample": 2}, {"interpolation": "bilinear"}),
        (
            {"size": {"height": SIDE, "width": SIDE}, "do_center_crop": False},
            {"resize_mode": "squash"},
        ),
        ({"do_normalize": False}, {"mean": (0.0,) * 3, "std": (1.0,) * 3}),
        ({"rescale_factor": None, "do_resize": None}, {"resize_mode": "shortest"}),
    ],
)
def test_an_image_processor_in_open_clips_words(
    changes: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**PROCESSOR, **changes}))
    ((name, found),) = image_processor_in(tmp_path)
    assert name == "preprocessor_config.json"
    assert found.items() >= expected.items()


@pytest.mark.parametrize(
    "changes",
    [
        {"size": {"shortest_edge": 64}},
        {"do_center_crop": False},
        {"resample": 0},
        {"rescale_factor": 1 / 127.5},
        {"rescale_factor": "x"},
        {"resample": [3]},
        {"do_rescale": False},
        {"do_resize": False},
    ],
)
def test_what_open_clips_transform_cannot_do_is_refused(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**PROCESSOR, **changes}))
    with pytest.raises(OracleError, match=r"preprocessor_config\.json must resize"):
        list(image_processor_in(tmp_path))


def test_the_pixels_are_those_of_their_processor(theirs: Any) -> None:
    """But for what their resizing rounds otherwise: 1 of 255."""
    from PIL import Image

    from craft_ray.data.dataset import Item
    from craft_ray.data.pixels import plain_pixels
    from tests.support.images import encoded, noise

    processor = transformers.CLIPImageProcessor.from_pretrained(theirs[1])
    image: Image.Image = noise(70, 101)
    their = processor(image, return_tensors="np")["pixel_values"][0]
    transform = ClipOracle.load(config(theirs[1])).describe().transform
    pixels = plain_pixels([Item(encoded(image), 0, "image")], transform)[0] / 255
    mean, std = (np.array(PROCESSOR[name]).reshape(3, 1, 1) for name in ("image_mean", "image_std"))
    np.testing.assert_allclose((pixels - mean) / std, their, atol=1.01 / 255 / 0.2)


def test_settings_decide_where_a_processor_cannot_be_followed(folder: Path) -> None:
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**PROCESSOR, "resample": 0}))
    with pytest.raises(OracleError, match="image_mean, image_std, resize_mode and interpolation"):
        check_model_exists(config(folder))
    own = {"image_mean": (0.5,) * 3, "image_std": (0.5,) * 3}
    check_model_exists(config(folder, **own, resize_mode="squash", interpolation="bicubic"))


@pytest.mark.parametrize(
    ("tower", "changes", "problem"),
    [
        ("vision_config", {"num_attention_heads": 0}, "num_attention_heads .* is 0$"),
        ("vision_config", {"hidden_size": "wide"}, "hidden_size .* is 'wide'$"),
        ("vision_config", {"hidden_size": 100, "num_attention_heads": 3}, "divide .* is 3$"),
        ("text_config", {"intermediate_size": None}, "intermediate_size .* is None$"),
    ],
)
def test_a_broken_configuration_is_refused_by_name(
    tower: str, changes: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip", tower: changes}))
    with pytest.raises(OracleError, match=problem):
        check_model_exists(OracleConfig(model=f"local-dir:{tmp_path}"))


def test_the_width_within_a_layer_is_not_rounded_down(tmp_path: Path) -> None:
    changes = {"hidden_size": 896, "num_attention_heads": 14, "intermediate_size": 1952}
    document = {"model_type": "clip", "vision_config": changes}
    (tmp_path / "config.json").write_text(json.dumps(document))
    ratio = hub_architecture(tmp_path)["vision_cfg"]["mlp_ratio"]
    assert int(896 * ratio) == 1952
