"""What users upload: taken whole, or refused with the place and the law."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from craft_ray.config.data import ParquetSource
from craft_ray.data.sources.parquet import load_parquet
from craft_ray.errors import DataError
from craft_ray.service.tunings.upload import Facts, UploadBounds, renumbered, take_upload
from tests.support.images import encoded, hugging_face_metadata, noise

BOUNDS = UploadBounds(file_bytes=1_000_000, image_bytes=10_000, image_pixels=1_000, images=20)
IMAGES = [encoded(noise(seed=number)) for number in range(4)]
Row = tuple[Any, Any]


def parquet(
    path: Path,
    rows: Sequence[Row],
    names: Sequence[str] | None = ("cat", "dog"),
    kind: Any = None,
    column: str = "image",
) -> Path:
    """A file as a user has it; `names` None: nothing says them."""
    kind = kind or pa.struct({"bytes": pa.binary(), "path": pa.string()})
    labels = pa.string() if isinstance(rows[0][1], str) else pa.int64()
    metadata = None if names is None else hugging_face_metadata(names)
    schema = pa.schema({column: kind, "label": labels}, metadata=metadata)
    columns = {column: [image for image, _ in rows], "label": [label for _, label in rows]}
    pq.write_table(pa.table(columns, schema=schema), path)
    return path


def struct(image: bytes | None, path: str | None = None) -> dict[str, Any]:
    return {"bytes": image, "path": path}


def jsonl(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def line(image: bytes, label: Any) -> dict[str, Any]:
    return {"image": "data:image/png;base64," + base64.b64encode(image).decode(), "label": label}


def taken(path: Path) -> tuple[Facts, list[tuple[bytes, str]]]:
    """The facts, and the rows that a run reads from what is kept."""
    folder = path.parent / "kept"
    folder.mkdir()
    facts = take_upload(path, folder / "train.parquet", BOUNDS)
    dataset = load_parquet(ParquetSource(root=str(folder)), "kept")
    items = [item for split in dataset.splits.values() for item in split]
    return facts, [(item.read(), dataset.class_names[item.label]) for item in items]


def test_a_file_of_datasets_is_kept_as_a_run_reads_it(tmp_path: Path) -> None:
    rows = [(struct(image, f"{n}.png"), n % 2) for n, image in enumerate(IMAGES)]
    facts, kept = taken(parquet(tmp_path / "x.parquet", rows))
    assert facts == Facts(("cat", "dog"), (2, 2))
    expected = [(image, ("cat", "dog")[n % 2]) for n, image in enumerate(IMAGES)]
    assert sorted(kept) == sorted(expected)
    assert Facts.from_dict(json.loads(json.dumps(facts.as_dict()))) == facts


def test_labels_that_are_texts_and_images_without_a_struct(tmp_path: Path) -> None:
    rows = [(image, ("dog", "cat")[n % 2]) for n, image in enumerate(IMAGES)]
    facts, kept = taken(parquet(tmp_path / "x.parquet", rows, None, pa.binary()))
    assert facts.class_names == ("cat", "dog")
    assert sorted(kept) == sorted(rows)


def test_lines_of_data_uris(tmp_path: Path) -> None:
    rows = [line(image, ("dog", "cat")[n % 2]) for n, image in enumerate(IMAGES)]
    facts, kept = taken(jsonl(tmp_path / "x.jsonl", [*rows[:2], "", *rows[2:]]))
    assert facts == Facts(("cat", "dog"), (2, 2))
    assert sorted(kept) == sorted((image, ("dog", "cat")[n % 2]) for n, image in enumerate(IMAGES))


@pytest.mark.parametrize(
    ("rows", "law"),
    [
        ([(struct(IMAGES[0]), 0), (struct(None, "/etc/passwd"), 1)], "row 1.*a path is not foll"),
        ([(struct(IMAGES[0]), 0), (struct(IMAGES[1]), 2)], "row 1, column label: 0 <= label < 2"),
        ([(struct(IMAGES[0]), 0), (struct(IMAGES[1]), None)], "row 1, column label: must have"),
        ([(struct(IMAGES[0]), 0), (struct(b"GIF"), 1)], "row 1, column image: must be a readable"),
        ([(struct(IMAGES[0]), 0), (struct(b"x" * 20_000), 1)], "must have at most 10,000 bytes"),
        ([(struct(IMAGES[0]), 0)] * 21, "at most 20 rows, but has 21"),
        ([(struct(IMAGES[0]), 0)] * 2, "at least 2 classes must have images"),
    ],
)
def test_a_row_that_breaks_a_law(tmp_path: Path, rows: list[Row], law: str) -> None:
    with pytest.raises(DataError, match=law):
        taken(parquet(tmp_path / "x.parquet", rows))
    assert list((tmp_path / "kept").iterdir()) == []


def test_bytes_and_characters_that_are_no_text(tmp_path: Path) -> None:
    half = ("cat", "\ud800")
    lines = [line(image, half[n % 2]) for n, image in enumerate(IMAGES)]
    with pytest.raises(DataError, match="must have printable characters"):
        taken(jsonl(tmp_path / "x.jsonl", lines))
    labels = pa.array([b"\xff\xfe", b"cat"]).view(pa.string())
    schema = pa.schema({"image": pa.binary(), "label": pa.string()})
    pq.write_table(pa.table([pa.array(IMAGES[:2]), labels], schema=schema), tmp_path / "y")
    with pytest.raises(DataError, match="column label: must be readable"):
        take_upload(tmp_path / "y", tmp_path / "kept.parquet", BOUNDS)


def test_columns_and_names(tmp_path: Path) -> None:
    def refused(law: str, *given: Any, **more: Any) -> None:
        path = parquet(tmp_path / "x.parquet", *given, **more)
        with pytest.raises(DataError, match=law):
            take_upload(path, tmp_path / "kept.parquet", BOUNDS)

    rows = [(struct(IMAGES[0]), 0), (struct(IMAGES[1]), 1)]
    refused("numbers without names", rows, None)
    refused("columns image and label once, but has", rows, column="picture")
    refused("class names must differ", rows, ("cat", "Cat"))
    refused("must have at most 1,000 classes", rows, [f"thing {n}" for n in range(1001)])
    refused("column image: must be struct", [("a.png", 0), ("b.png", 1)], kind=pa.string())


@pytest.mark.parametrize(
    ("rows", "law"),
    [
        ([line(IMAGES[0], "cat"), "{"], "line 2: must be JSON"),
        ([line(IMAGES[0], "cat"), line(IMAGES[1], 5)], "line 2, label: must be the name"),
        ([line(IMAGES[0], "cat"), {"label": "dog"}], "line 2: must be an object with the keys"),
        (
            [line(IMAGES[0], "cat"), {"image": "http://x/y.png", "label": "dog"}],
            "line 2, image.*not followed",
        ),
        (
            [line(IMAGES[0], "cat"), {"image": "data:image/png;base64,?", "label": "dog"}],
            "line 2, image: must have valid base64",
        ),
        ([line(IMAGES[0], "cat"), line(b"no", "dog")], "line 2, image: must be a readable image"),
        (["{" + "x" * 30_000], "line 1: must have at most"),
        ([line(IMAGES[0], "cat")] * 21, "line 21: a file must have at most 20 images"),
        ([line(IMAGES[0], "cat"), line(IMAGES[0], "")], "class name must not be empty"),
    ],
)
def test_a_line_that_breaks_a_law(tmp_path: Path, rows: list[Any], law: str) -> None:
    with pytest.raises(DataError, match=law):
        taken(jsonl(tmp_path / "x.jsonl", rows))


def test_pixels_are_counted_before_they_are_decoded(tmp_path: Path) -> None:
    large = encoded(noise(1, 1).resize((3000, 3000)))  # some kB, 9 megapixels
    rows = [line(IMAGES[0], "cat"), line(large, "dog")]
    bounds = UploadBounds(10_000_000, 1_000_000, 1_000_000, 20)
    with pytest.raises(DataError, match="line 2, image: must have at most 1,000,000 pixels"):
        take_upload(jsonl(tmp_path / "x.jsonl", rows), tmp_path / "kept.parquet", bounds)


def test_what_unpacks_to_more_than_a_file_may_have(tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    schema = pa.schema({"image": pa.binary(), "label": pa.string()})
    table = pa.table({"image": [b"\0" * 3_000_000, b"1"], "label": ["a", "b"]}, schema=schema)
    pq.write_table(table, path, compression="zstd")
    assert path.stat().st_size < 10_000
    with pytest.raises(DataError, match="at most 1,000,000 bytes when they are unpacked"):
        take_upload(path, tmp_path / "kept.parquet", BOUNDS)


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"PAR1 and no more", b"[1]"])
def test_what_is_neither(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"^file: must be a"):
        take_upload(path, tmp_path / "kept.parquet", BOUNDS)


def test_labels_in_the_order_of_another_file(tmp_path: Path) -> None:
    rows = [line(IMAGES[0], "dog"), line(IMAGES[1], "mouse")]
    kept, other = tmp_path / "kept.parquet", tmp_path / "other" / "train.parquet"
    other.parent.mkdir()
    take_upload(jsonl(tmp_path / "x.jsonl", rows), kept, BOUNDS)
    renumbered(kept, other, ("cat", "mouse", "dog"))
    dataset = load_parquet(ParquetSource(root=str(other.parent)), "other")
    items = [item for split in dataset.splits.values() for item in split]
    found = sorted((item.read(), dataset.class_names[item.label]) for item in items)
    assert found == sorted([(IMAGES[0], "dog"), (IMAGES[1], "mouse")])
    with pytest.raises(DataError, match="'mouse' is not one of them"):
        renumbered(kept, other, ("cat", "dog"))
