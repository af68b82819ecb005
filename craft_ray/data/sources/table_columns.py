"""Which columns of a table have its images and labels. Pure: looks at a schema only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from craft_ray.config.suggestions import did_you_mean
from craft_ray.data.parquet_layout import HUGGING_FACE_KEY, IMAGE_COLUMN, LABEL_COLUMN
from craft_ray.data.sources.class_files import names_of_feature
from craft_ray.errors import DataError

IMAGE_NAMES = ("image", "img", "images", "jpg", "jpeg", "png", "webp", "picture", "photo", "pixels")
LABEL_NAMES = (
    "label", "labels", "fine_label", "class", "classes", "target", "targets", "category",
    "class_label", "class_name", "class_id", "label_name", "cls", "y",
)  # fmt: skip
"""By these names a column is taken if it is the only one; in lower case."""


def image_column(schema: pa.Schema, setting: str, where: str) -> str:
    """The column that has the images.

    Args:
        schema: of the file.
        setting: the column that the user names; the usual name stands for the only one too.
        where: the file, for messages.

    Raises:
        DataError: there is none, it holds something else than image files, or several may be meant.
    """
    if setting != IMAGE_COLUMN:
        _check_there(schema, setting, where)
        _check_is_image(schema, setting, where)
        return setting
    found = [field.name for field in schema if holds_images(field.type)]
    if IMAGE_COLUMN in found:
        _check_there(schema, IMAGE_COLUMN, where)
        return IMAGE_COLUMN
    if len(found) > 1:
        found = [name for name in found if name.lower() in IMAGE_NAMES] or found
    if len(found) == 1:
        return str(found[0])
    if found:
        raise DataError(
            f"{where}: one column must have the images, but any of {', '.join(found)} may: say "
            f"data.source.image_column={found[0]}"
        )
    for name in (*IMAGE_NAMES, *schema.names):  # what was meant for images, in its own words
        if schema.names.count(name) == 1:
            _check_is_image(schema, name, where, only_if_meant=name not in IMAGE_NAMES)
    raise DataError(
        f"{where}: must have a column 'image' with the images, but has {schema.names}: a column of "
        "struct<bytes, path> or binary is one (where the images are files in class folders beside "
        "it, say data.source.kind=folder)"
    )


def label_column(schema: pa.Schema, setting: str, where: str) -> str | None:
    """The column that has the labels; None where the user names no other and there is none.

    Raises:
        DataError: the column of the setting is missing, it holds something else than labels, or
            several may be meant.
    """
    if setting != LABEL_COLUMN:
        _check_there(schema, setting, where)
        _check_is_label(schema, setting, where)
        return setting
    if LABEL_COLUMN in schema.names:
        _check_there(schema, LABEL_COLUMN, where)
        _check_is_label(schema, LABEL_COLUMN, where)
        return LABEL_COLUMN
    features = features_of(schema)
    found = [name for name in schema.names if names_of_feature(features.get(name)) is not None]
    found = found or [name for name in schema.names if name.lower() in LABEL_NAMES]
    found.sort(key=lambda name: name.lower() not in LABEL_NAMES)
    if len(found) > 1:
        raise DataError(
            f"{where}: one column must have the labels, but any of {', '.join(found)} may: say "
            f"data.source.label_column={found[0]}"
        )
    if found:
        _check_is_label(schema, found[0], where)
    return found[0] if found else None


def features_of(schema: pa.Schema) -> Mapping[str, Any]:
    """What `datasets` has written of the columns; nothing if it has not."""
    try:
        features = json.loads(schema.metadata[HUGGING_FACE_KEY])["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def holds_images(kind: pa.DataType) -> bool:
    """Whether a column of this type holds files of images: bytes, alone or as the field `bytes` of
    a struct, or lists of them as numbers."""
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_bytes(kind.field(index).type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return bool(pa.types.is_uint8(kind.value_type))
    return _is_bytes(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _check_there(schema: pa.Schema, column: str, where: str) -> None:
    if column not in schema.names:
        near = did_you_mean(column, schema.names)
        raise DataError(f"{where}: must have a column {column!r}, but has {schema.names}{near}")
    if schema.names.count(column) > 1:
        raise DataError(f"{where}: must have a column {column!r} once, but has {schema.names}")


def _check_is_image(
    schema: pa.Schema, column: str, where: str, *, only_if_meant: bool = False
) -> None:
    """Refuse what is no image file, with the reason.

    Args:
        schema: of the file.
        column: is in it.
        where: the file, for messages.
        only_if_meant: a column that has nothing to do with images is let pass.

    Raises:
        DataError: it has addresses, paths, arrays or something else.
    """
    kind = schema.field(column).type
    if holds_images(kind):
        return
    words = column.lower().replace("_", " ").split()
    if _is_text(kind) and {"url", "urls", "uri", "link", "links"} & set(words):
        raise DataError(
            f"{where}: column {column} must have the images themselves, but has their addresses, "
            "and nothing is downloaded here (what lies behind an address may be another image "
            "tomorrow): download them, such as with img2dataset (--output_format parquet or "
            "webdataset), and name that folder"
        )
    if _is_array(kind):
        raise DataError(
            f"{where}: column {column} must have image files, but has arrays of pixels ({kind}): "
            "write it anew with `datasets`: "
            f"ds.cast_column({column!r}, datasets.Image()).to_parquet('train.parquet')"
        )
    if _is_text(kind) and not (only_if_meant and not _is_meant_for_images(words)):
        raise DataError(
            f"{where}: column {column} must be struct<bytes, path> or binary, but is {kind}: paths "
            "of files are read from a table (data.source.kind=csv), and addresses are not "
            "downloaded"
        )
    if not only_if_meant:
        several = pa.types.is_list(kind) and holds_images(kind.value_type)
        remedy = ": one image a row is needed, and a list may have several" if several else ""
        raise DataError(
            f"{where}: column {column} must be struct<bytes, path> or binary, but is {kind}{remedy}"
        )


def _is_meant_for_images(words: Sequence[str]) -> bool:
    return bool({*IMAGE_NAMES, "path", "file", "filename", "filepath"} & set(words))


def _is_array(kind: pa.DataType) -> bool:
    """Nested lists of numbers, as Array2D and Array3D are stored."""
    if isinstance(kind, pa.BaseExtensionType):
        return _is_array(kind.storage_type)
    depth = 0
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or _is_fixed_list(kind):
        kind, depth = kind.value_type, depth + 1
    return depth >= 2 and bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_fixed_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind))


def _check_is_label(schema: pa.Schema, column: str, where: str) -> None:
    kind = schema.field(column).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if is_number or pa.types.is_boolean(kind) or pa.types.is_null(kind) or _is_text(kind):
        return
    several = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    remedy = ": one label an image is needed, and a list may have several" if several else ""
    raise DataError(f"{where}: column {column} must be integers or words, but is {kind}{remedy}")
