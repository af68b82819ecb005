"""From the method that a user asks for to the settings of a run, by the laws of the real settings.

A user chooses how a classifier is tuned, and nothing else: which model is asked, where files are,
and what machine does it are the owner's (`owners_words`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from craft_ray.config.loading import load_run_config, load_space_config
from craft_ray.config.run import RunConfig
from craft_ray.config.shipped import DEFAULT_SPACE, SPACES
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import ConfigError, UserError
from craft_ray.search.plan import dearest_runs
from craft_ray.service.tunings.allowed import allowed_settings, check_bounds
from craft_ray.service.tunings.api_error import ApiError, bad_request
from craft_ray.service.tunings.upload import Facts

MethodType = Literal["probes", "craft", "search"]
RUNS: dict[str, Path] = {name: SPACES / "runs" / f"{name}.yaml" for name in ("probes", "craft")}
SEARCHES: dict[str, Path] = {
    "probes": SPACES / "probes.yaml",
    "quickstart": DEFAULT_SPACE,
    "craft": SPACES / "own_images_craft.yaml",
}
DEFAULT_SEARCH = "probes"
"""Its trials can be compared without validation images, too."""
MOST_HYPERPARAMETERS = 20
"""Each is an event of the job."""
OPENAI_TYPES = ("supervised", "dpo", "reinforcement")

SHOTS_OF_A_SEARCH = 16
"""Of a class, in a search with variants, unless its smallest class has fewer."""


@dataclass(frozen=True)
class Method:
    """What a user asks for, read."""

    type: MethodType
    preset: str
    settings: Mapping[str, Any]
    """By `section.key`; all of them may be set by users."""
    notes: tuple[str, ...] = ()
    """What of the request has no effect."""


@dataclass(frozen=True)
class Plan:
    """What is run: the command, and its settings but for those of this machine."""

    command: Literal["train", "tune"]
    preset: str
    words: tuple[str, ...]
    """`section.key=JSON`, the user's and those that follow from the files."""
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For the records."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Plan:
        """Inverse of `as_dict`, also from JSON."""
        words, notes = tuple(document["words"]), tuple(document["notes"])
        return cls(document["command"], document["preset"], words, notes)

    @property
    def file(self) -> Path:
        """The settings that the words change."""
        return (RUNS if self.command == "train" else SEARCHES)[self.preset]

    def load(self, more: Sequence[str] = ()) -> RunConfig | SpaceConfig:
        """The settings.

        Args:
            more: words after those of the plan.

        Raises:
            ConfigError: they break a law.
        """
        words = [*self.words, *more]
        if self.command == "train":
            return load_run_config(self.file, words)
        return load_space_config(self.file, words)


def read_method(
    method: Mapping[str, Any] | None, hyperparameters: Mapping[str, Any] | None
) -> Method:
    """Read `method` of a request, in our words or in OpenAI's.

    Args:
        method: `{"type": "probes" | "craft" | "search", "preset": ..., "settings": {...},
            "budget": queries, "trials": n}`, or `{"type": "supervised", ...}`. None: probes.
        hyperparameters: of OpenAI's older requests.

    Raises:
        ApiError: a key or value breaks a law.
    """
    given: dict[str, Any] = {"type": "probes"} if method is None else dict(method)
    kind = given.pop("type", None)
    if kind in OPENAI_TYPES:
        if kind != "supervised":
            raise bad_request(
                f"method.type must be probes, craft, search or supervised, but got {kind!r}",
                "method",
            )
        own = given.pop("supervised", None) or {}
        _check_keys(own, {"hyperparameters"}, "method.supervised")
        theirs = own.get("hyperparameters") or {}
        _check_keys(theirs, theirs, "method.supervised.hyperparameters")
        hyperparameters = {**(hyperparameters or {}), **theirs}
        kind = "probes"
    if kind not in ("probes", "craft", "search"):
        raise bad_request(
            f"method.type must be probes, craft, search or supervised, but got {kind!r:.60}",
            "method",
        )
    _check_keys(given, {"preset", "settings", "budget", "trials"}, "method")
    preset = _preset_of(kind, given.get("preset"))
    settings = allowed_settings(given.get("settings") or {})
    for name in ("budget", "trials"):
        if given.get(name) is not None and type(given[name]) is not int:
            raise bad_request(
                f"method.{name} must be a whole number, but got {given[name]!r:.60}", "method"
            )
    if (budget := given.get("budget")) is not None:
        settings["max_total_queries" if kind == "search" else "max_queries"] = budget
    if (trials := given.get("trials")) is not None:
        settings["trials"] = trials
    if "trials" in settings and kind != "search":
        raise bad_request(
            f"method.trials must be left out unless method.type is search, but got {kind}",
            "method",
        )
    return Method(kind, preset, settings, _notes_on(hyperparameters or {}))


