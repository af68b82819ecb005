"""A program for the environment of a foreign server: features of a folder's CLIP by `transformers`
alone, each image and each text by itself.

    python clip_features.py MODEL QUESTION MAX_TOKENS

`QUESTION` has `texts.json`, and the images `images/*` in the order of their names; `images.npy` and
`texts.npy` are written there, with rows of length one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def unit(row: Any) -> Any:
    return (row / row.norm(dim=-1, keepdim=True))[0].numpy()


def main(model_folder: str, question: Path, max_tokens: int) -> None:
    import torch
    from PIL import Image
    from transformers import CLIPModel, CLIPProcessor

    torch.set_num_threads(1)
    model = CLIPModel.from_pretrained(model_folder).eval()
    processor = CLIPProcessor.from_pretrained(model_folder)
    texts = json.loads((question / "texts.json").read_text())
    with torch.no_grad():
        images = []
        for path in sorted((question / "images").iterdir()):
            pixels = processor(images=Image.open(path), return_tensors="pt")
            images.append(unit(model.get_image_features(**pixels)))
        rows = []
        for text in texts:
            tokens = processor(
                text=[text], return_tensors="pt", truncation=True, max_length=max_tokens
            )
            rows.append(unit(model.get_text_features(**tokens)))
    np.save(question / "images.npy", np.stack(images))
    np.save(question / "texts.npy", np.stack(rows))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
