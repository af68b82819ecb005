"""Many items in a few bytes each, and what is done with all items of a split at once.

The functions take any sequence of items. Of `PackedItems` they make no items; what they give shares
the places of the images with what they were given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from craft_ray.data.decoding import AS_SEEN, Decoding
from craft_ray.data.item import Item
from craft_ray.data.lazy_sequence import LazySequence
from craft_ray.data.packed_places import PackedPaths
from craft_ray.data.rows import Encoded

LabelArray = npt.NDArray[np.int64]
PlaceArray = npt.NDArray[np.integer]


class PackedItems(LazySequence[Item]):
    """A sequence that makes an item when it is asked for; a slice is packed as well.

    Args:
        images: of an index.
        names: what messages call each of them; None: their paths.
        labels: of each of them, integers.
        decoding: of all.
    """

    def __init__(
        self,
        images: Sequence[Encoded],
        names: Sequence[str] | None,
        labels: npt.ArrayLike,
        decoding: Decoding = AS_SEEN,
    ) -> None:
        self._images = images
        self._names = names
        self._decoding = decoding
        self.labels_N: npt.NDArray[np.int32] = np.asarray(labels, dtype=np.int32)
        self._rows_N: npt.NDArray[np.int32] | None = None
        """Of the index, which items these are; None: all."""

    def __len__(self) -> int:
        return len(self.labels_N)

    def at(self, place: int) -> Item:
        row = place if self._rows_N is None else int(self._rows_N[place])
        image = self._images[row]
        name = str(image) if self._names is None else self._names[row]
        return Item(image, int(self.labels_N[place]), name, self._decoding)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> PackedItems: ...
    def __getitem__(self, index: int | slice) -> Item | PackedItems:
        if isinstance(index, slice):
            return self.chosen(np.arange(*index.indices(len(self))))
        return super().__getitem__(index)

    def chosen(self, places: npt.ArrayLike) -> PackedItems:
        """Those at these places, integers [M]."""
        places_M = np.asarray(places, dtype=np.int32)
        rows_M = places_M if self._rows_N is None else self._rows_N[places_M]
        return self._like(rows_M, self.labels_N[places_M], self._decoding)

    def relabelled(self, labels: npt.ArrayLike) -> PackedItems:
        """The same images with other labels."""
        return self._like(self._rows_N, np.asarray(labels, dtype=np.int32), self._decoding)

    def decoded_as(self, decoding: Decoding) -> PackedItems:
        """The same images, decoded in another way."""
        return self._like(self._rows_N, self.labels_N, decoding)

    def _like(
        self,
        rows_N: npt.NDArray[np.int32] | None,
        labels_N: npt.NDArray[np.int32],
        decoding: Decoding,
    ) -> PackedItems:
        made = PackedItems(self._images, self._names, labels_N, decoding)
        made._rows_N = rows_N
        return made


def packed_files(classes: Iterable[tuple[int, Iterable[Path]]]) -> PackedItems:
    """Items of image files, named by their paths.

    Args:
        classes: labels with the files that have them, in the order of the items. A label may come
            again.
    """
    paths, labels, counts = PackedPaths(), [], []
    for label, files in classes:
        before = len(paths)
        paths.extend(files)
        labels.append(label)
        counts.append(len(paths) - before)
    return PackedItems(paths, None, np.repeat(np.asarray(labels, dtype=np.int32), counts))


def labels_of(items: Sequence[Item]) -> LabelArray:
    """Labels, int64 [N]."""
    if isinstance(items, PackedItems):
        return items.labels_N.astype(np.int64)
    return np.array([item.label for item in items], dtype=np.int64)


def places_of_labels(labels_N: LabelArray, places_M: PlaceArray) -> dict[int, PlaceArray]:
    """Of those at these places, the places of each label, in the order of `places_M`; the labels in
    the order in which they first appear."""
    of_places_M = labels_N[places_M]
    found, first = np.unique(of_places_M, return_index=True)
    order = np.argsort(of_places_M, kind="stable")
    groups = np.split(places_M[order], np.searchsorted(of_places_M[order], found[1:]))
    return {int(found[each]): groups[each] for each in np.argsort(first)}


def chosen_items(items: Sequence[Item], places: npt.ArrayLike) -> Sequence[Item]:
    """Those at these places, integers [M]."""
    if isinstance(items, PackedItems):
        return items.chosen(places)
    return tuple(items[place] for place in np.asarray(places, dtype=np.int64).tolist())


def relabelled(items: Sequence[Item], labels: npt.ArrayLike) -> Sequence[Item]:
    """The same images with other labels, integers [N]."""
    if isinstance(items, PackedItems):
        return items.relabelled(labels)
    new = np.asarray(labels).tolist()
    return tuple(replace(item, label=label) for item, label in zip(items, new, strict=True))


def all_decoded_as(items: Sequence[Item], decoding: Decoding) -> Sequence[Item]:
    """The same images, decoded in another way."""
    if isinstance(items, PackedItems):
        return items.decoded_as(decoding)
    return tuple(replace(item, decoding=decoding) for item in items)
