"""What is on this machine of the Hugging Face hub, and whether the hub can be asked for the rest.

Where there is no network its client tries for most of a minute, for each file, and says so in the
words of a library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from craft_ray.errors import OracleError

ANSWER_WITHIN_S = 10.0
"""Of the hub, when it is asked whether it is there."""


def cached(repository: str, file: str) -> Path | None:
    """Where the hub's cache on this machine has a file; None if it has not, or if the name is none
    of a repository but a path, which descriptions of models that were trained from a folder have.
    """
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(repository, file)
    except ValueError:  # HFValidationError
        return None
    return Path(found) if isinstance(found, str) else None


def check_hub_answers(repository: str, file: str, remedy: str) -> None:
    """Refuse to ask a hub that is not there. Blocks for `ANSWER_WITHIN_S` at most.

    Args:
        repository: on the hub.
        file: in it, that this machine has not.
        remedy: what can be done without a network.

    Raises:
        OracleError: there is no network, or `HF_HUB_OFFLINE` is set.
    """
    from huggingface_hub import constants, get_session, hf_hub_url

    if constants.HF_HUB_OFFLINE:
        why = "HF_HUB_OFFLINE is set"
    else:
        try:
            get_session().head(hf_hub_url(repository, file), timeout=ANSWER_WITHIN_S)
        except Exception as error:  # of whichever client and network
            reason = " ".join(str(error).split())[:100] or type(error).__name__
            why = f"the hub cannot be reached ({reason})"
        else:
            return
    raise OracleError(
        f"oracle.model: {file} of {repository} must be on this machine, but is not in the cache of "
        f"the Hugging Face hub, and {why}: {remedy}; or fetch it into the cache where there is a "
        f"network: hf download {repository}"
    )


def check_weights_at_hand(tag: dict[str, Any] | None) -> None:
    """Refuse published weights that are neither in the hub's cache nor to be had.

    Args:
        tag: what open_clip says of them; None for a file or a folder, which nobody asks the hub
            for.

    Raises:
        OracleError: says what can be done without a network.
    """
    repository, _, file = str((tag or {}).get("hf_hub") or "").rpartition("/")
    if not repository:
        return
    # Which of them a repository has is known there only.
    file = file or "open_clip_pytorch_model.bin"
    names = (file, str(Path(file).with_suffix(".safetensors")), "open_clip_model.safetensors")
    if not any(cached(repository, name) for name in names):
        remedy = "copy the weights to this machine and take oracle.pretrained=<file>"
        check_hub_answers(repository, file, remedy)
