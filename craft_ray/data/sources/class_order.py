"""The order of classes whose names nobody has listed."""

from __future__ import annotations

from collections.abc import Collection

LONGEST_NUMBER = 19
"""Characters. Python refuses to read a number of thousands of digits: such a label is a word."""


def are_numbers(labels: Collection[str]) -> bool:
    """Whether all labels are whole numbers in digits."""
    return all(
        label.removeprefix("-").isdecimal() and len(label) <= LONGEST_NUMBER for label in labels
    )


def in_order(labels: Collection[str]) -> tuple[str, ...]:
    """Sorted by name, or by number where all are whole numbers: "10" after "9"."""
    if are_numbers(labels):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))
    return tuple(sorted(labels))
