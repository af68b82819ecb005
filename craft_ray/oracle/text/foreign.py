"""Tokenizers and text towers of `transformers`, which 49 of open_clip's models need and an
installation has with the extra `hf` only."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from pathlib import Path
from typing import Any

from craft_ray.errors import OracleError

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
ANSWER_WITHIN_S = 10.0
"""Of the hub, when it is asked whether it is there."""
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
    if folder is not None and (folder / TOWER_SETTINGS).is_file():
        found = folder
    elif (cached := _cached(name, TOWER_SETTINGS)) is not None:
        found = cached.parent
    else:
        where = f"{TOWER_SETTINGS} of {name} into {folder}" if folder else None
        _check_hub_answers(name, TOWER_SETTINGS, copy=where)
        return {}
    # Weights of the whole model are loaded afterwards, from the checkpoint.
    settings = {"hf_model_name": str(found), "hf_model_pretrained": False}
    return {"text_cfg": {**architecture["text_cfg"], **settings}}


def load_tokenizer(model: str, architecture: dict[str, Any], folder: Path | None) -> Any:
    """A tokenizer of open_clip: CLIP's own, or one that wraps a tokenizer of `transformers`, which
    is read from the model's folder, from the hub's cache or from the hub, in this order.

    Raises:
        OracleError: its files are not in the folder, or not in the cache and the hub cannot be
            asked.
    """
    open_clip = importlib.import_module("open_clip")
    name = foreign_names(architecture)[0]
    if not name:
        return open_clip.get_tokenizer(model)
    if folder is not None:
        _check_tokenizer_is_in(folder, name)
        return open_clip.get_tokenizer(model, local_files_only=True)
    if _cached(name, TOKENIZER_SETTINGS) is not None:
        try:
            return open_clip.get_tokenizer(model, local_files_only=True)
        except OSError:  # the cache has a part of the files
            pass
    _check_hub_answers(name, TOKENIZER_SETTINGS, copy=None)
    return open_clip.get_tokenizer(model)


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


def _check_tokenizer_is_in(folder: Path, name: str) -> None:
    if not any((folder / file).is_file() for file in TOKENIZER_FILES):
        raise OracleError(
            f"oracle.model: {folder} must hold its tokenizer ({TOKENIZER_SETTINGS} and "
            f"one of {', '.join(TOKENIZER_FILES)}), but does not: copy those of {name} from the "
            "Hugging Face hub into it"
        )


def _cached(repository: str, file: str) -> Path | None:
    """Where the hub's cache on this machine has a file."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, file)
    return Path(found) if isinstance(found, str) else None


def _check_hub_answers(repository: str, file: str, *, copy: str | None) -> None:
    """Refuse to ask a hub that is not there: its client would try for most of a minute, for each
    file.

    Raises:
        OracleError: says what can be done without a network.
    """
    from huggingface_hub import constants, get_session, hf_hub_url

    if constants.HF_HUB_OFFLINE:
        why = "HF_HUB_OFFLINE is set"
    else:
        try:
            address = hf_hub_url(repository, file)
            get_session().head(address, timeout=ANSWER_WITHIN_S, follow_redirects=False)
        except Exception as error:  # of whichever client and network
            why = f"the hub cannot be reached ({' '.join(str(error).split())[:100]})"
        else:
            return
    remedy = copy or (
        "it and the model's other files into a folder and take oracle.model=local-dir:<folder>, or "
        f"fetch it into the cache where there is a network: hf download {repository}"
    )
    raise OracleError(
        f"oracle.model: {file} of {repository} must be on this machine, but is not in the cache of "
        f"Hugging Face, and {why}: copy {remedy}"
    )
