"""A question in parts that one request can carry."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from craft_ray.errors import OracleError
from craft_ray.oracle.endpoints.capabilities import FULL_SCORES, Capabilities, Limits
from craft_ray.oracle.endpoints.wire import Part, Question

ROOM = 4096
"""Bytes of a body beside images and texts: names, settings, brackets."""
ROOM_OF_ITEM = 160
"""Bytes around one image or text."""


def parts_of(question: Question, capabilities: Capabilities) -> tuple[Part, ...]:
    """A question in parts within the declared limits, in order.

    Where scores are joint over labels and do not fit into one request, each part begins with the
    question's first text: the anchor by which `joining.join` puts them together.

    Raises:
        OracleError: one image or text alone is beyond a limit.
    """
    limits, texts = capabilities.limits, question.texts
    check_texts(texts, limits)
    sizes_of_images = [_size_of_file(len(image.data)) for image in question.images]
    sizes_of_texts = [_size_of_text(text) for text in texts]
    room = None if limits.bytes is None else limits.bytes - ROOM
    _check_sizes(question, sizes_of_images, sizes_of_texts, room)
    if not question.is_scores:
        images = _runs(sizes_of_images, limits.images, room)
        return (
            *(Part(images=run) for run in images),
            *(Part(texts=run) for run in _runs(sizes_of_texts, limits.texts, room)),
        )
    beside_image = None if room is None else room - max(sizes_of_images)
    columns = _columns(sizes_of_texts, limits.labels, beside_image, capabilities)
    largest = max(sum(sizes_of_texts[text] for text in run) for run in columns)
    rows = _runs(sizes_of_images, limits.images, None if room is None else room - largest)
    anchored = capabilities.joint_over_labels and len(columns) > 1
    if len(columns) > 1:
        _check_can_be_apart(len(texts), len(columns), capabilities)
    return tuple(Part(row, column, anchored=anchored) for row in rows for column in columns)


def _check_can_be_apart(num_texts: int, num_requests: int, capabilities: Capabilities) -> None:
    """Raise OracleError where all labels must be in one request."""
    if "text" not in capabilities.prompts:
        why = "the owner scores classes of its own, all at once"
    elif "top_k" in capabilities.answers and not capabilities.answers & FULL_SCORES:
        why = f"only the best {capabilities.top_k} are told"
    else:
        return
    raise OracleError(
        f"labels: must fit into one request where {why}, but {num_texts} need {num_requests} "
        "(oracle.limits.labels)"
    )


def halves(part: Part) -> tuple[Part, ...]:
    """A part as two, by its contexts, its images, or else its texts. Empty: it cannot be split.

    Texts that images are compared with are not split: where scores are joint, halves need an
    anchor that the other parts may not have.
    """
    if len(part.contexts) > 1:
        middle = len(part.contexts) // 2
        return (
            replace(part, contexts=part.contexts[:middle]),
            replace(part, contexts=part.contexts[middle:]),
        )
    if len(part.images) > 1:
        middle = len(part.images) // 2
        return (
            replace(part, images=part.images[:middle]),
            replace(part, images=part.images[middle:]),
        )
    if len(part.texts) > 1 and not part.images:
        middle = len(part.texts) // 2
        return replace(part, texts=part.texts[:middle]), replace(part, texts=part.texts[middle:])
    return ()


def _runs(sizes: Sequence[int], most: int | None, room: int | None) -> list[tuple[int, ...]]:
    """Positions of items that follow each other, as many together as fit."""
    runs: list[list[int]] = []
    used = 0
    for position, size in enumerate(sizes):
        is_full = most is not None and bool(runs) and len(runs[-1]) == most
        if not runs or is_full or (room is not None and used + size > room):
            runs.append([])
            used = 0
        runs[-1].append(position)
        used += size
    return [tuple(run) for run in runs]


def _columns(
    sizes: Sequence[int], most: int | None, room: int | None, capabilities: Capabilities
) -> list[tuple[int, ...]]:
    whole = _runs(sizes, most, room)
    if len(whole) == 1 or not capabilities.joint_over_labels:
        return whole
    beside_anchor = None if room is None else room - sizes[0]
    if beside_anchor is not None and max(sizes[1:]) > beside_anchor:
        raise OracleError(
            f"oracle.limits.bytes: must hold an image and two labels, but is "
            f"{capabilities.limits.bytes}"
        )
    rest = _runs(sizes[1:], None if most is None else most - 1, beside_anchor)
    return [(0, *(position + 1 for position in run)) for run in rest]


def check_texts(texts: Sequence[str], limits: Limits) -> None:
    """Raise OracleError if a text is longer than the endpoint takes."""
    most = limits.text_characters
    for row, text in enumerate(texts):
        if most is not None and len(text) > most:
            raise OracleError(
                f"texts[{row}]: must have at most {most} characters for this endpoint, but has "
                f"{len(text)}: {text[:60]!r}..."
            )


def _check_sizes(
    question: Question, images: Sequence[int], texts: Sequence[int], room: int | None
) -> None:
    if room is None:
        return
    beside = max(texts, default=0) if question.images else 0
    for row, size in enumerate(images):
        if size + beside > room:
            image = question.images[row]
            raise OracleError(
                f"images: {image.name} must fit into a request of oracle.limits.bytes = "
                f"{room + ROOM}, but needs {size + beside + ROOM} ({len(image.data)} in its file); "
                "make it smaller"
            )
    for row, size in enumerate(texts):
        if size > room:
            raise OracleError(
                f"texts[{row}]: must fit into a request of oracle.limits.bytes = {room + ROOM}, "
                f"but needs {size + ROOM}"
            )


def _size_of_file(num_bytes: int) -> int:
    """In base64, as most dialects have it."""
    return -(-num_bytes // 3) * 4 + ROOM_OF_ITEM


def _size_of_text(text: str) -> int:
    return len(json.dumps(text)) + ROOM_OF_ITEM
