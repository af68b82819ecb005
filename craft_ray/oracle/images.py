"""Image sets of one copy of the model: encoded once, kept as features under a byte limit."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from craft_ray.data.recipe import Recipe
from craft_ray.errors import DataError, OracleError
from craft_ray.oracle.contract import ImageHandle, PixelArray
from craft_ray.oracle.contract_laws import rows_of

Source = PixelArray | Recipe
"""What images are encoded from."""
MADE_AHEAD = 2
"""Sets, of 512 images and 77 MB each at 224 pixels: the one behind the one that is encoded, and the
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
        """Of what waits: sets are also registered while another is encoded."""
        self._sources: dict[str, Source] = {}
        self._made_ahead: OrderedDict[str, Future[PixelArray]] = OrderedDict()
        self._at_work: str | None = None
        """The set that is encoded now."""
        self._maker = ThreadPoolExecutor(1)
        self._features: OrderedDict[str, torch.Tensor] = OrderedDict()
        self.num_encoded = 0

    def __contains__(self, digest: str) -> bool:
        # In the order in which a set passes them, so that others see it at any moment.
        return digest in self._sources or digest == self._at_work or digest in self._features

    def add(self, handle: ImageHandle, images: Source) -> None:
        """Register an image set; one that is known already is left alone."""
        with self._lock:
            if handle.digest in self:
                return
            if not isinstance(images, Recipe) and images.flags.writeable:
                # They are encoded later: a caller's later changes must not reach this address.
                images = images.copy()
            self._sources[handle.digest] = images

    def prepare(self, recipe: Recipe) -> None:
        """Have its pixels made in a thread, until the set is registered and the question about it
        comes; of a few sets at most: of more, what was made first is dropped. Of a set that is
        encoded none are needed. Does not block."""
        with self._lock:
            if recipe.digest in self._made_ahead or recipe.digest == self._at_work:
                return
            if recipe.digest in self._features:  # asked last: they are there before work has ended
                return
            self._made_ahead[recipe.digest] = self._maker.submit(recipe.pixels)
            if len(self._made_ahead) > MADE_AHEAD:  # its question was given up, or went elsewhere
                self._made_ahead.popitem(last=False)[1].cancel()

    def blocks(self, handle: ImageHandle) -> list[torch.Tensor]:
        """Unnormalised features of each registered set that is asked about, [n, F]; of some rows of
        them, in one.

        Raises:
            OracleError: a set is not registered, or was forgotten, or has no such rows.
        """
        digests = handle.registered
        blocks = []
        for digest, following in itertools.zip_longest(digests, digests[1:]):
            source = self._sources.get(following)
            if isinstance(source, Recipe):
                self.prepare(source)
            try:
                blocks.append(self._all_features(digest))
            except DataError:  # it would come again; no file need stay for that
                with self._lock:
                    for each in digests:
                        self._sources.pop(each, None)
                raise
        in_use = set(digests)
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
            self._at_work = digest
            source, made = self._sources.pop(digest), self._made_ahead.pop(digest, None)
        parts = []
        try:
            for part_nF in self._encode(source if made is None else made.result()):
                parts.append(part_nF)
                self.num_encoded += len(part_nF)
            features_NF = torch.cat(parts)
            self._features[digest] = features_NF
        except BaseException:
            with self._lock:
                self._sources[digest] = source
            raise
        finally:
            self._at_work = None
        return features_NF

    def _num_bytes(self) -> int:
        return sum(f.numel() * f.element_size() for f in self._features.values())
