"""Build the embedded data set: a fixed subset of Fashion-MNIST, dark garments on white.

    python -m craft_ray.zoo.build_dataset --source DIR [--output DIR]

DIR holds the four gzip-compressed IDX files of Fashion-MNIST (https://github.com/zalandoresearch/
fashion-mnist, MIT licence; Debian's package `dataset-fashion-mnist` has them). The images are taken
in the order of those files, so there is nothing random: the same files give the same bytes with the
same versions of Pillow and pyarrow.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from craft_ray.zoo import EMBEDDED_DATASET

CLASS_NAMES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
"""Fashion-MNIST's own names in label order; "T-shirt/top" is shortened to a natural word."""

TRAIN_PER_CLASS = 64
VAL_PER_CLASS = 20
NUM_TEST = 1000

TRAIN_IMAGES = "train-images-idx3-ubyte.gz"
TRAIN_LABELS = "train-labels-idx1-ubyte.gz"
TEST_IMAGES = "t10k-images-idx3-ubyte.gz"
TEST_LABELS = "t10k-labels-idx1-ubyte.gz"

UInt8Array = npt.NDArray[np.uint8]
IndexArray = npt.NDArray[np.int64]

_UINT8 = 0x08  # IDX's code for unsigned bytes; the next byte counts the dimensions


def read_idx(path: Path) -> UInt8Array:
    """Read an IDX file of unsigned bytes (format: http://yann.lecun.com/exdb/mnist/).

    Raises:
        ValueError: the file is missing or is not what its header says.
    """
    if not path.is_file():
        raise ValueError(f"{path}: must be a gzip-compressed IDX file, but is missing")
    raw = gzip.decompress(path.read_bytes())
    magic = int.from_bytes(raw[:4], "big")
    num_dims = magic & 0xFF
    if magic >> 8 != _UINT8 or len(raw) < 4 + 4 * num_dims:
        raise ValueError(f"{path}: must be an IDX file of unsigned bytes, but starts {raw[:4]!r}")
    shape = struct.unpack_from(f">{num_dims}I", raw, 4)
    values = np.frombuffer(raw, np.uint8, offset=4 + 4 * num_dims)
    if values.size != np.prod(shape, dtype=np.int64):
        raise ValueError(f"{path}: must hold {shape} bytes, but holds {values.size}")
    return values.reshape(shape)


def read_split(source: Path, images: str, labels: str) -> tuple[UInt8Array, UInt8Array]:
    """Images [N, 28, 28] as published (bright on black) and labels [N].

    Raises:
        ValueError: a file is missing, malformed, or the two do not fit each other.
    """
    pixels, classes = read_idx(source / images), read_idx(source / labels)
    if pixels.ndim != 3 or classes.shape != pixels.shape[:1]:
        raise ValueError(
            f"{source}: {images} must be [N, height, width] and {labels} [N], "
            f"but are {pixels.shape} and {classes.shape}"
        )
    return pixels, classes


def select_train_and_val(labels_N: UInt8Array) -> tuple[IndexArray, IndexArray]:
    """Rows of the original training split that are shipped, each ascending.

    Of every class the first `TRAIN_PER_CLASS` images are for training and the next
    `VAL_PER_CLASS` for validation.

    Raises:
        ValueError: a class has too few images.
    """
    train, val = [], []
    needed = TRAIN_PER_CLASS + VAL_PER_CLASS
    for label, name in enumerate(CLASS_NAMES):
        rows = np.flatnonzero(labels_N == label)
        if len(rows) < needed:
            raise ValueError(f"class {name!r}: at least {needed} images, but got {len(rows)}")
        train.append(rows[:TRAIN_PER_CLASS])
        val.append(rows[TRAIN_PER_CLASS:needed])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(val))


def invert(pixels: UInt8Array) -> UInt8Array:
    """Bright on black to dark on white, which is how product photographs look."""
    return 255 - pixels


def encode_png(image_HW: UInt8Array) -> bytes:
    """One greyscale image as PNG bytes."""
    stream = io.BytesIO()
    Image.fromarray(image_HW).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def make_table(
    pixels_NHW: UInt8Array, labels_N: UInt8Array, rows: Sequence[int] | IndexArray, prefix: str
) -> pa.Table:
    """Rows in the layout of Hugging Face `datasets`; `path` keeps the original row number."""
    images = [
        {"bytes": encode_png(invert(pixels_NHW[row])), "path": f"{prefix}-{row:05d}.png"}
        for row in rows
    ]
    features = {
        "image": {"_type": "Image"},
        "label": {"names": list(CLASS_NAMES), "_type": "ClassLabel"},
    }
    schema = pa.schema(
        {
            "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
            "label": pa.int64(),
        },
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    labels = [int(labels_N[row]) for row in rows]
    return pa.table({"image": images, "label": labels}, schema=schema)


def build_dataset(source: Path, output: Path) -> None:
    """Write `train.parquet`, `val.parquet` and `test.parquet` into `output`.

    Raises:
        ValueError: a source file is missing or malformed, or a split has too few images.
    """
    train_pixels, train_labels = read_split(source, TRAIN_IMAGES, TRAIN_LABELS)
    test_pixels, test_labels = read_split(source, TEST_IMAGES, TEST_LABELS)
    if len(test_pixels) < NUM_TEST:
        raise ValueError(f"{TEST_IMAGES}: at least {NUM_TEST} images, but got {len(test_pixels)}")
    train_rows, val_rows = select_train_and_val(train_labels)
    tables = {
        "train": make_table(train_pixels, train_labels, train_rows, "train"),
        "val": make_table(train_pixels, train_labels, val_rows, "train"),
        "test": make_table(test_pixels, test_labels, range(NUM_TEST), "test"),
    }
    output.mkdir(parents=True, exist_ok=True)
    for split, table in tables.items():
        # PNG is compressed already: a second pass would cost time and save nothing.
        pq.write_table(table, output / f"{split}.parquet", compression="none")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Build the embedded subset of Fashion-MNIST.")
    parser.add_argument("--source", type=Path, required=True, help="folder with the IDX files")
    parser.add_argument("--output", type=Path, default=EMBEDDED_DATASET, help="folder to write")
    arguments = parser.parse_args()
    try:
        build_dataset(arguments.source, arguments.output)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
