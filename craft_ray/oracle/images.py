"""Image sets of one copy of the model: encoded once, kept as features under a byte limit."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from craft_ray.data.recipe import Recipe
from craft_ray.errors import OracleError
from craft_ray.oracle.contract import ImageHandle, PixelArray
from craft_ray.oracle.contract_laws import rows_of

Source = PixelArray | Recipe
"""What images are encoded from."""
MADE_AHEAD = 2
"""Sets, of 384 images and 58 MB each at 224 pixels: the one behind the one that is encoded, and the
next."""
Encode = Callable[[Source], Iterable[torch.Tensor]]


class ImageStore:
    """Content-addressed image sets.

    Pixels and recipes wait until the first question about them; from then on only their features
    are kept. When the features exceed the limit, the set that was asked for longest ago is
    forgotten and must be registered again. The sets of the question at work always stay, however
    large they are.

    Args:
        encode: uint8 [N, 3, S, S], or what they are made of -> unnormalised features, [n, F] at a
            time.
        max_bytes: limit of all features together.

    Attributes:
        num_encoded: images that have been encoded so far; grows while a set is.
    """

    def __init__(self, encode: Encode, max_bytes: int) -> None:
        self._encode = encode
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        """Of sources: sets are also registered while another is encoded."""
        self._sources: dict[str, Source] = {}
        self._made_ahead: dict[str, Future[PixelArray]] = {}
        self._maker = ThreadPoolExecutor(1)
        self._features: OrderedDict[str, torch.Tensor] = OrderedDict()
        self.num_encoded = 0

    def __contains__(self, digest: str) -> bool:
        return digest in self._sources or digest in self._features

    def add(self, handle: ImageHandle, images: Source) -> None:
        """Register an image set; one that is known already is left alone."""
        with self._lock:
            if handle.digest in self:
                return
            if not isinstance(images, Recipe) and images.flags.writeable:
                # They are encoded later: a caller's later changes must not reach this address.
                images = images.copy()
            self._sources[handle.digest] = images

    def prepare(self, handle: ImageHandle) -> None:
        """Have the pixels of a recipe made in a thread, until the question about it comes; of a few
        sets at most. Does not block."""
        with self._lock:
            source = self._sources.get(handle.digest)
            if (
                isinstance(source, Recipe)
                and handle.digest not in self._made_ahead
                and len(self._made_ahead) < MADE_AHEAD
            ):
                self._made_ahead[handle.digest] = self._maker.submit(source.pixels)

    def blocks(self, handle: ImageHandle) -> list[torch.Tensor]:
        """Unnormalised features of each registered set that is asked about, [n, F]; of some rows of
        them, in one.

        Raises:
            OracleError: a set is not registered, or was forgotten, or has no such rows.
        """
        blocks = [self._all_features(block.digest) for block in handle.registered]
        in_use = {block.digest for block in handle.registered}
        others = [digest for digest in self._features if digest not in in_use]
        while others and self._num_bytes() > self._max_bytes:
            del self._features[others.pop(0)]
        if handle.rows is None:
            return blocks
        features_NF = torch.cat(blocks)
        return [features_NF[rows_of(handle, len(features_NF))]]

    def features(self, handle: ImageHandle) -> torch.Tensor:
        """The same of all of them, [N, F]."""
        blocks = self.blocks(handle)
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks)

    def _all_features(self, digest: str) -> torch.Tensor:
        if digest not in self:
            raise OracleError(f"images: {digest[:12]} must be registered first")
        if digest in self._features:
            self._features.move_to_end(digest)
            return self._features[digest]
        with self._lock:
            source, made = self._sources[digest], self._made_ahead.pop(digest, None)
        parts = []
        for part_nF in self._encode(source if made is None else made.result()):
            parts.append(part_nF)
            self.num_encoded += len(part_nF)
        features_NF = torch.cat(parts)
        with self._lock:
            self._features[digest] = features_NF
            del self._sources[digest]
        return features_NF

    def _num_bytes(self) -> int:
        return sum(f.numel() * f.element_size() for f in self._features.values())
