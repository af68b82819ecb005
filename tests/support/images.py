"""Image files and data set trees, as users have them on disk."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SPLITS = ("train", "val", "test")


def noise(height: int = 12, width: int = 10, seed: int = 0) -> Image.Image:
    """A random RGB image."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The image as a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    """[H, W, 3]."""
    return np.asarray(image.convert("RGB"))


def write_tree(root: Path, classes: Sequence[str] = ("cat", "dog"), images: int = 2) -> Path:
    """`root/{train,val,test}/<class>/<index>.png`."""
    for split in SPLITS:
        for label, class_name in enumerate(classes):
            folder = root / split / class_name
            folder.mkdir(parents=True)
            for index in range(images):
                picture = noise(seed=100 * label + index)
                (folder / f"{index}.png").write_bytes(encoded(picture))
    return root


def hugging_face_metadata(class_names: Sequence[str]) -> dict[bytes, bytes]:
    """What `datasets` stores in a Parquet schema."""
    features = {
        "image": {"_type": "Image"},
        "label": {"names": list(class_names), "_type": "ClassLabel"},
    }
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def write_parquet(
    root: Path,
    labels: Sequence[Any] = (0, 1, 0),
    class_names: Sequence[str] = ("cat", "dog"),
    *,
    splits: Sequence[str] = SPLITS,
    images: Sequence[Any] | None = None,
    metadata: Mapping[bytes, bytes] | None = None,
    drop: str | None = None,
) -> Path:
    """`root/{train,val,test}.parquet` in the Hugging Face layout, or nearly so."""
    root.mkdir(parents=True, exist_ok=True)
    if images is None:
        images = [{"bytes": encoded(noise(seed=i)), "path": None} for i in range(len(labels))]
    table = pa.table({"image": images, "label": labels})
    if drop is not None:
        table = table.drop_columns([drop])
    chosen = hugging_face_metadata(class_names) if metadata is None else metadata
    for split in splits:
        pq.write_table(table.replace_schema_metadata(chosen), root / f"{split}.parquet")
    return root
