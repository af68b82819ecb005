"""Tiny models of the families that bring a tokenizer of `transformers`, with random weights and a
tokenizer trained here, stored as people store theirs. Nothing is downloaded."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file

from craft_ray.oracle.text.foreign import make_towers_possible
from tests.support.checkpoints import TINY_CLIP, WEIGHTS_FILE, tiny_clip_dir, write_config

LENGTH = 48
"""Tokens of a prompt."""

CORPUS = (
    "a photo of a cat.",
    "satellite photo of it from above, an ankle boot and a T-shirt/top on the photo of a dog!",
    "a very long railway station name, itap of a black cat's café",
    "it is a picture of the airplane; number 1234567890 (or so?)",
)


def _trained(kind: str, specials: list[str]) -> Any:
    """A tokenizer of the library `tokenizers`; `specials` get the first ids."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    options: dict[str, Any] = {"special_tokens": specials, "show_progress": False}
    if kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer: Any = trainers.WordPieceTrainer(vocab_size=400, **options)
    elif kind == "bytes":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, **options)
    else:
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.BpeTrainer(vocab_size=400, **options)
    tokenizer.train_from_iterator(CORPUS * 4, trainer)
    return tokenizer


def _save_tokenizer(
    folder: Path, kind: str, specials: list[str], template: str, **named: Any
) -> int:
    """Write its files; returns the number of its words."""
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    tokenizer = _trained(kind, specials)
    around = [word for word in template.split() if word != "$A"]
    pairs = [(word, tokenizer.token_to_id(word)) for word in around]
    tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=pairs)
    wrapped: Any = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, padding_side="right", **named
    )
    wrapped.save_pretrained(folder)
    return len(wrapped)


XLM = {
    "kind": "pieces",
    "specials": ["<s>", "<pad>", "</s>", "<unk>"],
    "template": "<s> $A </s>",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
}
T5 = {
    "kind": "pieces",
    "specials": ["<pad>", "</s>", "<unk>"],
    "template": "$A </s>",
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
}
BERT = {
    "kind": "wordpiece",
    "specials": ["[PAD]", "[UNK]", "[CLS]", "[SEP]"],
    "template": "[CLS] $A [SEP]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
}
ROBERTA = {**XLM, "kind": "bytes", "cls_token": "<s>", "sep_token": "</s>"}
NLLB = {
    **XLM,
    "specials": ["<s>", "<pad>", "</s>", "<unk>", "eng_Latn"],
    "template": "eng_Latn $A </s>",
}
SIGLIP = {**T5, "specials": ["<unk>", "</s>"], "pad_token": "</s>"}
CLIPS = {**BERT, "bos_token": "[CLS]", "eos_token": "[SEP]"}

LAST = {"no_causal_mask": True, "pool_type": "last"}
CANONICAL = {"clean": "canonicalize"}
OWN_TOWERS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "siglip": (
        SIGLIP,
        {
            **LAST,
            "proj_bias": True,
            "tokenizer_kwargs": CANONICAL,
            "norm_kwargs": {"eps": 1e-6},
        },
        {"custom_text": True, "init_logit_bias": -10.0},
    ),
    "siglip2": (
        T5,
        {
            **LAST,
            "proj_bias": True,
            "tokenizer_kwargs": CANONICAL,
            "act_kwargs": {"approximate": "tanh"},
        },
        {"custom_text": True, "init_logit_bias": -10.0},
    ),
    "clipa": (BERT, {**LAST, "tokenizer_kwargs": {"strip_sep_token": True}}, {}),
    "clips": (CLIPS, {**LAST, "tokenizer_mode": "clips"}, {"custom_text": True}),
    "metaclip2": (XLM, {"pool_type": "eos", "eos_id": 2}, {}),
    "metaclip2_mt5": (T5, {"pool_type": "eos", "eos_id": 1}, {}),
}
"""Those with a text tower of open_clip: tokenizer, text_cfg and the rest of the model_cfg."""

SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
ROBERTA_TOWER = {**SMALL, "intermediate_size": 32, "max_position_embeddings": LENGTH + 4}
T5_TOWER = {"d_model": 24, "d_kv": 12, "d_ff": 32, "num_layers": 2, "num_heads": 2}
M2M_TOWER = {
    "d_model": 24,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "max_position_embeddings": LENGTH,
}
HF_TOWERS: dict[str, tuple[dict[str, Any], str, dict[str, Any], dict[str, Any]]] = {
    "roberta": (ROBERTA, "RobertaConfig", ROBERTA_TOWER, {"hf_pooler_type": "mean_pooler"}),
    "bert": (
        BERT,
        "BertConfig",
        {**ROBERTA_TOWER, "max_position_embeddings": 256},
        {"hf_pooler_type": "cls_last_hidden_state_pooler", "hf_proj_type": "mlp"},
    ),
    "xlm_roberta": (XLM, "XLMRobertaConfig", ROBERTA_TOWER, {"hf_pooler_type": "mean_pooler"}),
    "mt5": (T5, "MT5Config", T5_TOWER, {"hf_pooler_type": "mean_pooler"}),
    "nllb": (
        NLLB,
        "M2M100Config",
        M2M_TOWER,
        {"hf_pooler_type": "cls_pooler", "hf_proj_type": "linear"},
    ),
}
"""Those with a text tower of `transformers`: tokenizer, kind and size of the tower, text_cfg."""

FAMILIES = (*OWN_TOWERS, *HF_TOWERS)


def foreign_model_dir(folder: Path, family: str, **changes: Any) -> Path:
    """Write a random model of a family, which `local-dir:<folder>` names.

    Args:
        folder: is made.
        family: of `FAMILIES`.
        changes: of the `text_cfg`.
    """
    if family in OWN_TOWERS:
        tokenizer, text_cfg, rest = OWN_TOWERS[family]
        files = folder / "tokenizer"
        size = _save_tokenizer(files, **tokenizer)
        text_cfg = {
            "context_length": LENGTH,
            **text_cfg,
            **changes,
            "hf_tokenizer_name": family,
            "vocab_size": size,
        }
        model = folder / "model"
        tiny_clip_dir(model, text_cfg=text_cfg, **rest)
        for file in files.iterdir():
            file.rename(model / file.name)
        return model
    return _hf_tower_dir(folder, family, changes)


def _hf_tower_dir(folder: Path, family: str, changes: dict[str, Any]) -> Path:
    import transformers

    tokenizer, kind, tower, text_cfg = HF_TOWERS[family]
    size = _save_tokenizer(folder, **tokenizer)
    specials = tokenizer["specials"]
    ids = {
        f"{name}_token_id": specials.index(tokenizer[f"{name}_token"])
        for name in ("pad", "eos")
        if f"{name}_token" in tokenizer
    }
    config = getattr(transformers, kind)(vocab_size=size, **tower, **ids)
    config.save_pretrained(folder)
    named = {"hf_model_name": family, "hf_tokenizer_name": family, "context_length": LENGTH}
    text_cfg = {**named, **text_cfg, **changes}
    model_cfg = {**TINY_CLIP, "text_cfg": text_cfg}
    make_towers_possible(model_cfg)
    drawn = {**text_cfg, "hf_model_name": str(folder), "hf_model_pretrained": False}
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        model = open_clip.CustomTextCLIP(TINY_CLIP["embed_dim"], TINY_CLIP["vision_cfg"], drawn)
        # As a trained model has it: prompts that differ look different.
        for weights in model.text.transformer.parameters():
            if weights.ndim == 2:
                weights.data.normal_(std=0.3)
    state = {name: value.clone().contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / WEIGHTS_FILE)
    write_config(folder, model_cfg)
    return folder
