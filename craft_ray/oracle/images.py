"""Image sets of one copy of the model: encoded once, kept as features under a byte limit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

import torch

from craft_ray.errors import OracleError
from craft_ray.oracle.contract import ImageHandle, PixelArray
from craft_ray.oracle.contract_laws import rows_of

Encode = Callable[[PixelArray], Iterable[torch.Tensor]]


class ImageStore:
    """Content-addressed image sets.

    Pixels wait until the first question about them; from then on only their features are kept. When
    the features exceed the limit, the set that was asked for longest ago is forgotten and must be
    registered again. The set in use always stays, however large it is.

    Args:
        encode: uint8 [N, 3, S, S] -> unnormalised features, [n, F] at a time.
        max_bytes: limit of all features together.

    Attributes:
        num_encoded: images that have been encoded so far; grows while a set is.
    """

    def __init__(self, encode: Encode, max_bytes: int) -> None:
        self._encode = encode
        self._max_bytes = max_bytes
        self._pixels: dict[str, PixelArray] = {}
        self._features: OrderedDict[str, torch.Tensor] = OrderedDict()
        self.num_encoded = 0

    def __contains__(self, digest: str) -> bool:
        return digest in self._pixels or digest in self._features

    def add(self, handle: ImageHandle, pixels_NSS: PixelArray) -> None:
        """Register an image set; one that is known already is left alone."""
        if handle.digest not in self:
            # They are encoded later: a caller's later changes must not reach this address.
            writeable = pixels_NSS.flags.writeable
            self._pixels[handle.digest] = pixels_NSS.copy() if writeable else pixels_NSS

    def features(self, handle: ImageHandle) -> torch.Tensor:
        """Unnormalised features [N, F].

        Raises:
            OracleError: the set is not registered, or was forgotten, or has no such rows.
        """
        features_NF = self._all_features(handle)
        if handle.rows is None:
            return features_NF
        return features_NF[rows_of(handle, len(features_NF))]

    def _all_features(self, handle: ImageHandle) -> torch.Tensor:
        if handle.digest not in self:
            raise OracleError(f"images: {handle.digest[:12]} must be registered first")
        if handle.digest in self._features:
            self._features.move_to_end(handle.digest)
            return self._features[handle.digest]
        parts = []
        for part_nF in self._encode(self._pixels[handle.digest]):
            parts.append(part_nF)
            self.num_encoded += len(part_nF)
        features_NF = torch.cat(parts)
        self._features[handle.digest] = features_NF
        del self._pixels[handle.digest]
        while len(self._features) > 1 and self._num_bytes() > self._max_bytes:
            self._features.popitem(last=False)
        return features_NF

    def _num_bytes(self) -> int:
        return sum(f.numel() * f.element_size() for f in self._features.values())
