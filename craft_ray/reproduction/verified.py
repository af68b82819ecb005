"""Images that were decoded once are not decoded again to see whether they can be: the cells of a
grid share their validation and test images, which may be tens of thousands."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence

from craft_ray.data.appearance import Trait
from craft_ray.data.dataset import Item
from craft_ray.data.few_shot import verify_decodable
from craft_ray.files.remote import Place
from craft_ray.files.whole_files import read_json, write_json

FOLDER = "verified"
"""In that of a reproduction: a file for each sequence of images, with how many have each trait."""


def verify_once(items: Sequence[Item], folder: Place) -> Counter[Trait]:
    """As `verify_decodable`, for all who share the folder; an image that breaks later is named by
    whoever reads it.

    Args:
        items: known by their names, which say where they are, and by how they are decoded.
        folder: of the reproduction.

    Raises:
        DataError: see `verify_decodable`.
    """
    digest = hashlib.sha256()
    for item in items:
        digest.update(json.dumps([item.name, repr(item.decoding)]).encode() + b"\n")
    file = folder / FOLDER / f"{digest.hexdigest()}.json"
    if file.exists():
        return Counter(read_json(file)["traits"])
    counts = verify_decodable(items)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"traits": dict(counts)})
    return counts
