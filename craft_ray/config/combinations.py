"""Few combinations that stand for all: every one, or a covering design. Pure arithmetic."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence

from craft_ray.config.distributions import Scalar

STRENGTH = 3
"""Any so many parameters show all combinations of their values."""
MAX_EXHAUSTIVE = 256
MAX_COVERED = 100_000
"""Where any three parameters have more combinations than this, any two are covered, or each."""
NUM_RANDOM = 32
"""Combinations beside a covering design, for laws between more parameters."""
MAX_ROWS = 1000
"""Of a design: choices of very many values are covered in part."""


def representative_points(
    values: Mapping[str, Sequence[Scalar]], seed: int = 0
) -> Iterator[dict[str, Scalar]]:
    """All combinations of the values, where there are at most `MAX_EXHAUSTIVE`; otherwise some in
    which each combination of `STRENGTH` parameters occurs, and random ones.

    Args:
        values: of each parameter.
        seed: of what is random in the design.
    """
    paths = list(values)
    sizes = [len(values[path]) for path in paths]
    rows: Iterator[tuple[int, ...]]
    if math.prod(sizes) <= MAX_EXHAUSTIVE:
        rows = itertools.product(*(range(size) for size in sizes))
    else:
        rows = covering_design(sizes, seed)
    for row in rows:
        yield {path: values[path][index] for path, index in zip(paths, row, strict=True)}


def covering_design(sizes: Sequence[int], seed: int) -> Iterator[tuple[int, ...]]:
    """Rows of indices below `sizes`: each combination of the values of any `STRENGTH` columns, or
    of fewer where that is too many, is in one of them. Greedy: the first combination that is
    missing, the rest of its row at random."""
    generator = random.Random(seed)
    columns: list[tuple[int, ...]] = []
    for strength in range(min(STRENGTH, len(sizes)), 0, -1):
        columns = list(itertools.combinations(range(len(sizes)), strength))
        if sum(math.prod(sizes[column] for column in each) for each in columns) <= MAX_COVERED:
            break
    missing = dict.fromkeys(
        (chosen, indices)
        for chosen in columns
        for indices in itertools.product(*(range(sizes[column]) for column in chosen))
    )
    num_random = NUM_RANDOM
    for _ in range(MAX_ROWS):
        if not missing and not num_random:
            return
        row = [generator.randrange(size) for size in sizes]
        if missing:
            for column, index in zip(*next(iter(missing)), strict=True):
                row[column] = index
        else:
            num_random -= 1
        for chosen in columns:
            missing.pop((chosen, tuple(row[column] for column in chosen)), None)
        yield tuple(row)
