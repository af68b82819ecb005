"""A third image task, which nobody looked at while choosing: drawings by hundreds of people.

    python -m benchmarks.third_task third/ --package openclipart-png_0.18+dfsg-19_all.deb

Debian's package openclipart-png 1:0.18+dfsg-19 holds drawings sorted into folders by those who sent
them. The ten largest folders that are named after a kind of thing became the classes, before
anything was measured: 36 training images of each (of which 4 are to validate on), the others, at
most 40, for the test. A drawing that stands in two classes is in none, and drawings that look alike
are on one side. The labels are as they were found: a few are wrong.

Without `--package` apt-get fetches it. The set is frozen: what is built must have the digest below.
Licence of all drawings: dedicated to the public domain; none is kept in this repository.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import re
import subprocess
import tarfile
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from craft_ray.data.decoding import Decoding, in_rgb
from craft_ray.data.near_duplicates import SIDE, FloatArray, thumbnail_of

PACKAGE = "openclipart-png=1:0.18+dfsg-19"
PACKAGE_SHA256 = "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02"
DIGEST = "1bcb067644ac5569af673a5c787f350d523bc79f385b16239386df9272810944"
"""Of the names, the splits and the bytes of all images."""
INSIDE = "./usr/share/openclipart/png/"
FOLDERS = {
    "building": "buildings",
    "clothing": "people/clothing",
    "dessert": "food/desserts",
    "fruit": "food/fruit",
    "mammal": "animals/mammals",
    "musical instrument": "recreation/music",
    "plant": "plants",
    "sport": "recreation/sports",
    "tool": "tools",
    "vehicle": "transportation/vehicles",
}
OTHER_KINDS = ("buildings/furniture", "tools/weapons", "tools/toys")
NUM_TRAIN = 36
MOST_TEST = 40
MOST_PIXELS = 20_000_000
ALIKE = 0.35
"""Distance of thumbnails, at most, of variants of one drawing."""
ALIKE_BY_NAME = 0.7
"""The same where names differ by a number or a colour only."""


@dataclass(frozen=True)
class Drawing:
    """One file.

    Attributes:
        class_name: of its folder.
        name: in the set.
        content: the bytes of the file.
        thumbnail: of what is seen of it.
    """

    class_name: str
    name: str
    content: bytes
    thumbnail: FloatArray

    @property
    def digest(self) -> str:
        """Of the bytes."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def series(self) -> str:
        """Its name without numbers at the end and without colours."""
        stem = re.sub(r"_(bw|colou?r|black|white)(?=_|$)", "", Path(self.name).stem.lower())
        return re.sub(r"[_\d]+r?$", "", stem)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.third_task", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the set goes")
    parser.add_argument("--package", type=Path, help="the .deb file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        package = options.package or fetch(Path(scratch))
        print(build(package, options.folder, Path(scratch)))


def fetch(folder: Path) -> Path:
    """The package, by apt-get, into a folder."""
    subprocess.run(["apt-get", "download", PACKAGE], cwd=folder, check=True)
    return next(folder.glob("*.deb"))


def build(package: Path, folder: Path, scratch: Path) -> str:
    """Write `folder/{train,test}/<class>/<image>`; what was built.

    Raises:
        ValueError: it is another package, another set came out, or the folder is not empty.
    """
    found = hashlib.sha256(package.read_bytes()).hexdigest()
    if found != PACKAGE_SHA256:
        raise ValueError(f"{package} must have the sha256 {PACKAGE_SHA256}, but has {found}")
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} must be empty or not there")
    unpack(package, scratch)
    drawings = distinct(read(scratch / INSIDE))
    splits = split(drawings)
    for drawing, split_name in zip(drawings, splits, strict=True):
        if split_name:
            place = folder / split_name / drawing.class_name
            place.mkdir(parents=True, exist_ok=True)
            (place / drawing.name).write_bytes(drawing.content)
    check(folder)
    return ", ".join(f"{splits.count(name)} images to {name}" for name in ("train", "test"))


