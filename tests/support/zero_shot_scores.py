"""A program for the environment of a foreign server: logits of a folder's CLIP or SigLIP, without
the pipeline.

    python zero_shot_scores.py MODEL QUESTION

`QUESTION` has `texts.json`, and the images `images/*` in the order of their names; `logits.npy`,
[images, texts], is written there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(model_folder: str, question: Path) -> None:
    import torch
    from PIL import Image
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    torch.set_num_threads(1)
    model = AutoModel.from_pretrained(model_folder).eval()
    words = AutoTokenizer.from_pretrained(model_folder)
    texts = json.loads((question / "texts.json").read_text())
    # SigLIP was trained on texts that are all padded to one length.
    padding: dict[str, Any] = {"padding": True}
    if model.config.model_type == "siglip":
        padding = {"padding": "max_length", "max_length": 64, "truncation": True}
    tokens = words(texts, return_tensors="pt", **padding)
    tokens = {name: tokens[name] for name in ("input_ids", "attention_mask") if name in tokens}
    process = AutoImageProcessor.from_pretrained(model_folder)
    rows = []
    with torch.no_grad():
        for path in sorted((question / "images").iterdir()):
            pixels = process(images=Image.open(path).convert("RGB"), return_tensors="pt")
            rows.append(model(**tokens, **pixels).logits_per_image[0].numpy())
    np.save(question / "logits.npy", np.stack(rows))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
