"""Images of one split that are copies of images of another, but not byte for byte: resized,
compressed again, or mirrored.

Each image becomes a thumbnail of 8 x 8 pixels in colour, without its mean and of length 1, so that
brightness and contrast do not count. Two images are copies if their thumbnails are at most
`FARTHEST` apart. To find such pairs without comparing all with all, the thumbnails are projected on
their first principal components, which brings no two of them farther apart: a k-d tree of the
projections finds all candidates, and loses no pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image

from craft_ray.data.dataset import Dataset, Split
from craft_ray.data.duplicate import Duplicate

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
BLOCK = 256
MANY = 100
"""Candidates of one image, from which on it is compared with all: where all images look alike, as
frames of a camera do, lists of candidates would fill the memory."""
PRODUCTS = 2**24
"""In memory at a time, 64 MB."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class NearDuplicate(Duplicate):
    """An image that looks like one of an earlier split: the one that it looks most like.

    Attributes:
        distance: between the thumbnails; 0: they are equal.
        mirrored: it looks like the other one's mirror image.
    """

    distance: float
    mirrored: bool


@dataclass(frozen=True)
class Seen:
    """What is kept of an image that was decoded: some 768 bytes.

    Attributes:
        split, place: the image, by its place in the split.
        digest: of its file.
        thumbnail: see `thumbnail_of`.
    """

    split: Split
    place: int
    digest: bytes
    thumbnail: FloatArray


def thumbnail_of(image: Image.Image) -> FloatArray | None:
    """[SIDE * SIDE * 3] of an image in RGB; None if it is flat."""
    small = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pixels = np.asarray(small, dtype=np.float32).reshape(-1, 3)
    if pixels.std(axis=0).max() < LEAST_CONTRAST:  # one colour, whichever it is
        return None
    pixels = (pixels - pixels.mean()).ravel()
    unit: FloatArray = (pixels / np.linalg.norm(pixels)).astype(np.float32)
    return unit


def near_duplicates_among(images: Sequence[Seen], dataset: Dataset) -> tuple[NearDuplicate, ...]:
    """Each image, with the nearest of the splits before its own, if that is near enough. Files with
    equal bytes are not among them: these are leaks.

    Args:
        images: of all splits, those of a split together.
        dataset: has the images.
    """
    if not images:
        return ()
    starts = [0, *(i for i, (a, b) in enumerate(pairwise(images), 1) if a.split != b.split)]
    thumbnails_NP = np.stack([image.thumbnail for image in images])
    found = nearest_of_earlier(thumbnails_NP, [*starts, len(images)])
    pairs = []
    for row, (other_row, distance, mirrored) in sorted(found.items()):
        one, other = images[row], images[other_row]
        if not mirrored and one.digest == other.digest:
            continue
        ends = (*_told(one, dataset), *_told(other, dataset))
        pairs.append(NearDuplicate(*ends, round(distance, 4), mirrored))
    return tuple(pairs)


def _told(image: Seen, dataset: Dataset) -> tuple[str, Split, str]:
    """Its name, its split, and the name of its class."""
    item = dataset.splits[image.split][image.place]
    return item.name, image.split, dataset.class_names[item.label]


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
        earlier_NP, tree = thumbnails_NP[:start], cKDTree(projected_NQ[:start])
        for at in range(start, end, BLOCK):
            rows = np.arange(at, min(at + BLOCK, end))
            for mirrored, queries_NP, queries_NQ in (
                (False, thumbnails_NP, projected_NQ),
                (True, mirrored_NP, projected_mirrored_NQ),
            ):
                counts = tree.query_ball_point(queries_NQ[rows], reach, return_length=True)
                few, many = rows[(counts > 0) & (counts <= MANY)], rows[counts > MANY]
                near = tree.query_ball_point(queries_NQ[few], reach) if len(few) else []
                nearest = [
                    candidates[np.linalg.norm(earlier_NP[candidates] - query, axis=1).argmin()]
                    for query, candidates in zip(queries_NP[few], near, strict=True)
                ]
                step = max(1, PRODUCTS // start)
                for first in range(0, len(many), step):
                    # Of unit length: the nearest has the largest product.
                    products = queries_NP[many[first : first + step]] @ earlier_NP.T
                    nearest += products.argmax(axis=1).tolist()
                for row, other in zip([*few.tolist(), *many.tolist()], nearest, strict=True):
                    distance = float(np.linalg.norm(earlier_NP[other] - queries_NP[row]))
                    if distance <= FARTHEST and (row not in found or distance < found[row][1]):
                        found[row] = int(other), distance, mirrored
    return found


def _principal_axes(thumbnails_NP: FloatArray) -> FloatArray:
    """[P, COMPONENTS], orthonormal."""
    step = -(-len(thumbnails_NP) // FITTED_TO)
    centred = thumbnails_NP[::step] - thumbnails_NP.mean(axis=0)
    _, vectors_PP = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    axes: FloatArray = vectors_PP[:, -COMPONENTS:].astype(np.float32)
    return axes
