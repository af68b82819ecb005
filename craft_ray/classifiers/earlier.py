"""What artefacts of earlier versions mean where they say nothing."""

from __future__ import annotations

from typing import Any


def with_earlier_preprocessing(document: dict[str, Any]) -> dict[str, Any]:
    """A stored description whose oracle gets its images as the classifier was tuned with them.

    Earlier versions ignored how a model wants an image resized: the short side, in bicubic, and the
    centre. Of weights from a file they took OpenAI's mean and standard deviation, which stand in
    `about`. Whoever loads such a classifier gets the answers that it had.
    """
    oracle = document.get("oracle")
    if not isinstance(oracle, dict) or "resize_mode" in oracle:
        return document
    if oracle.get("kind", "open_clip") != "open_clip" or oracle.get("model") == "embedded":
        return document
    as_it_was: dict[str, Any] = {"resize_mode": "shortest", "interpolation": "bicubic"}
    about = document.get("about")
    if isinstance(about, dict) and "/" in str(oracle.get("pretrained") or ""):
        told = {name: about.get(name) for name in ("image_mean", "image_std")}
        as_it_was |= {name: value for name, value in told.items() if value}
    return {**document, "oracle": {**oracle, **as_it_was}}
