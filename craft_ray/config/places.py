"""Where files may be: a folder, or the address of one on an object store. Neither torch nor Ray."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator

from craft_ray.config.secrets import conceal, is_masked

S3_OPTIONS = ("region", "scheme", "endpoint_override", "tls_ca_file_path")
"""What may stand in the query of an s3 address; of others it is pyarrow's to say."""
SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss")


def is_address(text: str) -> bool:
    """Whether it names a place on an object store, and not a folder."""
    return "://" in text


def check_place(text: str) -> str:
    """The text itself; of a folder, with the home folder in place of a leading `~`, which a shell
    leaves as it is in `key=~/x`.

    Raises:
        ValueError: an address with credentials, of an unknown scheme, without a bucket, or with
            an unknown option.
    """
    if not is_address(text):
        return expand_home(text)
    masked = conceal(text)
    if masked != text or is_masked(text):
        raise ValueError(
            "must be without credentials (an @ counts as their end): they belong into the "
            f"environment of every node, such as AWS_ACCESS_KEY_ID, but got {masked!r}"
        )
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise ValueError(f"must be an address, but: {error}, and got {text!r}") from error
    if parts.scheme not in SCHEMES:
        raise ValueError(
            f"must be a folder or an address of {', '.join(SCHEMES)}, but got {text!r}"
        )
    if not parts.netloc or parts.fragment or " " in text:
        raise ValueError(f"must be such as s3://bucket/prefix, but got {text!r}")
    for key, _ in parse_qsl(parts.query, keep_blank_values=True):
        if parts.scheme == "s3" and key not in S3_OPTIONS:
            raise ValueError(
                f"options of an s3 address are {', '.join(S3_OPTIONS)}, but got {key!r}"
            )
    return text


def expand_home(text: str) -> str:
    """A path with the home folder in place of a leading `~`. Without a home it stays."""
    return os.path.expanduser(text)


def absolute(text: str) -> str:
    """A path as any process finds it: Ray's workers have a working directory of their own. Without
    `..`, so that a place has one name from wherever it is named, unless a link makes a difference.
    """
    path = Path(expand_home(text)).absolute()
    plain = os.path.normpath(path)
    if ".." in path.parts and os.path.realpath(plain) == os.path.realpath(path):
        return plain
    return str(path)


def _absolute_if_file(text: str) -> str:
    return absolute(text) if os.path.isfile(expand_home(text)) else expand_home(text)


def absolute_unless_address(text: str) -> str:
    """A place that is the same for every process, whatever its working directory."""
    return text if is_address(text) else absolute(text)


PathText = Annotated[str, AfterValidator(absolute)]
"""A file or folder on this machine."""
WeightsText = Annotated[str, AfterValidator(_absolute_if_file)]
"""A file on this machine, or the name that somebody has given to weights."""
PlaceText = Annotated[str, AfterValidator(check_place)]
AbsolutePlaceText = Annotated[PlaceText, AfterValidator(absolute_unless_address)]
