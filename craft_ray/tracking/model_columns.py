"""Columns of what a logged model predicts."""

LABEL, PROBABILITY = "label", "probability"


def column_of(class_name: str) -> str:
    """That of a class's probability."""
    return f"{PROBABILITY}_{class_name}"
