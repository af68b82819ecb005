"""The shipped oracle and data set are what their cards say, and the data set can be rebuilt."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from craft_ray.zoo import EMBEDDED_DATASET, EMBEDDED_ORACLE
from craft_ray.zoo import build_dataset as builder
from craft_ray.zoo.measure_oracle import Encoder, read_split, zero_shot

MEGABYTE = 10**6
MAX_ORACLE_BYTES = 25 * MEGABYTE
MAX_DATASET_BYTES = 3 * MEGABYTE
SPLIT_SIZES = {"train": 640, "val": 200, "test": 1000}
NUM_CLASSES = len(builder.CLASS_NAMES)
CHANCE_PERCENT = 100 / NUM_CLASSES

# Another CPU rounds differently, which may flip images that lie on a boundary.
ZERO_SHOT_BAND_PERCENT = 1.5


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def read_table(split: str) -> Any:
    return pq.read_table(EMBEDDED_DATASET / f"{split}.parquet")


def read_card() -> str:
    return (EMBEDDED_ORACLE / "MODEL_CARD.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(EMBEDDED_ORACLE)


def test_package_is_light() -> None:
    """Config models import the folders' names, and must not pay for torch."""
    code = (
        "import sys, craft_ray.zoo; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'open_clip', 'pyarrow')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_sizes_are_within_limits() -> None:
    assert folder_bytes(EMBEDDED_ORACLE) <= MAX_ORACLE_BYTES
    assert folder_bytes(EMBEDDED_DATASET) <= MAX_DATASET_BYTES


@pytest.mark.parametrize(("split", "size"), SPLIT_SIZES.items())
def test_split_has_the_layout_of_hugging_face(split: str, size: int) -> None:
    table = read_table(split)
    assert table.num_rows == size
    assert table.schema.field("image").type == pa.struct(
        {"bytes": pa.binary(), "path": pa.string()}
    )
    assert table.schema.field("label").type == pa.int64()
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["label"] == {"names": list(builder.CLASS_NAMES), "_type": "ClassLabel"}


def test_classes_are_balanced() -> None:
    train, val, test = (Counter(read_table(split)["label"].to_pylist()) for split in SPLIT_SIZES)
    assert train == dict.fromkeys(range(NUM_CLASSES), builder.TRAIN_PER_CLASS)
    assert val == dict.fromkeys(range(NUM_CLASSES), builder.VAL_PER_CLASS)
    # The test split is the first 1,000 images as they come.
    assert set(test) == set(range(NUM_CLASSES))
    assert min(test.values()) > 80


def test_images_are_distinct_dark_on_white_png() -> None:
    encoded = [
        image["bytes"] for split in SPLIT_SIZES for image in read_table(split)["image"].to_pylist()
    ]
    assert len(set(encoded)) == sum(SPLIT_SIZES.values())
    corners = []
    for content in encoded:
        with Image.open(io.BytesIO(content)) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "L", (28, 28))
            corners.append(np.asarray(image)[0, 0])
    assert np.median(corners) == 255


def test_weights_are_half_precision_and_match_the_card() -> None:
    content = (EMBEDDED_ORACLE / "open_clip_model.safetensors").read_bytes()
    assert hashlib.sha256(content).hexdigest() in read_card()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    dtypes = {entry["dtype"] for name, entry in header.items() if name != "__metadata__"}
    # BatchNorm's step counters are the integers.
    assert dtypes == {"F16", "I64"}


def test_features_are_finite_and_normalised(encoder: Encoder) -> None:
    images, _ = read_split("val")
    for features in (encoder.images(images[:4]), encoder.classes(("cat", "ankle boot"))):
        assert features.shape[1] == 256
        torch.testing.assert_close(features.norm(dim=1), torch.ones(len(features)))
    assert 1 < encoder.logit_scale <= 100


