"""What was asked about last is encoded once, within a limit of memory."""

from __future__ import annotations

import numpy as np
import torch

from craft_ray.oracle.contract import TaskHandle
from craft_ray.oracle.text.kept import KeptTexts

CONTEXT = np.zeros((1, 4, 8), np.float32)
BYTES = 3 * 5 * 4


def task(name: str) -> TaskHandle:
    return TaskHandle(name, 3, CONTEXT[0])


def asked(kept: KeptTexts, *questions: tuple[str, float]) -> list[bool]:
    """Of each question, a task and a number in its context, whether it was encoded."""
    encoded = []
    for name, value in questions:
        calls: list[int] = []

        def encode(value: float = value, calls: list[int] = calls) -> torch.Tensor:
            calls.append(1)
            return torch.full((1, 3, 5), float(value))

        features = kept.features(task(name), CONTEXT + np.float32(value), encode)
        assert torch.equal(features, torch.full((1, 3, 5), float(value)))
        encoded.append(bool(calls))
    return encoded


def test_alternating_questions_are_encoded_once() -> None:
    kept = KeptTexts(2 * BYTES)
    assert asked(kept, ("a", 0), ("b", 1), ("a", 0), ("b", 1)) == [True, True, False, False]


def test_of_more_than_fit_the_one_asked_for_longest_ago_goes() -> None:
    kept = KeptTexts(2 * BYTES)
    assert asked(kept, ("a", 0), ("a", 1), ("a", 0), ("a", 2)) == [True, True, False, True]
    assert asked(kept, ("a", 0), ("a", 1)) == [False, True]


def test_what_does_not_fit_alone_is_not_kept_and_drops_nothing() -> None:
    kept = KeptTexts(2 * BYTES)
    asked(kept, ("a", 0))
    large = kept.features(task("b"), CONTEXT, lambda: torch.zeros(3, 3, 5))
    assert large.nbytes > 2 * BYTES
    assert asked(kept, ("a", 0)) == [False]


def test_other_classes_or_shapes_of_contexts_are_other_questions() -> None:
    kept = KeptTexts(10 * BYTES)
    assert asked(kept, ("a", 0), ("b", 0)) == [True, True]
    longer = kept.features(task("a"), CONTEXT.reshape(1, 8, 4), lambda: torch.ones(1, 3, 5))
    assert torch.equal(longer, torch.ones(1, 3, 5))