def plan_of(
    method: Method,
    seed: int,
    training: Facts,
    has_validation: bool,
    most_queries: int,
) -> Plan:
    """What is run for a method on files, checked by the laws of the settings.

    Args:
        method: that was read.
        seed: of the run.
        training: of the file that is trained on.
        has_validation: whether there is a file of validation images.
        most_queries: the largest budget of the service.

    Raises:
        ApiError: a setting breaks a law.
    """
    settings = {**method.settings, "seed": seed}
    is_search = method.type == "search"
    if "data.shots" not in settings:
        fewest = min(SHOTS_OF_A_SEARCH, training.smallest_class)
        settings["data.shots"] = fewest if method.preset == "quickstart" else "all"
    command: Literal["train", "tune"] = "tune" if is_search else "train"

    def plan(more: Mapping[str, Any]) -> Plan:
        words = [f"{key}={json.dumps(value)}" for key, value in {**settings, **more}.items()]
        return Plan(command, method.preset, tuple(words), method.notes)

    def load(planned: Plan) -> RunConfig | SpaceConfig:
        try:
            return planned.load()
        except ConfigError as error:
            raise bad_request("; ".join(map(in_users_words, error.problems)), "method") from error
        except UserError as error:
            raise bad_request(in_users_words(str(error)), "method") from error

    planned = plan({"data.validation": "full"})
    config = load(planned)
    run = config.base if isinstance(config, SpaceConfig) else config
    if not has_validation:
        is_fitted = run.method == "head" and run.probing_head is not None
        if is_search and not is_fitted:
            raise bad_request(
                f"validation_file must be given when method.preset is {method.preset}, because "
                "without validation images its trials cannot be compared; method "
                '{"type": "search", "preset": "probes"} needs none',
                "validation_file",
            )
        last = {} if is_fitted else {"fidelity.selection": "last"}
        planned = plan({"data.validation": "none", **last})
        config = load(planned)
        run = config.base if isinstance(config, SpaceConfig) else config
    _check_budget(config, run, most_queries)
    return planned


def _check_budget(config: RunConfig | SpaceConfig, run: RunConfig, most_queries: int) -> None:
    if run.method == "white_box":
        raise bad_request(
            "method.settings.method must be head, prompt or both, but got white_box: a service "
            "gives no gradients",
            "method",
        )
    check_bounds(run, config.trials if isinstance(config, SpaceConfig) else 1)
    budget = _queries_of(run)
    if isinstance(config, SpaceConfig):
        # Without a budget of its own a search may spend that of each trial.
        each = max(map(_queries_of, dearest_runs(config)))
        budget = config.max_total_queries or config.trials * each
    if budget > most_queries:
        raise bad_request(
            f"method.budget must be at most {most_queries:,} queries, but got {budget:,}",
            "method",
            "budget_too_large",
        )


def _queries_of(run: RunConfig) -> int:
    """At most: a head on fixed prompts asks about each once, whatever its budget."""
    head = run.probing_head
    return head.num_contexts if head is not None and run.method == "head" else run.max_queries


def _notes_on(hyperparameters: Mapping[str, Any]) -> tuple[str, ...]:
    if len(hyperparameters) > MOST_HYPERPARAMETERS:
        raise bad_request(
            f"hyperparameters must be at most {MOST_HYPERPARAMETERS}, but are "
            f"{len(hyperparameters):,}",
            "hyperparameters",
        )
    return tuple(
        f"hyperparameters.{name[:60]}={value!s:.60} has no effect: method.settings of this service "
        "are those of craft-ray, such as data.shots, head.names or max_queries."
        for name, value in hyperparameters.items()
        if value not in (None, "auto")
    )


def _preset_of(kind: str, preset: Any) -> str:
    known = SEARCHES if kind == "search" else {kind: None}
    if preset is None:
        return DEFAULT_SEARCH if kind == "search" else kind
    if preset not in list(known):
        raise bad_request(
            f"method.preset must be {' or '.join(known)} when method.type is {kind}, but got "
            f"{preset!r:.60}",
            "method",
        )
    return str(preset)


def _check_keys(given: Any, known: Collection[str], where: str) -> None:
    if not isinstance(given, dict):
        raise bad_request(f"{where} must be an object, but is a {type(given).__name__}", "method")
    if strangers := sorted(given.keys() - set(known)):
        raise bad_request(
            f"{where} may have {', '.join(sorted(known))}, but has {strangers[0]!r:.60}", "method"
        )


def in_users_words(problem: str) -> str:
    """A problem of settings as the user of a service knows them."""
    return problem.replace("base.", "method.settings.", 1)


def check_model(model: str, known: Sequence[str]) -> None:
    """Refuse a model that the service does not have.

    Raises:
        ApiError: it does not.
    """
    if model not in known:
        raise ApiError(
            404,
            f"model must be {' or '.join(known)}, but got {model[:80]!r}",
            "model_not_found",
            "model",
        )
