"""Every architecture that open_clip knows by name: its text tower, made small, takes soft prompts
on the path that docs/models.md names."""

from __future__ import annotations

import json
import re
import warnings
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from craft_ray.config.oracle import OracleConfig
from craft_ray.oracle.catalogue import architectures
from craft_ray.oracle.check import check_model_exists
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.oracle.loading import LoadedModel
from craft_ray.oracle.text.encoder import TextTower
from craft_ray.oracle.text.foreign import foreign_names, make_towers_possible
from craft_ray.oracle.text.prompts import tokenize_task
from tests.support.checkpoints import TINY_CLIP
from tests.support.foreign_models import foreign_model_dir

DOCUMENT = Path(__file__).parents[2] / "docs" / "models.md"
TASK = ClassificationTask(("cat", "ankle boot", "dog", "T-shirt/top"))

FAMILY_OF_TOKENIZER = {
    "timm/ViT-B-16-SigLIP": "siglip",
    "timm/ViT-B-16-SigLIP-i18n-256": "siglip",
    "timm/*SigLIP2*": "siglip2",
    "bert-base-uncased": "clipa",
    "facebook/xlm-v-base": "metaclip2",
    "roberta-base": "roberta",
    "xlm-roberta-*": "xlm_roberta",
    "google/mt5-base": "mt5",
    "google/mt5-xl": "mt5",
    "facebook/nllb-*": "nllb",
}
"""Tiny tokenizers that write what those of these names write around the words."""


def text_side(name: str) -> str:
    """What of a configuration decides how texts are computed, but for its size."""
    architecture = architectures()[name]
    text = {**architecture["text_cfg"]}
    for size in ("width", "heads", "layers", "vocab_size"):
        text.pop(size, None)
    kinds = ("custom_text", "quick_gelu", "multimodal_cfg")
    kind = {key: bool(architecture.get(key)) for key in kinds}
    return json.dumps({"text_cfg": text, **kind}, sort_keys=True)


class Row(NamedTuple):
    """Of the table of models."""

    patterns: tuple[str, ...]
    number: int
    example: str
    needs: str
    path: str


def rows() -> list[Row]:
    paths = {"shared": "shared_prefix", "plain": "plain"}
    found = []
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[1].isdigit():
            patterns = tuple(re.findall(r"`([^`]+)`", cells[0]))
            example = cells[2].strip("`")
            found.append(Row(patterns, int(cells[1]), example, cells[3], paths[cells[4]]))
    return found


ROWS = rows()


def row_of(name: str) -> Row:
    """The first that names a model."""
    return next(row for row in ROWS if any(fnmatchcase(name, one) for one in row.patterns))


ALIKE: dict[str, list[str]] = {}
for _name in sorted(architectures()):
    ALIKE.setdefault(text_side(_name), []).append(_name)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    families = sorted(set(FAMILY_OF_TOKENIZER.values()))
    return {family: foreign_model_dir(root / family, family) for family in families}


def family_of(tokenizer: str) -> str:
    (family,) = {f for name, f in FAMILY_OF_TOKENIZER.items() if fnmatchcase(tokenizer, name)}
    return family


def small(side: str, folders: dict[str, Path]) -> LoadedModel:
    """A model with this text side, one narrow layer deep, with random weights."""
    document = json.loads(side)
    text: dict[str, Any] = document["text_cfg"]
    named, tower = foreign_names(document)
    tokenizer: Any
    vocab_size = 49408
    if named:
        folder = folders[family_of(named)]
        options = text.get("tokenizer_kwargs") or {}
        length = text.get("context_length", 77)
        tokenizer = open_clip.tokenizer.HFTokenizer(str(folder), length, **options)
        vocab_size = len(tokenizer.tokenizer)
    else:
        tokenizer = open_clip.SimpleTokenizer(context_length=text.get("context_length", 77))
    size = {"width": 16, "heads": 2, "layers": 1, "vocab_size": vocab_size}
    text = {**text, **({} if tower else size)}
    if tower:
        make_towers_possible(document)
        text |= {"hf_model_name": str(folder), "hf_model_pretrained": False}
    arguments = {"embed_dim": 16, "vision_cfg": TINY_CLIP["vision_cfg"], "text_cfg": text}
    if document["quick_gelu"]:
        arguments["quick_gelu"] = True
    kind: Any = open_clip.CustomTextCLIP if document["custom_text"] or tower else open_clip.CLIP
    if document["multimodal_cfg"]:
        kind = open_clip.CoCa
        arguments["multimodal_cfg"] = {"context_length": 76, "width": 16, "heads": 2, "layers": 1}
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        model = kind(**arguments).eval().requires_grad_(False)
    return LoadedModel(model, tokenizer, 32, (0.5,) * 3, (0.5,) * 3, document)


@pytest.mark.parametrize("side", ALIKE, ids=[names[0] for names in ALIKE.values()])
def test_every_text_side_of_open_clip_answers_as_encode_text(
    side: str, tokenizers: dict[str, Path]
) -> None:
    loaded = small(side, tokenizers)
    tower = TextTower(loaded, OracleConfig())
    tokens = tokenize_task(TASK, loaded.tokenizer, tower.context_length)
    texts = [TASK.template.format(name) for name in TASK.class_names]
    with torch.inference_mode():
        expected = F.normalize(loaded.model.encode_text(loaded.tokenizer(texts)), dim=-1)
    features = F.normalize(tower.encode(tokens, tower.embed(tokens.prefix_L)[None])[0], dim=-1)
    assert (features - expected).abs().max() < 1e-5
    for name in ALIKE[side]:
        row = row_of(name)
        assert row.path == tower.path, name
        assert ("hf" in row.needs) == (not isinstance(loaded.tokenizer, open_clip.SimpleTokenizer))


def test_the_document_counts_every_model_once() -> None:
    counted = Counter(row_of(name) for name in architectures())
    assert {row: row.number for row in ROWS} == dict(counted)
    (total,) = re.findall(r"Any of the (\d+) architectures", DOCUMENT.read_text(encoding="utf-8"))
    assert int(total) == len(architectures())


def test_the_examples_of_the_document_are_there() -> None:
    for row in ROWS:
        name, tag = row.example.split("/")
        check_model_exists(OracleConfig(model=name, pretrained=tag))
        assert row_of(name) == row