def check(folder: Path) -> None:
    """Is it the frozen set?

    Raises:
        ValueError: it is another.
    """
    lines = [
        f"{path.relative_to(folder).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in sorted(folder.rglob("*.png"))
    ]
    found = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    if found != DIGEST:
        raise ValueError(f"{folder} must have the digest {DIGEST}, but has {found}")


def unpack(package: Path, folder: Path) -> None:
    """The drawings of the package: a .deb is an ar archive with the files in `data.tar.xz`."""
    content = package.read_bytes()
    position = 8
    while position < len(content):
        header = content[position : position + 60]
        size = int(header[48:58])
        position += 60
        if header.startswith(b"data.tar"):
            member = io.BytesIO(content[position : position + size])
            with tarfile.open(fileobj=member) as archive:
                inside = [each for each in archive if each.name.startswith(INSIDE)]
                archive.extractall(folder, inside, filter="data")
        position += size + size % 2


def read(root: Path) -> Iterator[Drawing]:
    """All drawings of the classes, in the order of their names."""
    other_kinds = [root / kind for kind in OTHER_KINDS]
    for class_name, inside in FOLDERS.items():
        for path in sorted((root / inside).rglob("*.png")):
            if any(kind in path.parents for kind in other_kinds):
                continue
            content = path.read_bytes()  # a link stands for the file that it leads to
            if (thumbnail := look(content)) is not None:
                name = "-".join(path.relative_to(root / inside).parts)
                yield Drawing(class_name, name, content, thumbnail)


def look(content: bytes) -> FloatArray | None:
    """A thumbnail; None of what is flat, or too large to be handed around."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > MOST_PIXELS:
                return None
            return thumbnail_of(in_rgb(image, Decoding()))


def distinct(drawings: Iterator[Drawing]) -> list[Drawing]:
    """Each file once, and none that stands in two classes."""
    by_digest: dict[str, list[Drawing]] = {}
    for drawing in drawings:
        by_digest.setdefault(drawing.digest, []).append(drawing)
    return [same[0] for same in by_digest.values() if len({each.class_name for each in same}) == 1]


def split(drawings: Sequence[Drawing]) -> list[str]:
    """`train`, `test` or nothing for each: groups that look alike are on one side. Their order is
    that of a digest, which is as good as chance."""
    groups = alike(drawings)
    splits = [""] * len(drawings)
    counts = {class_name: {"train": 0, "test": 0} for class_name in FOLDERS}
    for group in sorted(groups, key=lambda group: drawings[group[0]].digest):
        sizes = {name: sum(drawings[r].class_name == name for r in group) for name in FOLDERS}
        for side, most in (("train", NUM_TRAIN), ("test", MOST_TEST)):
            if all(counts[name][side] + sizes[name] <= most for name in FOLDERS):
                for row in group:
                    splits[row] = side
                    counts[drawings[row].class_name][side] += 1
                break
    return splits


def alike(drawings: Sequence[Drawing]) -> list[list[int]]:
    """Rows of drawings that hang together by looks, all groups."""
    thumbnails_NP = np.stack([drawing.thumbnail for drawing in drawings])
    mirrored_NP = thumbnails_NP.reshape(-1, SIDE, SIDE, 3)[:, :, ::-1].reshape(thumbnails_NP.shape)
    products_NN = np.maximum(thumbnails_NP @ thumbnails_NP.T, thumbnails_NP @ mirrored_NP.T)
    distances_NN = np.sqrt(np.maximum(0.0, 2 - 2 * products_NN))
    group_of = list(range(len(drawings)))
    for one, other in np.argwhere(distances_NN <= ALIKE_BY_NAME):
        same_series = drawings[one].series == drawings[other].series
        if distances_NN[one, other] <= ALIKE or same_series:
            old, new = group_of[other], group_of[one]
            group_of = [new if group == old else group for group in group_of]
    return [
        [row for row, own in enumerate(group_of) if own == group]
        for group in dict.fromkeys(group_of)
    ]


if __name__ == "__main__":
    main()
