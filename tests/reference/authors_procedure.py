"""The authors' procedure, written a second time: straight down, and without craft-ray.

What `fidelity: reference` must reproduce. Nothing here is clever or fast: no Ray, no pool, one
candidate at a time, prompts of the full context length through the model's own transformer. It
shares no line with craft_ray; the random streams of a run are facts about it, copied here so that
both draw the same numbers.

Source: Wang et al., ICML 2024 (arXiv 2402.04050), and the authors' code, github.com/mrflogs/CraFT
at a28353d (`main_carrot.py`); `docs/reference.md` lists the choices.

    python -m tests.reference.authors_procedure local-dir:FOLDER DATA_FOLDER
"""

from __future__ import annotations

import io
import json
import math
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cma
import numpy as np
import open_clip
import pyarrow.parquet as pq
import torch
from cma.sigma_adaptation import CMAAdaptSigmaCSA
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.functional import InterpolationMode

# Facts about craft-ray: a seed and one of these numbers give an independent stream. For a view of
# the images, the stream and the number of the view.
PROJECTION, OPTIMIZER, HEAD = 10, 11, 12
HEAD_VIEW, FITNESS_VIEW = 0, 1


@dataclass(frozen=True)
class Settings:
    """Named as in the authors' configuration files where they have the setting."""

    seed: int = 1
    shots: int = 4
    budget: int = 400
    popsize: int = 40
    intrinsic_dim: int = 512
    std: float = 1.0
    sigma: float = 0.02
    bound: float | None = 5.0
    n: int = 4
    weight: float = 0.1
    hidden: int = 256
    lr: float = 1e-3
    batch_size: int = 256
    crop_scale_min: float = 0.5
    ctx_init: str = "a photo of a"
    deploys_best: bool = False
    """Their script for ImageNet (`xbest`)."""


@dataclass
class Trace:
    """What happened, and the two numbers at the end."""

    losses_GP: list[list[float]] = field(default_factory=list)
    """The fitness of every candidate."""
    deployed_GLE: list[Any] = field(default_factory=list)
    """The context that is deployed after each generation, [L, E] arrays."""
    head_losses_G: list[float] = field(default_factory=list)
    """Mean over the minibatches of an epoch."""
    validation_accuracy: float = math.nan
    test_accuracy: float = math.nan


def draw_seed(*numbers: int) -> int:
    """The seed that craft-ray derives from these numbers."""
    return int(np.random.SeedSequence(list(numbers)).generate_state(1)[0])


