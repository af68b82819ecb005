"""Which settings go with no validation images, and with no training images."""

from __future__ import annotations

from craft_ray.config.data import DataConfig
from craft_ray.config.fidelity import Selection
from craft_ray.config.heads import ProbingHeadConfig

LEAST_SHOTS = 3
"""Images a class from which on training images that are held out tell how good a fitted head is;
and so many parts they are held out in, at least."""
MOST_HELD_OUT = 4096
"""Of more training images a fitted head holds out one part only, which sets the factor of the final
logits and is no evidence: each part costs a fit as long as the one that counts."""


def check_without_training(
    data: DataConfig, method: str, head: ProbingHeadConfig | None, start: str | None
) -> None:
    """Refuse `data.shots: 0` for what cannot do without training images.

    Args:
        data: section of the run.
        method: of the run.
        head: its section of the head, if it is one that is fitted.
        start: `prompt.start`.

    Raises:
        ValueError: names the setting.
    """
    if head is None or method != "head":
        raise ValueError(
            "data.shots >= 1 must hold unless method is head and head.kind is linear, probes or "
            f"features, but got 0 and method {method}: there is nothing to search or to train "
            "with. craft-ray train data.shots=0, without a file, gives the untouched model"
        )
    if data.validation == "few_shot":
        raise ValueError(
            "data.validation must be none or full when data.shots is 0, but got few_shot, which is "
            "min(shots, 4) images a class"
        )
    if data.unlabelled is not None:
        raise ValueError(
            "data.unlabelled must be null when data.shots is 0, but got "
            f"{data.unlabelled}: it adds to a head that was fitted to labelled images"
        )
    if start is not None:
        raise ValueError(
            f"prompt.start must be null when data.shots is 0, but got {start}: nothing is tuned"
        )


def check_without_validation(
    method: str, head: ProbingHeadConfig | None, selection: Selection
) -> None:
    """Refuse `data.validation: none` where a state must be chosen and nothing could choose it.

    Args:
        method: of the run.
        head: its section of the head, if it is one that is fitted.
        selection: the rule by which the state is chosen.

    Raises:
        ValueError: names the setting.
    """
    if method == "head" and head is not None:
        return
    if selection != "last":
        raise ValueError(
            "data.validation must be full or few_shot unless a head is fitted (method head and "
            f"head.kind linear, probes or features), but got none with method {method} and "
            f"fidelity.selection {selection}: without validation images nothing tells which state "
            "is best. fidelity.selection=last takes the last one; craft-ray train without a file, "
            "and the search tune_spaces/probes.yaml, fit heads"
        )


def problem_of_comparison(
    data: DataConfig, method: str, head: ProbingHeadConfig | None, start: str | None
) -> str | None:
    """Why a search cannot compare a trial with others; None: it can, by validation images, or
    without these by training images that its head did not see.

    Args:
        data: section of the run.
        method: of the run.
        head: its section of the head, if it is one that is fitted.
        start: `prompt.start`.
    """
    if data.shots == 0:
        return (
            "data.shots >= 1 must hold in a search, but got 0: its trials would all be the "
            "untouched model; craft-ray train data.shots=0 gives it"
        )
    if data.validation != "none":
        return None
    if head is None or method != "head":
        reason = f"of method {method}, all images were learned from"
    elif isinstance(data.shots, int) and data.shots < LEAST_SHOTS:
        reason = f"data.shots is {data.shots}, and {LEAST_SHOTS} images a class are needed for it"
    elif head.folds < LEAST_SHOTS:
        reason = f"head.folds is {head.folds}, and {LEAST_SHOTS} are needed for it"
    elif data.repeat_small_classes:
        reason = "data.repeat_small_classes is true, and an image may be there twice"
    elif start is not None:
        reason = "prompt.start was tuned before, perhaps on the same images"
    else:
        return None
    return (
        "data.validation must be full or few_shot, but got none: a search then compares its trials "
        f"by training images that are held out, and {reason}; `craft-ray train` needs no "
        "comparison"
    )
