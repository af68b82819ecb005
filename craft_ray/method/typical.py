"""Which images to label: typical ones that are far from each other (TypiClust: Hacohen et al., ICML
2022, arXiv 2202.02794).

The images are divided into as many clusters as there are labels, those that are known included. Of
the clusters without a known label the largest come first, and of each the image whose neighbours
are nearest: it stands for many, where an image at the border of a cluster stands for itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from craft_ray.method.heads.points import Points
from craft_ray.method.reduction import FloatArray, LabelArray

NEIGHBOURS = 20
"""Of an image, at most, whose distances say how typical it is."""
MOST_CLUSTERS = 500
"""For more labels a cluster gives several images."""
SMALL_CLUSTER = 5
"""Clusters of fewer images are outliers more often than a class, and come last."""
FEWEST_COMPONENTS = 20
ROWS_A_COMPONENT = 4
"""Of fewer images than this a component tells noise, and whitening would make it as large as the
others."""
RESTARTS, MANY_CLUSTERS = 5, 50
"""The best of several k-means is taken; of many clusters all of them are much the same."""
MOST_ROUNDS = 50
"""Of k-means; later ones move few images."""
ROWS_PER_BLOCK = 1024
"""Of distances to a whole cluster."""


@dataclass(frozen=True)
class Typical:
    """An image whose label is worth much."""

    row: int
    stands_for: int
    """Images in its cluster, itself among them."""


def choose_typical(
    answers_NF: FloatArray,
    budget: int,
    known: Sequence[int] = (),
    seed: int = 0,
    *,
    standardised: bool = True,
) -> list[Typical]:
    """The images whose labels are worth most, in the order of worth.

    Takes time that grows with the square of the largest cluster.

    Args:
        answers_NF: logits under many names, or features, float32; one row an image.
        budget: how many images are wanted, at most: there may be fewer.
        known: rows whose labels are known already.
        seed: draws where k-means starts; equal seeds give equal images.
        standardised: for logits; False for features, whose dimensions are comparable.
    """
    known_set = set(known)
    budget = min(budget, len(answers_NF) - len(known_set))
    if not budget:
        return []
    num_clusters = min(len(known_set) + budget, MOST_CLUSTERS, len(answers_NF))
    # As many directions as tell the clusters apart: in more of them all images are as far apart.
    num_components = max(FEWEST_COMPONENTS, num_clusters // 2)
    points_NR = whitened(answers_NF, num_components, standardised=standardised)
    clusters = _clusters(points_NR, num_clusters, seed)
    small = min(SMALL_CLUSTER, len(points_NR) // (2 * num_clusters))
    queues = [_by_typicality(points_NR, rows, known_set) for rows in clusters]
    given = [len(known_set.intersection(rows.tolist())) for rows in clusters]
    sizes = [len(rows) for rows in clusters]
    chosen: list[Typical] = []
    while len(chosen) < budget:
        # A cluster that is small counts as if it had a label: others get their first one before.
        place = min(
            (each for each, queue in enumerate(queues) if queue),
            key=lambda each: (given[each] + (sizes[each] < small), -sizes[each], each),
        )
        chosen.append(Typical(queues[place].pop(0), sizes[place]))
        given[place] += 1
    return chosen


def whitened(answers_NF: FloatArray, most: int, *, standardised: bool = True) -> FloatArray:
    """The first principal components at equal variance, each image at length one, [N, R]; R is at
    most `most`, and a quarter of N."""
    points = Points.of(torch.from_numpy(answers_NF), standardised=standardised)
    if not points.rank:  # all images are the same to the model
        return np.zeros((len(answers_NF), 1), np.float32)
    kept = max(1, min(points.rank, len(answers_NF) // ROWS_A_COMPONENT, most))
    values_NR = points.values_MR[:, :kept] / points.variances_R[:kept].sqrt().float()
    found: FloatArray = torch.nn.functional.normalize(values_NR, dim=1).numpy()
    return found


def _clusters(points_NR: FloatArray, num_clusters: int, seed: int) -> list[LabelArray]:
    """The rows of each cluster, ascending."""
    from sklearn.cluster import KMeans  # seconds to import
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    restarts = RESTARTS if num_clusters <= MANY_CLUSTERS else 1
    means = KMeans(num_clusters, n_init=restarts, max_iter=MOST_ROUNDS, random_state=seed)
    # On several threads the last bits of sums differ from run to run, and then the images.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # some images may be the same to it
        cluster_N = means.fit_predict(points_NR)
    return [np.flatnonzero(cluster_N == each) for each in range(num_clusters)]


def _by_typicality(points_NR: FloatArray, rows: LabelArray, known: set[int]) -> list[int]:
    """Rows of a cluster without a known label, the one whose neighbours are nearest first."""
    if len(rows) < 2:
        return [int(row) for row in rows if row not in known]
    points_nR = torch.from_numpy(points_NR[rows])
    count = min(NEIGHBOURS, len(rows) - 1)
    mean_n = torch.cat(
        [
            torch.cdist(block_bR, points_nR).topk(count + 1, dim=1, largest=False).values.sum(1)
            for block_bR in torch.split(points_nR, ROWS_PER_BLOCK)
        ]
    )
    order = torch.argsort(mean_n, stable=True).tolist()
    return [int(rows[place]) for place in order if int(rows[place]) not in known]
