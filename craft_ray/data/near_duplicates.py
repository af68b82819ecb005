"""Images of one split that are copies of images of another, but not byte for byte: resized,
compressed again, or mirrored.

Each image becomes a thumbnail of 8 x 8 pixels in colour, without its mean and of length 1, so that
brightness and contrast do not count. Two images are copies if their thumbnails are at most
`FARTHEST` apart. To find such pairs without comparing all with all, the thumbnails are projected on
their first principal components, which brings no two of them farther apart: a k-d tree of the
projections finds all candidates, and loses no pair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image

from craft_ray.data.dataset import Dataset, Item, Split
from craft_ray.data.threads import map_in_threads
from craft_ray.errors import DataError

SIDE = 8
FARTHEST = 0.055
"""Measured on the embedded data set, whose images are small and look alike: at least 98 % of copies
of half and double size or of JPEG quality 50 are nearer, and no other pair of its splits is (the
nearest is at 0.057). `tests/data/test_near_duplicates.py` does it again."""
LEAST_CONTRAST = 2.0
"""Standard deviation of a colour over a thumbnail, in levels of 256. What has less in each colour
is a flat area, of which only noise could be compared."""
COMPONENTS = 10
FITTED_TO = 20_000
"""Thumbnails at most, from which the principal components are computed."""
BLOCK = 1024

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class NearDuplicate:
    """An image that looks like one of an earlier split.

    Attributes:
        image, split, class_name: of the image.
        other_image, other_split, other_class_name: of the one that it looks most like.
        distance: between the thumbnails; 0: they are equal.
        mirrored: it looks like the other one's mirror image.
    """

    image: str
    split: Split
    class_name: str
    other_image: str
    other_split: Split
    other_class_name: str
    distance: float
    mirrored: bool


def find_near_duplicates(
    dataset: Dataset, progress: Callable[[int], None] = lambda _: None
) -> tuple[NearDuplicate, ...]:
    """Each image, with the nearest of the splits before its own, if that is near enough. Files with
    equal bytes are not among them: these are leaks. What cannot be decoded is passed over.

    Args:
        dataset: of which every image is decoded once; a thumbnail of each stays in memory, 768
            bytes.
        progress: is told of each image, by the number 1.
    """
    if len(dataset.splits) < 2:
        return ()
    places: list[tuple[Split, Item]] = []
    thumbnails: list[FloatArray] = []
    starts = []
    for split, items in dataset.splits.items():
        starts.append(len(places))
        for item, found in zip(items, map_in_threads(_thumbnail, items), strict=True):
            progress(1)
            if found is not None:
                places.append((split, item))
                thumbnails.append(found)
    starts.append(len(places))
    if not thumbnails:
        return ()
    found_pairs = nearest_of_earlier(np.stack(thumbnails), starts)
    pairs = []
    for row, (other, distance, mirrored) in sorted(found_pairs.items()):
        (split, item), (other_split, other_item) = places[row], places[other]
        if not mirrored and item.read() == other_item.read():
            continue
        names = dataset.class_names
        ends = (
            (item.name, split, names[item.label]),
            (
                other_item.name,
                other_split,
                names[other_item.label],
            ),
        )
        pairs.append(NearDuplicate(*ends[0], *ends[1], round(distance, 4), mirrored))
    return tuple(pairs)


def _thumbnail(item: Item) -> FloatArray | None:
    """[SIDE * SIDE * 3]; None if the image is broken or flat."""
    try:
        image = item.decode()
    except DataError:
        return None
    small = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pixels = np.asarray(small, dtype=np.float32).reshape(-1, 3)
    if pixels.std(axis=0).max() < LEAST_CONTRAST:  # one colour, whichever it is
        return None
    pixels = (pixels - pixels.mean()).ravel()
    unit: FloatArray = (pixels / np.linalg.norm(pixels)).astype(np.float32)
    return unit


def nearest_of_earlier(
    thumbnails_NP: FloatArray, starts: Sequence[int]
) -> dict[int, tuple[int, float, bool]]:
    """The nearest row of the splits before, for each row that has one at most `FARTHEST` away.

    Args:
        thumbnails_NP: of length 1 each, the splits one after the other.
        starts: first row of each split, and N.

    Returns:
        Row -> (the other row, the distance, whether to its mirror image).
    """
    # Here: `data check` alone needs it, and it takes its time to load.
    from scipy.spatial import cKDTree

    mirrored_NP = thumbnails_NP.reshape(-1, SIDE, SIDE, 3)[:, :, ::-1].reshape(thumbnails_NP.shape)
    axes_PQ = _principal_axes(thumbnails_NP)
    projected_NQ, projected_mirrored_NQ = thumbnails_NP @ axes_PQ, mirrored_NP @ axes_PQ
    found: dict[int, tuple[int, float, bool]] = {}
    reach = FARTHEST + 1e-4  # float32 may bring two projections a little farther apart
    for start, end in pairwise(starts[1:]):
        tree = cKDTree(projected_NQ[:start])
        for at in range(start, end, BLOCK):
            rows = range(at, min(at + BLOCK, end))
            for mirrored, queries_NP, queries_NQ in (
                (False, thumbnails_NP, projected_NQ),
                (True, mirrored_NP, projected_mirrored_NQ),
            ):
                near = tree.query_ball_point(queries_NQ[rows.start : rows.stop], reach)
                for row, candidates in zip(rows, near, strict=True):
                    if not candidates:
                        continue
                    apart = np.linalg.norm(thumbnails_NP[candidates] - queries_NP[row], axis=1)
                    place = int(apart.argmin())
                    distance = float(apart[place])
                    if distance <= FARTHEST and (row not in found or distance < found[row][1]):
                        found[row] = int(candidates[place]), distance, mirrored
    return found


def _principal_axes(thumbnails_NP: FloatArray) -> FloatArray:
    """[P, COMPONENTS], orthonormal."""
    step = -(-len(thumbnails_NP) // FITTED_TO)
    centred = thumbnails_NP[::step] - thumbnails_NP.mean(axis=0)
    _, vectors_PP = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    axes: FloatArray = vectors_PP[:, -COMPONENTS:].astype(np.float32)
    return axes
