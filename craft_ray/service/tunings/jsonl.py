"""The lines of an uploaded JSONL file, `{"image": "data:image/png;base64,...", "label": "cat"}`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from craft_ray.errors import DataError
from craft_ray.service.tunings.data_uri import image_of

MOST_BESIDE_IMAGE = 10_000
"""Characters of a line beside its image."""
KEYS = {"image", "label"}


class JsonlRows:
    """Labels at once, images when they are asked for: the file is read twice, and a line at a time.

    Args:
        path: of the file.
        most_images: lines that it may have.
        most_image_bytes: of an image, which bounds a line.

    Raises:
        DataError: a line is no JSON, or has no label; it says which.
    """

    def __init__(self, path: Path, most_images: int, most_image_bytes: int) -> None:
        self._path = path
        self._longest = most_image_bytes * 4 // 3 + MOST_BESIDE_IMAGE
        self._numbers: list[int] = []
        names: list[str] = []
        for number, document in self._documents():
            if len(names) == most_images:
                raise DataError(f"line {number}: a file must have at most {most_images:,} images")
            label = document["label"]
            if not isinstance(label, str):
                raise DataError(
                    f"line {number}, label: must be the name of a class, but got {label!r:.60}"
                )
            names.append(label)
            self._numbers.append(number)
        self.class_names = tuple(sorted(set(names)))
        places = {name: label for label, name in enumerate(self.class_names)}
        self.labels = [places[name] for name in names]

    def where(self, number: int) -> str:
        """A line for messages; of the image `number`, from 0."""
        return f"line {self._numbers[number]}, image"

    def images(self) -> Iterator[bytes]:
        """The content of each line's image file.

        Raises:
            DataError: a line has none.
        """
        for number, document in self._documents():
            yield image_of(document["image"], f"line {number}, image")

    def _documents(self) -> Iterator[tuple[int, dict[str, Any]]]:
        with self._path.open("rb") as file:
            number = 0
            while line := file.readline(self._longest + 1):
                number += 1
                if len(line) > self._longest:
                    raise DataError(
                        f"line {number}: must have at most {self._longest:,} bytes, but has more"
                    )
                if line.strip():
                    yield number, _document(line, number)


def _document(line: bytes, number: int) -> dict[str, Any]:
    try:
        document = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"line {number}: must be JSON, but: {str(error)[:200]}") from error
    if not isinstance(document, dict) or document.keys() != KEYS:
        keys = sorted(document)[:5] if isinstance(document, dict) else type(document).__name__
        raise DataError(
            f"line {number}: must be an object with the keys image and label, but has {keys}"
        )
    return document
