"""Tokenizers and text towers of `transformers`, which 49 of open_clip's models need and an
installation has with the extra `hf` only."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from craft_ray.errors import OracleError
from craft_ray.oracle.hub import cached, check_hub_answers

INSTALL = "pip install 'craft-ray[hf]'"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.txt",
    "vocab.json",
)
"""One of them holds the words of a tokenizer."""
TOKENIZER_SETTINGS = "tokenizer_config.json"
TOWER_SETTINGS = "config.json"
SAY_NOTHING = ("transformers_version", "_name_or_path", "architectures", "torch_dtype", "dtype")
"""Of these settings; no answer depends on them."""
INTO_A_FOLDER = "copy all files of the model into a folder and take oracle.model=local-dir:<folder>"
LONGEST_REASON = 200
COMPARED_TEXTS = ("", "a photo of a cat.", "It's 3 o'clock: café_au-lait, naïve", "Ελλάδα 日本 <s>")

_OF_HF_MODEL = {
    "transformers": ("AutoModel", "AutoTokenizer", "AutoConfig", "PretrainedConfig"),
    "transformers.modeling_outputs": (
        "BaseModelOutput",
        "BaseModelOutputWithPooling",
        "BaseModelOutputWithPoolingAndCrossAttentions",
    ),
}
"""What `open_clip.hf_model` imports, if it can."""


def foreign_names(architecture: dict[str, Any]) -> tuple[str, str]:
    """Names on the Hugging Face hub of a model's tokenizer and of its text tower; empty where it is
    open_clip's own."""
    text = architecture.get("text_cfg")
    if not isinstance(text, dict):
        return "", ""  # a broken description: `load_model` says it
    return str(text.get("hf_tokenizer_name") or ""), str(text.get("hf_model_name") or "")


def check_installed(model: str, architecture: dict[str, Any]) -> None:
    """Refuse a model that needs `transformers` where that is not installed. Imports nothing.

    Raises:
        OracleError: says what to install.
    """
    names = foreign_names(architecture)
    if any(names) and importlib.util.find_spec("transformers") is None:
        what = f"text tower {names[1]!r}" if names[1] else f"tokenizer {names[0]!r}"
        raise OracleError(
            f"oracle.model: {model} needs the package transformers for its {what}, which is not "
            f"installed: {INSTALL}"
        )


def make_towers_possible(architecture: dict[str, Any]) -> None:
    """Give open_clip the parts of `transformers` for a text tower, because it was imported without:
    that costs every process a second, and few models need it."""
    if not foreign_names(architecture)[1]:
        return
    module = importlib.import_module("open_clip.hf_model")
    if getattr(module, "transformers", None) is not None:
        return
    for source, names in _OF_HF_MODEL.items():
        for name in names:
            setattr(module, name, getattr(importlib.import_module(source), name))
    module.__dict__["transformers"] = importlib.import_module("transformers")


def tower_settings(architecture: dict[str, Any], folder: Path | None) -> dict[str, Any]:
    """Arguments of `open_clip.create_model` by which the settings of a text tower of `transformers`
    are read from this machine: from the model's folder, or from the hub's cache.

    Args:
        architecture: open_clip's `model_cfg`.
        folder: of the model; None for one that is named.

    Raises:
        OracleError: they are in neither, and the hub cannot be asked.
    """
    name = foreign_names(architecture)[1]
    if not name:
        return {}
    file = _tower_file(name, folder)
    if file is None:
        remedy = f"copy it into {folder}" if folder else INTO_A_FOLDER
        check_hub_answers(name, TOWER_SETTINGS, remedy)
        return {}
    # Weights of the whole model are loaded afterwards, from the checkpoint.
    settings = {"hf_model_name": str(file.parent), "hf_model_pretrained": False}
    return {"text_cfg": {**architecture["text_cfg"], **settings}}


