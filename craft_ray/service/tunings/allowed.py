"""Which settings a user of a service may set, and within which bounds of the service."""

from __future__ import annotations

import re
from typing import Any

from craft_ray.config.documents import flatten
from craft_ray.config.heads import PROMPTS_PER_CLASS
from craft_ray.config.run import RunConfig
from craft_ray.service.tunings.api_error import bad_request

ALLOWED = {
    *("data.shots", "data.template", "data.views", "data.repeat_small_classes"),
    *("max_queries", "method", "seed", "trials"),
    *("evaluate_every_generations", "patience"),
}
ALLOWED_SECTIONS = ("head", "optimizer", "prompt")
NEVER = {
    "prompt.start": "it names a file of the owner's machine",
}
MOST: dict[str, float] = {
    "data.views": 16,
    "head.batch_size": 4096,
    "head.contexts": 32,
    "head.epochs_per_generation": 10,
    "head.folds": 20,
    "head.hidden": 2048,
    "optimizer.population": 400,
    "prompt.intrinsic_dim": 2048,
    "trials": 64,
}
"""Of what takes the owner's memory or time and no query: laws of the service, not of the method."""
_KEY = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
MOST_SETTINGS = 100
"""Of a request: each that is unknown is compared with all that are known."""
MOST_WORDS = 2_000
"""Of a list such as `optimizer.words`."""
MOST_CHARACTERS = 1_000
"""Of a text such as `data.template`, or of a list's entry."""
MOST_SEED = 2**32 - 1


def allowed_settings(given: Any) -> dict[str, Any]:
    """By `section.key`; the laws of the settings themselves are checked by who loads them.

    Raises:
        ApiError: one of them is not for users, or beyond a bound.
    """
    if not isinstance(given, dict):
        raise bad_request(
            f"method.settings must be an object, but is a {type(given).__name__}", "method"
        )
    settings = flatten(given)
    if len(settings) > MOST_SETTINGS:
        raise bad_request(
            f"method.settings must have at most {MOST_SETTINGS} entries, but has {len(settings):,}",
            "method",
        )
    for key, value in settings.items():
        if not _KEY.fullmatch(key):  # an "=" in it would make another key of it
            raise bad_request(
                f"method.settings must be named as section.key, but got {key[:80]!r}", "method"
            )
        is_allowed = key in ALLOWED or (key.split(".")[0] in ALLOWED_SECTIONS and "." in key)
        if not is_allowed or key in NEVER:
            because = f": {NEVER[key]}" if key in NEVER else ""
            raise bad_request(
                f"method.settings may have {', '.join(sorted(ALLOWED))} and what is below "
                f"{', '.join(ALLOWED_SECTIONS)}, but has {key[:80]!r}{because}",
                "method",
            )
        _check_value(key, value)
    return settings


def check_bounds(run: RunConfig, trials: int = 1) -> None:
    """Refuse settings beyond a bound of the service, by what they are when they are read: `"9000"`
    is a number by then.

    Args:
        run: what is run, or the base of a search.
        trials: of the search.

    Raises:
        ApiError: one of them is.
    """
    settings = {**flatten(run.model_dump(mode="json")), "trials": trials}
    for key, most in MOST.items():
        value = settings.get(key)
        if isinstance(value, int | float) and value > most:
            raise bad_request(
                f"method.settings: {key} must be at most {most:g} on this service, but got {value}",
                "method",
            )


def _check_value(key: str, value: Any) -> None:
    if isinstance(value, list) and len(value) > MOST_WORDS:
        raise bad_request(
            f"method.settings: {key} must have at most {MOST_WORDS:,} entries, but has "
            f"{len(value):,}",
            "method",
        )
    words = value if isinstance(value, list) else [value]
    longest = max((len(word) for word in words if isinstance(word, str)), default=0)
    if longest > MOST_CHARACTERS:
        raise bad_request(
            f"method.settings: {key} must have at most {MOST_CHARACTERS:,} characters, but has "
            f"{longest:,}",
            "method",
        )
    is_seed = type(value) is int and 0 <= value <= MOST_SEED
    if key == "seed" and not is_seed:
        raise bad_request(
            f"method.settings: seed must be a whole number from 0 to {MOST_SEED}, but got "
            f"{value!r:.60}",
            "method",
        )
    if key == "head.offset" and value not in list(PROMPTS_PER_CLASS):
        raise bad_request(
            f"method.settings: head.offset must be {', '.join(PROMPTS_PER_CLASS)}, but got "
            f"{value!r:.60}: files are not read",
            "method",
        )
    if key == "head.kind" and value == "features":
        raise bad_request(
            "method.settings: head.kind must be probes, linear or residual_mlp, but got features, "
            "which this service does not show",
            "method",
        )
