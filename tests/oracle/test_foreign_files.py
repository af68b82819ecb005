"""Tokenizers and text towers of `transformers`: read offline where they are on this machine, and
refused with the remedy, at once, where they are not."""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch

from craft_ray.config.oracle import OracleConfig
from craft_ray.errors import OracleError
from craft_ray.oracle.catalogue import architectures
from craft_ray.oracle.check import check_model_exists
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.oracle.hub import check_weights_at_hand
from craft_ray.oracle.loading import load_model
from craft_ray.oracle.text.foreign import load_tokenizer, tower_settings
from craft_ray.oracle.text.frame import frame_of
from tests.oracle.conftest import clip_of
from tests.support.checkpoints import tiny_clip_dir
from tests.support.foreign_models import foreign_model_dir
from tests.support.imports import found_among, loaded_by

SIGLIP = "ViT-B-16-SigLIP"


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An empty cache, and a session in which every address is unknown; returns those asked for."""
    asked = []

    class Session:
        def head(self, address: str, **_: Any) -> None:
            asked.append(address)
            raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_session", Session)
    return asked


@pytest.fixture
def without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "transformers" else find(name, *rest),
    )


def put_into_cache(cache: Path, repository: str, files: Path) -> None:
    """As the hub's client keeps them."""
    root = cache / f"models--{repository.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("abc")
    shutil.copytree(files, root / "snapshots" / "abc")


@pytest.mark.usefixtures("without_transformers")
def test_without_the_extra_a_model_is_refused_with_what_to_install(tmp_path: Path) -> None:
    named = OracleConfig(model=SIGLIP, pretrained="webli")
    with pytest.raises(OracleError, match=r"tokenizer 'timm/ViT-B-16-SigLIP'.*'craft-ray\[hf\]'"):
        check_model_exists(named)
    tower = OracleConfig(model="roberta-ViT-B-32", pretrained="laion2b_s12b_b32k")
    with pytest.raises(OracleError, match=r"text tower 'roberta-base'.*'craft-ray\[hf\]'"):
        check_model_exists(tower)
    folder = foreign_model_dir(tmp_path / "model", "clipa")
    with pytest.raises(OracleError, match=r"pip install 'craft-ray\[hf\]'"):
        check_model_exists(OracleConfig(model=f"local-dir:{folder}"))
    with pytest.raises(OracleError, match=r"pip install 'craft-ray\[hf\]'"):
        clip_of(folder)
    check_model_exists(OracleConfig(model="ViT-B-32", pretrained="openai"))


@pytest.mark.parametrize("family", ["siglip", "mt5"])
def test_a_folder_is_loaded_without_asking_anybody(
    family: str, tmp_path: Path, no_network: list[str]
) -> None:
    oracle = clip_of(foreign_model_dir(tmp_path / "model", family))
    assert oracle.describe().embed_dim == 24
    assert no_network == []


def test_a_long_text_tower_whose_description_names_the_hub_is_read_from_its_folder(
    tmp_path: Path, no_network: list[str]
) -> None:
    hub = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
    named = {"hf_model_name": hub, "hf_tokenizer_name": hub, "context_length": 256}
    folder = foreign_model_dir(tmp_path / "model", "bert", **named)
    (folder / "open_clip_model.safetensors").rename(folder / "biomedical.safetensors")
    assert clip_of(folder).describe().context_length == 256
    assert no_network == []