def with_tower(architecture: dict[str, Any], folder: Path | None) -> dict[str, Any]:
    """The architecture of a model that is loaded, with the settings of its text tower of
    `transformers`: the number of heads, say, leaves no trace in the weights.

    Args:
        architecture: open_clip's `model_cfg`.
        folder: of the model; None for one that is named.
    """
    name = foreign_names(architecture)[1]
    file = _tower_file(name, folder) if name else None
    if file is None:
        return architecture
    settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    decisive = {key: value for key, value in settings.items() if key not in SAY_NOTHING}
    return {**architecture, "text_tower": decisive}


def _tower_file(name: str, folder: Path | None) -> Path | None:
    if folder is not None and (folder / TOWER_SETTINGS).is_file():
        return folder / TOWER_SETTINGS
    return cached(name, TOWER_SETTINGS)


def load_tokenizer(model: str, architecture: dict[str, Any], folder: Path | None) -> Any:
    """A tokenizer of open_clip: CLIP's own, or one that wraps a tokenizer of `transformers`, which
    is read from the model's folder, from the hub's cache or from the hub, in this order.

    Args:
        model: its name for open_clip.
        architecture: its `model_cfg`.
        folder: where it is; None for one that is named.

    Raises:
        OracleError: `transformers` is not installed, the files are not in the folder or are broken,
            or they are not in the cache and the hub cannot be asked.
    """
    get_tokenizer = importlib.import_module("open_clip").get_tokenizer
    name = foreign_names(architecture)[0]
    if not name:
        return get_tokenizer(model)
    check_installed(model, architecture)
    if folder is not None:
        tokenizer = _tokenizer_in(folder, name, lambda: get_tokenizer(model, local_files_only=True))
    else:
        tokenizer = _named_tokenizer(name, get_tokenizer, model)
    if tokenizer.tokenizer.pad_token_id is None:
        raise OracleError(
            f"oracle.model: the tokenizer of {model} must have a padding token, but "
            f"{TOKENIZER_SETTINGS} names none: take that of {name} from the Hugging Face hub"
        )
    # Gemma's pads on the left where its settings say nothing; no model of open_clip was trained so.
    tokenizer.tokenizer.padding_side = "right"
    return tokenizer


def tokenizer_address(tokenizer: Any) -> str:
    """Content address of a tokenizer of `transformers`, whatever its version: of its words, and of
    what it makes of a few texts. Empty for CLIP's own, which is always the same."""
    inner = getattr(tokenizer, "tokenizer", None)
    if inner is None:
        return ""
    digest = hashlib.sha256()
    for word, number in sorted(inner.get_vocab().items(), key=lambda item: (item[1], item[0])):
        digest.update(f"{number} {word}\n".encode(errors="surrogatepass"))
    rows = tokenizer(list(COMPARED_TEXTS))
    digest.update(repr(rows.tolist()).encode())
    return digest.hexdigest()


def _tokenizer_in(folder: Path, name: str, load: Callable[[], Any]) -> Any:
    remedy = f"copy those of {name} from the Hugging Face hub into it"
    if not any((folder / file).is_file() for file in TOKENIZER_FILES):
        raise OracleError(
            f"oracle.model: {folder} must hold the files of its tokenizer ({TOKENIZER_SETTINGS}, "
            f"and one of {', '.join(TOKENIZER_FILES)}), but does not: {remedy}"
        )
    try:
        return load()
    except ImportError as error:  # a format that needs one more package
        raise OracleError(
            f"oracle.model: the tokenizer in {folder} cannot be read: {_one_line(error)}: {INSTALL}"
        ) from error
    except Exception as error:  # transformers lets out whatever a broken file causes
        raise OracleError(
            f"oracle.model: the tokenizer in {folder} cannot be read: {_one_line(error)}: {remedy}"
        ) from error


def _named_tokenizer(name: str, load: Callable[..., Any], model: str) -> Any:
    if cached(name, TOKENIZER_SETTINGS) is not None:
        with suppress(OSError):  # the cache has a part of the files
            return load(model, local_files_only=True)
    check_hub_answers(name, TOKENIZER_SETTINGS, INTO_A_FOLDER)
    return load(model)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:LONGEST_REASON] or type(error).__name__
