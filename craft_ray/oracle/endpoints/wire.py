"""What goes to an endpoint and what comes back, as plain values."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from craft_ray.errors import OracleError

FloatArray = npt.NDArray[np.float32]

JSON_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}

_MAGIC = (
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"WEBP", 8, "image/webp"),
    (b"GIF8", 0, "image/gif"),
    (b"BM", 0, "image/bmp"),
    (b"II*\x00", 0, "image/tiff"),
    (b"MM\x00*", 0, "image/tiff"),
)
"""First bytes of a file, where they stand, and what it is then."""


class AnswerError(OracleError):
    """An endpoint has answered, but not with what was asked for.

    Attributes:
        again: whether the same question may be answered well the next time, as after half a body.
            What was asked may have been billed in any case.
    """

    def __init__(self, message: str, *, again: bool = False) -> None:
        self.again = again
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        return _answer_error, (str(self), self.again)  # through Ray, with `again`


def _answer_error(message: str, again: bool) -> AnswerError:
    return AnswerError(message, again=again)


@dataclass(frozen=True)
class ImageFile:
    """An image as its own file's bytes: the endpoint decodes and resizes it."""

    data: bytes = field(repr=False)
    name: str = "image"
    """For messages: its file."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the bytes: what answers are kept under."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def media_type(self) -> str:
        """By its first bytes, whatever its name ends with.

        Raises:
            OracleError: not a kind of image that endpoints take.
        """
        for magic, start, media_type in _MAGIC:
            if self.data[start : start + len(magic)] == magic:
                return media_type
        raise OracleError(
            f"images: must be JPEG, PNG, WebP, GIF, BMP or TIFF files, but {self.name} begins with "
            f"{self.data[:8]!r}"
        )

    @property
    def base64(self) -> str:
        """The bytes as text."""
        return base64.b64encode(self.data).decode("ascii")

    @property
    def data_uri(self) -> str:
        """The bytes as a URL, `data:image/png;base64,...`."""
        return f"data:{self.media_type};base64,{self.base64}"


@dataclass(frozen=True)
class Question:
    """Images alone ask for their features, texts alone for theirs, and both for a score of every
    image with every text."""

    images: tuple[ImageFile, ...] = ()
    texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.images and not self.texts:
            raise OracleError("question: must have images or texts, but has neither")
        blank = next((row for row, text in enumerate(self.texts) if not text.strip()), None)
        if blank is not None:
            raise OracleError(f"texts[{blank}]: must not be blank, but got {self.texts[blank]!r}")
        if self.images and len(set(self.texts)) < len(self.texts):
            twice = next(text for text in self.texts if self.texts.count(text) > 1)
            raise OracleError(
                f"texts: must be different, or a score cannot be told from another's, but "
                f"{twice!r} is there twice"
            )

    @property
    def is_scores(self) -> bool:
        """Whether images are compared with texts."""
        return bool(self.images and self.texts)


@dataclass(frozen=True)
class Part:
    """What one request asks about: positions in the question."""

    images: tuple[int, ...] = ()
    texts: tuple[int, ...] = ()
    contexts: tuple[int, ...] = ()
    """Soft prompts; craft-ray's own protocol only."""
    anchored: bool = False
    """Whether the first text is the anchor, which all parts of the question share."""


@dataclass(frozen=True)
class Units:
    """What may be billed. None: not told."""

    images: int | None = None
    texts: int | None = None
    pairs: int | None = None
    """Scores of one image with one text."""
    tokens: int | None = None


@dataclass(frozen=True)
class Request:
    """One HTTP request, without address and secrets."""

    method: str
    path: str
    """Below the endpoint's URL; begins with `/`, or is empty."""
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    part: Part
    units: Units
    """That it asks about, by our count."""


@dataclass(frozen=True)
class Reply:
    """What has come back, whole or not."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def header(self, name: str) -> str | None:
        """Whatever the case of its letters."""
        return lower(self.headers).get(name.lower())


@dataclass(frozen=True)
class Answer:
    """The numbers of one request.

    Attributes:
        part: what they are about.
        values: features [rows, F], or scores [images, texts], in the order of `part`; finite, but
            for labels that an answer `top_k` does not tell, which are NaN.
        told: what the endpoint says it has counted.
    """

    part: Part
    values: FloatArray
    told: Units = Units()


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by their names in lower case."""
    return {name.lower(): value for name, value in headers.items()}


def units_of(part: Part) -> Units:
    """What a part of a question asks about."""
    if part.images and part.texts:
        return Units(pairs=len(part.images) * len(part.texts))
    return Units(images=len(part.images) or None, texts=len(part.texts) or None)


def address(url: str, path: str) -> str:
    """Where a request goes. A URL that ends with what the path begins with has it once only:
    many write `https://host/v1` for `https://host`.

    Args:
        url: the endpoint's, with or without a slash at its end.
        path: of a request.
    """
    before, after = url.rstrip("/").split("/"), path.lstrip("/").split("/")
    for shared in range(min(len(after), len(before) - 3), 0, -1):
        if before[-shared:] == after[:shared]:
            return "/".join(before + after[shared:])
    return "/".join(before + after) if path else url
