"""Classes that a model does not tell apart, whatever the image."""

from __future__ import annotations

from collections.abc import Sequence

from craft_ray.oracle.contract import FloatArray, OracleDescription

NAMED_AT_MOST = 3


def indistinct_classes(
    logits_NC: FloatArray, class_names: Sequence[str], description: OracleDescription
) -> str | None:
    """A warning for people, or None.

    Many endpoints cut a long text and do not say so: classes whose names begin alike then have the
    very same scores for every image. Scores that are rounded, or told of the best labels only, are
    the same for other reasons, and nothing is said of them.

    Args:
        logits_NC: of the untouched model, under one prompt for each class.
        class_names: of the columns.
        description: of the model.
    """
    told = description.capabilities
    if told.decimals is not None or told.top_k is not None or not len(logits_NC):
        return None
    first: dict[bytes, str] = {}
    pairs = []
    for name, column in zip(class_names, logits_NC.T, strict=True):
        earlier = first.setdefault(column.tobytes(), name)
        if earlier != name:
            pairs.append(f"{earlier!r} and {name!r}")
    if not pairs:
        return None
    more = f", and {len(pairs) - NAMED_AT_MOST} more" if len(pairs) > NAMED_AT_MOST else ""
    return (
        f"warning: the model gives the same scores for {', '.join(pairs[:NAMED_AT_MOST])}{more}, "
        "whatever the image: it may cut texts before the words that differ. Shorter class names "
        "help, or a data.template with {} nearer to its beginning"
    )