def test_a_folder_without_its_tokenizer_is_refused_with_its_name(tmp_path: Path) -> None:
    folder = foreign_model_dir(tmp_path / "model", "siglip")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(OracleError, match=r"must hold the files of its tokenizer .*: copy"):
        clip_of(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": "1.0"}'])
def test_a_broken_tokenizer_is_refused(content: str, tmp_path: Path) -> None:
    folder = foreign_model_dir(tmp_path / "model", "siglip")
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(OracleError, match=f"the tokenizer in {folder} cannot be read: .*copy"):
        clip_of(folder)


def test_a_tokenizer_without_its_settings_is_refused(tmp_path: Path) -> None:
    folder = foreign_model_dir(tmp_path / "model", "siglip")
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(OracleError, match=r"padding token, but tokenizer_config\.json names none"):
        clip_of(folder)


def test_a_tower_without_its_settings_is_refused_at_once(
    tmp_path: Path, no_network: list[str]
) -> None:
    folder = foreign_model_dir(tmp_path / "model", "mt5")
    (folder / "config.json").unlink()
    with pytest.raises(OracleError, match=f"config.json of mt5 must be .*copy it into {folder}"):
        clip_of(folder)
    assert len(no_network) == 1


@pytest.mark.parametrize("name", ["./tower", "/elsewhere/roberta"])
def test_a_tower_that_is_named_by_a_path_is_read_from_the_folder(
    name: str, tmp_path: Path, no_network: list[str]
) -> None:
    folder = foreign_model_dir(tmp_path / "model", "roberta")
    path = folder / "open_clip_config.json"
    path.write_text(
        path.read_text().replace('"hf_model_name": "roberta"', f'"hf_model_name": "{name}"')
    )
    assert clip_of(folder)
    (folder / "config.json").unlink()
    with pytest.raises(OracleError, match=f"config.json of {name} must be .*copy it into {folder}"):
        clip_of(folder)
    assert no_network == []


def test_without_a_network_the_hub_is_asked_once_and_for_no_minute(no_network: list[str]) -> None:
    began_s = time.monotonic()
    with pytest.raises(OracleError, match=r"cannot be reached .*local-dir:<folder>.*hf download"):
        load_tokenizer(SIGLIP, architectures()[SIGLIP], None)
    assert time.monotonic() - began_s < 5
    assert no_network == [
        "https://huggingface.co/timm/ViT-B-16-SigLIP/resolve/main/tokenizer_config.json"
    ]
    for model, tag in ((SIGLIP, "webli"), ("ViT-B-32", "laion2b_s34b_b79k")):
        with pytest.raises(OracleError, match=r"cannot be reached .*oracle\.pretrained=<file>"):
            load_model(OracleConfig(model=model, pretrained=tag), torch.device("cpu"))
    assert len(no_network) == 3


def test_the_switch_for_offline_work_is_obeyed(
    no_network: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OracleError, match="HF_HUB_OFFLINE is set: copy all files"):
        load_tokenizer(SIGLIP, architectures()[SIGLIP], None)
    with pytest.raises(OracleError, match="HF_HUB_OFFLINE is set: copy the weights"):
        check_weights_at_hand({"hf_hub": "timm/ViT-B-16-SigLIP/"})
    assert no_network == []


def test_what_is_in_the_cache_is_read_from_there(tmp_path: Path, no_network: list[str]) -> None:
    files = foreign_model_dir(tmp_path / "model", "mt5")
    for repository in ("timm/ViT-B-16-SigLIP", "google/mt5-base"):
        put_into_cache(tmp_path / "cache", repository, files)
    tokenizer = load_tokenizer(SIGLIP, architectures()[SIGLIP], None)
    assert tokenizer(["a cat"]).shape == (1, 64)
    settings = tower_settings(architectures()["mt5-base-ViT-B-32"], None)
    assert Path(settings["text_cfg"]["hf_model_name"]).is_relative_to(tmp_path / "cache")
    check_weights_at_hand({"hf_hub": "google/mt5-base/"})
    check_weights_at_hand({"hf_hub": "google/mt5-base/open_clip_model.bin"})
    assert no_network == []


def test_a_tokenizer_that_pads_on_the_left_pads_on_the_right(tmp_path: Path) -> None:
    """As Gemma's does by default, and no model of open_clip was trained."""
    folder = foreign_model_dir(tmp_path / "model", "siglip2")
    expected = clip_of(folder).describe().oracle_id
    settings = folder / "tokenizer_config.json"
    settings.write_text(settings.read_text().replace('"right"', '"left"'))
    assert '"left"' in settings.read_text()
    assert clip_of(folder).describe().oracle_id == expected


def test_a_tokenizer_that_does_not_write_the_end_is_refused(tmp_path: Path) -> None:
    """The tower would read the first token, which is the same for every class."""
    folder = foreign_model_dir(tmp_path / "model", "metaclip2")
    document = json.loads((folder / "tokenizer.json").read_text())
    document["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(OracleError, match=r"is read at the token 2, .* ends them with \[\]"):
        clip_of(folder)


def test_the_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    """Ids that the tower has no embedding for."""
    folder = foreign_model_dir(tmp_path / "model", "clipa")
    other = foreign_model_dir(tmp_path / "other", "roberta")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(other / file, folder / file)
    with pytest.raises(OracleError, match="the tokenizer belongs to another model"):
        clip_of(folder).register_task(ClassificationTask(("satellite", "above")))


def test_another_tokenizer_is_another_model(tmp_path: Path) -> None:
    """Its answers are others, and are not taken for those of the first."""
    folder = foreign_model_dir(tmp_path / "a", "siglip2")
    first, again = clip_of(folder).describe(), clip_of(folder).describe()
    assert (first.oracle_id, first.weights_id) == (again.oracle_id, again.weights_id)
    document = json.loads((folder / "tokenizer.json").read_text())
    words = document["model"]["vocab"]
    first_word, second_word = "c", "t"
    words[first_word], words[second_word] = words[second_word], words[first_word]
    (folder / "tokenizer.json").write_text(json.dumps(document))
    other = clip_of(folder).describe()
    assert other.oracle_id != first.oracle_id
    assert other.weights_id != first.weights_id


def test_other_settings_of_the_tower_are_another_model(tmp_path: Path) -> None:
    folder = foreign_model_dir(tmp_path / "model", "roberta")
    path = folder / "config.json"
    settings = json.loads(path.read_text())
    ids = []
    for changes in ({}, {"num_attention_heads": 4}, {"transformers_version": "9.9"}):
        path.write_text(json.dumps({**settings, **changes}))
        ids.append(clip_of(folder).describe().weights_id)
    assert ids[0] == ids[2] != ids[1]


def test_words_that_would_end_a_text_are_refused(tmp_path: Path) -> None:
    oracle = clip_of(foreign_model_dir(tmp_path / "a", "metaclip2"))
    for name in ("cat</s>dog", "<pad>"):
        with pytest.raises(OracleError, match=f"class '{name}': .*the end or the padding"):
            oracle.register_task(ClassificationTask(("cat", name)))
    with pytest.raises(OracleError, match=r"class 'dog': .*the end or the padding"):
        oracle.register_task(ClassificationTask(("dog",), "</s> {}"))


def test_names_alike_to_the_tokenizer_are_told_by_the_oracle(tmp_path: Path) -> None:
    """SigLIP's cleaning drops punctuation."""
    names = ("C", "cat", "C++", "T-shirt", "tshirt")
    siglip = clip_of(foreign_model_dir(tmp_path / "siglip", "siglip"))
    assert siglip.register_task(ClassificationTask(names)).alike == ((0, 2), (3, 4))
    clip = clip_of(tiny_clip_dir(tmp_path / "clip"))
    assert clip.register_task(ClassificationTask(names)).alike == ()


def test_a_tokenizer_of_another_build_is_refused() -> None:
    class Odd:
        def __call__(self, texts: list[str], context_length: int) -> torch.Tensor:
            return torch.tensor([[len(text)] + [7] * (context_length - 1) for text in texts])

    with pytest.raises(OracleError, match="must write start, words, end and padding"):
        frame_of(Odd())


@pytest.mark.slow
def test_a_tower_gets_transformers_where_open_clip_was_imported_without(tmp_path: Path) -> None:
    folder = foreign_model_dir(tmp_path / "model", "roberta")
    program = (
        "from craft_ray.config.oracle import OracleConfig\n"
        "from craft_ray.oracle.clip import ClipOracle\n"
        "import sys\n"
        "assert 'transformers' not in sys.modules\n"
        f"ClipOracle.load(OracleConfig(model='local-dir:{folder}'))\n"
    )
    assert found_among(loaded_by(program), ["transformers"]) == {"transformers"}
