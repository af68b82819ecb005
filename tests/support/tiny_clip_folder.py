"""A program for the environment of a foreign server: writes a folder with a small random CLIP or
SigLIP and a byte-level tokenizer, as `transformers` saves and loads them. Nothing is downloaded.

    python tiny_clip_folder.py clip|siglip FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SIDE = 48
WIDTH = 32
MERGES = ("t h", "th e</w>", "a n", "o f</w>", "p h")
LONGEST = {"clip": 77, "siglip": 64}


def tokenizer(folder: Path, longest: int) -> Any:
    """CLIP's own kind, with all bytes and a few merges."""
    from transformers import CLIPTokenizerFast
    from transformers.models.clip.tokenization_clip import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    words += [merge.replace(" ", "") for merge in MERGES]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = folder / "vocab.json"
    vocabulary.write_text(json.dumps({word: number for number, word in enumerate(words)}))
    merges = folder / "merges.txt"
    merges.write_text("\n".join(["#version: 0.2", *MERGES, ""]))
    return CLIPTokenizerFast(
        vocab_file=str(vocabulary), merges_file=str(merges), model_max_length=longest
    )


def write(kind: str, folder: Path) -> None:
    import torch
    import transformers

    torch.manual_seed(0)
    folder.mkdir(parents=True)
    words = tokenizer(folder, LONGEST[kind])
    size = len(words)
    common = {
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    text = {
        **common,
        "vocab_size": size,
        "max_position_embeddings": LONGEST[kind],
        "bos_token_id": size - 2,
        "eos_token_id": size - 1,
        "pad_token_id": size - 1,
    }
    vision = {**common, "image_size": SIDE, "patch_size": 16}
    model: Any
    images: Any
    if kind == "clip":
        sides = {"projection_dim": WIDTH}
        config = transformers.CLIPConfig({**text, **sides}, {**vision, **sides}, WIDTH)
        model = transformers.CLIPModel(config)
        square = {"height": SIDE, "width": SIDE}
        images = transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=square)
        processor: Any = transformers.CLIPProcessor(images, words)
    else:
        config = transformers.SiglipConfig(text, vision)
        model = transformers.SiglipModel(config)
        # As trained ones have it: a bias that makes most scores small.
        model.logit_scale.data.fill_(3.0)
        model.logit_bias.data.fill_(-2.0)
        images = transformers.SiglipImageProcessor(size={"height": SIDE, "width": SIDE})
        images.save_pretrained(folder)
        processor = words
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
