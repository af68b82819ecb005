"""A user's descriptions of classes, as CuPL's files have them: class name -> sentences.

    {"cat": ["a cat, which has whiskers.", "a cat on a sofa."], "dog": ["a dog with floppy ears."]}

Each sentence is asked as it is, and says itself which class it is of.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import Any

from craft_ray.config.words import unprintable
from craft_ray.data.dataset import normalized_name
from craft_ray.errors import ConfigError
from craft_ray.files.remote import locate

MOST_BYTES = 256 * 2**20
"""No file of descriptions is as large; one that is, is something else."""
Sentences = tuple[tuple[str, ...], ...]
"""Of each class, in the order of the classes."""


def read_descriptions(place: str, class_names: Sequence[str]) -> Sentences:
    """The sentences of each class. Names of classes that the task does not have are passed over,
    so that a file for a whole data set serves a part of it.

    Args:
        place: of the file.
        class_names: of the task; in the file case, blanks and underscores may differ.

    Raises:
        ConfigError: it cannot be read, a class is missing, or has no sentences that can be asked.
    """
    named: dict[str, tuple[str, ...]] = {}
    for name, value in _read(place):
        if (known := normalized_name(name)) in named:
            raise _problem(place, f"must have each class once, but {name[:60]!r} is there twice")
        named[known] = _sentences(place, name, value)
    missing = [name for name in class_names if normalized_name(name) not in named]
    if missing:
        raise _problem(place, _about_missing(missing, named))
    return tuple(named[normalized_name(name)] for name in class_names)


def _read(place: str) -> list[tuple[str, Any]]:
    """Names and values, in order; a name may be there twice."""
    path = locate(place)
    try:
        content = path.read_bytes()
        if len(content) > MOST_BYTES:
            raise ValueError(f"it has {len(content):,} bytes, and may have {MOST_BYTES:,}")
        text = content.decode("utf-8-sig")
        document = json.loads(text, object_pairs_hook=list)
    except FileNotFoundError:
        raise _problem(place, "must be a file, but there is none") from None
    except OSError as error:
        raise _problem(place, f"must be readable, but: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise _problem(place, f"must be JSON, but: {str(error)[:200]}") from None
    is_object = isinstance(document, list) and all(isinstance(pair, tuple) for pair in document)
    if not is_object or not document or not text.lstrip().startswith("{"):
        raise _problem(place, 'must be {"class name": ["sentence", ...], ...}, but is not')
    pairs: list[tuple[str, Any]] = document
    return pairs


def _sentences(place: str, name: str, value: Any) -> tuple[str, ...]:
    """Each once."""
    whose = f"class {name[:60]!r}"
    if not isinstance(value, list) or any(not isinstance(each, str) for each in value):
        raise _problem(place, f"{whose} must have a list of sentences, but has {str(value)[:60]}")
    if not value:
        raise _problem(place, f"{whose} must have at least one sentence, but has an empty list")
    for sentence in value:
        if not sentence.strip():
            raise _problem(place, f"{whose} must have no empty sentence, but has {sentence!r}")
        if (character := unprintable(sentence.strip())) is not None:
            law = f"{whose} must have printable characters only, but {sentence[:60]!r} has"
            raise _problem(place, f"{law} {character}")
    return tuple(dict.fromkeys(sentence.strip() for sentence in value))


def _about_missing(missing: Sequence[str], named: dict[str, tuple[str, ...]]) -> str:
    first = missing[0]
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    close = difflib.get_close_matches(normalized_name(first), named, n=1)
    similar = f"; it has {close[0]!r}, which is no class of the task" if close else ""
    return f"must have sentences of every class, but has none of {first!r}{more}{similar}"


def _problem(place: str, problem: str) -> ConfigError:
    return ConfigError("head.offset", [f"{place}: {problem}"])
