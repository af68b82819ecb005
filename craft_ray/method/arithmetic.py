"""Which last bits this machine's arithmetic ends in: other matrix kernels, other last bits."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import torch


@cache
def last_bits() -> str:
    """Equal where the same arithmetic gives the same bits, as far as some products tell."""
    doubles = np.random.default_rng(0).standard_normal((96, 96))
    singles = doubles.astype(np.float32)
    tensor = torch.from_numpy(singles.copy())
    results = (
        doubles @ doubles,
        doubles @ doubles[0],
        singles @ singles,
        *np.linalg.eigh(doubles + doubles.T),
        (tensor @ tensor).numpy(),
        tensor.softmax(dim=1).numpy(),
    )
    digest = hashlib.sha256()
    for result in results:
        digest.update(np.ascontiguousarray(result).tobytes())
    return digest.hexdigest()