def run(checkpoint: str, data_folder: Path, settings: Settings) -> Trace:
    """All of it.

    Args:
        checkpoint: what `open_clip.create_model` takes, `local-dir:<folder>`.
        data_folder: `{train,val,test}.parquet` in the Hugging Face layout.
        settings: of the run.
    """
    s = settings
    trace = Trace()

    # --- the black box -------------------------------------------------------------------------
    model: Any = open_clip.create_model(checkpoint).eval().requires_grad_(False)
    tokenizer = open_clip.get_tokenizer(checkpoint)
    preprocess = open_clip.get_model_preprocess_cfg(model)
    size = preprocess["size"]
    image_size = int(size if isinstance(size, int) else size[0])
    mean_3 = torch.tensor(preprocess["mean"]).view(3, 1, 1)
    std_3 = torch.tensor(preprocess["std"]).view(3, 1, 1)
    scale = model.logit_scale.exp()

    # --- the data: CoOp's sampling -------------------------------------------------------------
    items: dict[str, list[tuple[bytes, int]]] = {}
    class_names: list[str] = []
    for split in ("train", "val", "test"):
        table = pq.read_table(data_folder / f"{split}.parquet")
        rows = table.to_pylist()
        items[split] = [(row["image"]["bytes"], row["label"]) for row in rows]
        metadata = json.loads(table.schema.metadata[b"huggingface"])
        class_names = metadata["info"]["features"]["label"]["names"]
    random.seed(s.seed)
    by_label: dict[int, list[tuple[bytes, int]]] = {}
    for item in items["train"]:
        by_label.setdefault(item[1], []).append(item)
    train = [item for group in by_label.values() for item in random.sample(group, s.shots)]
    train_labels = torch.tensor([label for _, label in train])

    # --- images --------------------------------------------------------------------------------
    plain = v2.Compose(
        [
            v2.Resize(image_size, interpolation=InterpolationMode.BICUBIC),
            v2.CenterCrop(image_size),
        ]
    )
    augmented = v2.Compose(
        [
            v2.RandomResizedCrop(
                image_size, scale=(s.crop_scale_min, 1), interpolation=InterpolationMode.BICUBIC
            ),
            v2.RandomHorizontalFlip(),
        ]
    )

    def encode_images(chosen: list[tuple[bytes, int]], transform: Any) -> torch.Tensor:
        """Unnormalised features."""
        features = []
        pictures = [transform(Image.open(io.BytesIO(data)).convert("RGB")) for data, _ in chosen]
        for start in range(0, len(pictures), 8):
            tensors = [
                (torch.tensor(np.asarray(picture)).permute(2, 0, 1) / 255.0 - mean_3) / std_3
                for picture in pictures[start : start + 8]
            ]
            with torch.no_grad():
                features.append(model.encode_image(torch.stack(tensors)))
        return torch.cat(features)

    def encode_view(stream: int, number: int) -> torch.Tensor:
        torch.manual_seed(draw_seed(s.seed, stream, number))
        return encode_images(train, augmented)

    def normalized(features: torch.Tensor) -> torch.Tensor:
        unit: torch.Tensor = features / features.norm(dim=-1, keepdim=True)
        return unit

    # The images that candidates are scored on: one augmentation, drawn once and kept.
    fitness_features = normalized(encode_view(FITNESS_VIEW, 0))

    # --- prompts: [SOS] context class name . [EOS] padding, all of the full context length -------
    ids = tokenizer([f"{s.ctx_init} {name.replace('_', ' ')}." for name in class_names])
    assert ids.shape[1] == model.context_length
    end_tokens = ids.argmax(dim=-1)
    with torch.no_grad():
        embedded = model.token_embedding(ids)
    n_ctx = len(s.ctx_init.split(" "))
    p0 = embedded[0, 1 : 1 + n_ctx]

    def encode_prompts(context: torch.Tensor) -> torch.Tensor:
        """Normalised text features of all classes under one context."""
        rows = []
        for row in range(len(class_names)):
            start, rest = embedded[row, :1], embedded[row, 1 + n_ctx :]
            rows.append(torch.cat([start, context, rest]))
        with torch.no_grad():
            x = torch.stack(rows) + model.positional_embedding
            x = model.transformer(x, attn_mask=model.attn_mask)
            x = model.ln_final(x)
            x = x[torch.arange(len(x)), end_tokens] @ model.text_projection
        return normalized(x)

    # --- the projection A ------------------------------------------------------------------------
    generator = np.random.default_rng(draw_seed(s.seed, PROJECTION))
    drawn = generator.normal(0.0, s.std, size=(s.intrinsic_dim, p0.numel()))
    projection = torch.tensor(drawn, dtype=torch.float32)

    def shift(z: Any) -> torch.Tensor:
        """A z."""
        return (torch.tensor(np.array(z), dtype=torch.float32) @ projection).reshape(p0.shape)

    # --- CMA-ES, with the step-size rule of the authors' pycma -----------------------------------
    stream = np.random.default_rng(draw_seed(s.seed, OPTIMIZER))
    options: dict[str, Any] = {
        "popsize": s.popsize,
        "AdaptSigma": CMAAdaptSigmaCSA,
        "randn": lambda *shape: stream.standard_normal(shape),
        "seed": np.nan,
        "verbose": -9,
    }
    if s.bound is not None:
        options["bounds"] = [-s.bound, s.bound]
    es = cma.CMAEvolutionStrategy(s.intrinsic_dim * [0.0], s.sigma, options)

    # --- the head, at torch's own start ----------------------------------------------------------
    draws = torch.Generator().manual_seed(draw_seed(s.seed, HEAD))
    net = torch.nn.Sequential(
        torch.nn.Linear(len(class_names), s.hidden),
        torch.nn.ReLU(),
        torch.nn.Linear(s.hidden, len(class_names)),
    )
    for parameter, fan_in in zip(
        net.parameters(), [len(class_names)] * 2 + [s.hidden] * 2, strict=True
    ):
        with torch.no_grad():
            parameter.uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=draws)
    adam = torch.optim.Adam(net.parameters(), lr=s.lr)

    # --- generations -----------------------------------------------------------------------------
    spent = 0
    context = p0
    while spent + s.popsize <= s.budget and not es.stop():
        # The prompt's side: CE(l, y) + w KL(refined || l), on normalised features.
        candidates = es.ask()
        losses = []
        for z in candidates:
            with torch.no_grad():
                logits = scale * fitness_features @ encode_prompts(p0 + shift(z)).T
                refined = logits + net(logits)
                loss = cross_entropy(logits, train_labels)
                loss = loss + s.weight * divergence(refined, logits)
            losses.append(float(loss))
        es.tell(candidates, losses)
        spent += s.popsize
        # The deployed prompt: the mean of a second population, which nobody ever scores. On
        # ImageNet the best candidate so far.
        if s.deploys_best:
            context = p0 + shift(es.result.xbest)
        else:
            context = p0 + torch.stack([shift(z) for z in es.ask()]).mean(dim=0)

        # The head's side: CE(refined, y) + w KL(l || refined), on unnormalised features of a fresh
        # view; w is dropped when more than budget // n is spent.
        weight = s.weight if spent <= s.budget // s.n else 0.0
        view_features = encode_view(HEAD_VIEW, spent // s.popsize - 1)
        order = torch.randperm(len(train), generator=draws)
        head_losses = []
        for start in range(0, len(train), s.batch_size):
            batch = order[start : start + s.batch_size]
            logits = scale * view_features[batch] @ encode_prompts(context).T
            refined = logits + net(logits)
            loss = cross_entropy(refined, train_labels[batch])
            loss = loss + weight * divergence(logits, refined)
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
            head_losses.append(loss.item())

        trace.losses_GP.append(losses)
        trace.deployed_GLE.append(context.numpy())
        trace.head_losses_G.append(sum(head_losses) / len(head_losses))

    # --- the last generation is what is reported -------------------------------------------------
    def accuracy(split: str) -> float:
        features = normalized(encode_images(items[split], plain))
        with torch.no_grad():
            logits = scale * features @ encode_prompts(context).T
            answers = (logits + net(logits)).argmax(dim=1)
        return float(
            (answers == torch.tensor([label for _, label in items[split]])).double().mean()
        )

    trace.validation_accuracy = accuracy("val")
    trace.test_accuracy = accuracy("test")
    return trace


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """-log softmax(logits) at the label, averaged over images."""
    log_shares = logits - logits.logsumexp(dim=1, keepdim=True)
    return -log_shares[torch.arange(len(labels)), labels].mean()


def divergence(target: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    """KL(softmax(target) || softmax(given)), averaged over images."""
    log_p = target - target.logsumexp(dim=1, keepdim=True)
    log_q = given - given.logsumexp(dim=1, keepdim=True)
    return (log_p.exp() * (log_p - log_q)).sum() / len(target)


if __name__ == "__main__":
    result = run(sys.argv[1], Path(sys.argv[2]), Settings())
    for row, loss_of_head in zip(result.losses_GP, result.head_losses_G, strict=True):
        print(f"best fitness {min(row):.4f}   head loss {loss_of_head:.4f}")
    print(f"validation {result.validation_accuracy:.1%}, test {result.test_accuracy:.1%}")