@pytest.mark.slow
def test_zero_shot_accuracy_is_that_of_the_card(encoder: Encoder) -> None:
    stated = re.search(r"Fashion-MNIST, shipped test split, zero-shot \| ([\d.]+) %", read_card())
    assert stated is not None
    images, labels = read_split("test")
    classes = encoder.classes(builder.CLASS_NAMES)
    accuracy = zero_shot(encoder.images(images), classes, labels)["accuracy"]
    assert accuracy == pytest.approx(float(stated[1]), abs=ZERO_SHOT_BAND_PERCENT)
    assert accuracy > 3 * CHANCE_PERCENT


@pytest.fixture
def idx_source(tmp_path: Path) -> Path:
    """As many random images as the builder needs, in the layout of Fashion-MNIST."""
    source = tmp_path / "source"
    source.mkdir()
    rng = np.random.default_rng(0)
    num_train = NUM_CLASSES * (builder.TRAIN_PER_CLASS + builder.VAL_PER_CLASS)
    for images, labels, count in (
        (builder.TRAIN_IMAGES, builder.TRAIN_LABELS, num_train),
        (builder.TEST_IMAGES, builder.TEST_LABELS, builder.NUM_TEST),
    ):
        write_idx(source / images, rng.integers(256, size=(count, 4, 4), dtype=np.uint8))
        write_idx(source / labels, (np.arange(count) % NUM_CLASSES).astype(np.uint8))
    return source


def write_idx(path: Path, values: builder.UInt8Array) -> None:
    header = np.array([0x0800 + values.ndim, *values.shape], dtype=">u4")
    path.write_bytes(gzip.compress(header.tobytes() + values.tobytes()))


def test_rebuilding_gives_identical_bytes(idx_source: Path, tmp_path: Path) -> None:
    for output in ("first", "second"):
        builder.build_dataset(idx_source, tmp_path / output)
    for split, size in SPLIT_SIZES.items():
        first, second = (tmp_path / name / f"{split}.parquet" for name in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
        assert pq.read_table(first).num_rows == size


def test_rebuilding_inverts_and_keeps_order(idx_source: Path, tmp_path: Path) -> None:
    builder.build_dataset(idx_source, tmp_path)
    original = builder.read_idx(idx_source / builder.TEST_IMAGES)
    rows = pq.read_table(tmp_path / "test.parquet")["image"].to_pylist()
    with Image.open(io.BytesIO(rows[7]["bytes"])) as image:
        np.testing.assert_array_equal(np.asarray(image), 255 - original[7])
    assert rows[7]["path"] == "test-00007.png"


@pytest.mark.parametrize(
    "name",
    [
        builder.TRAIN_IMAGES,
        builder.TRAIN_LABELS,
        builder.TEST_IMAGES,
        builder.TEST_LABELS,
    ],
)
def test_missing_file_is_named(idx_source: Path, tmp_path: Path, name: str) -> None:
    (idx_source / name).unlink()
    with pytest.raises(ValueError, match=rf"{re.escape(name)}: must be .* but is missing"):
        builder.build_dataset(idx_source, tmp_path / "output")


def test_malformed_file_is_refused(idx_source: Path, tmp_path: Path) -> None:
    path = idx_source / builder.TEST_LABELS
    path.write_bytes(gzip.compress(b"no IDX file"))
    with pytest.raises(ValueError, match="must be an IDX file of unsigned bytes"):
        builder.build_dataset(idx_source, tmp_path / "output")


def test_truncated_file_is_refused(idx_source: Path, tmp_path: Path) -> None:
    path = idx_source / builder.TEST_LABELS
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1]))
    with pytest.raises(ValueError, match=r"must hold \(1000,\) bytes, but holds 999"):
        builder.build_dataset(idx_source, tmp_path / "output")


def test_class_with_too_few_images_is_named(idx_source: Path, tmp_path: Path) -> None:
    path = idx_source / builder.TRAIN_LABELS
    labels = builder.read_idx(path).copy()
    labels[labels == builder.CLASS_NAMES.index("coat")] = builder.CLASS_NAMES.index("dress")
    write_idx(path, labels)
    with pytest.raises(ValueError, match="class 'coat': at least 84 images, but got 0"):
        builder.build_dataset(idx_source, tmp_path / "output")
