"""Image files that may be asked about, in memory under a limit."""

from __future__ import annotations

from collections import OrderedDict

from craft_ray.errors import OracleError
from craft_ray.oracle.contract import Files, ImageHandle
from craft_ray.oracle.contract_laws import rows_of
from craft_ray.oracle.endpoints.wire import ImageFile

MAX_BYTES = 1024 * 2**20


class ImageFiles:
    """Content-addressed image sets. When their files exceed the limit, the set asked for longest
    ago is forgotten, and must be registered again. The set in use always stays.

    Args:
        max_bytes: limit of all files together.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._sets: OrderedDict[str, tuple[ImageFile, ...]] = OrderedDict()
        self._num_bytes = 0

    def __contains__(self, digest: str) -> bool:
        return digest in self._sets

    def add(self, handle: ImageHandle, files: Files) -> None:
        """Register a set; one that is known already is left alone."""
        if handle.digest in self._sets:
            return
        images = tuple(ImageFile(file, f"image {row}") for row, file in enumerate(files))
        self._sets[handle.digest] = images
        self._num_bytes += _size(images)
        while len(self._sets) > 1 and self._num_bytes > self._max_bytes:
            _, forgotten = self._sets.popitem(last=False)
            self._num_bytes -= _size(forgotten)

    def of(self, handle: ImageHandle) -> list[ImageFile]:
        """The images of a handle, in its order.

        Raises:
            OracleError: the set is not registered, or was forgotten, or has no such rows.
        """
        if handle.digest not in self._sets:
            raise OracleError(f"images: {handle.digest[:12]} must be registered first")
        self._sets.move_to_end(handle.digest)
        images = self._sets[handle.digest]
        return [images[row] for row in rows_of(handle, len(images))]


def _size(images: tuple[ImageFile, ...]) -> int:
    return sum(len(image.data) for image in images)
