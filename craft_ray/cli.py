"""What the commands have in common: exit codes, checked inputs, and how plans are shown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from craft_ray.environment import set_environment
from craft_ray.errors import (
    EXIT_CODE_INTERRUPTED,
    EXIT_CODE_USER_ERROR,
    ConfigError,
    RunInterruptedError,
    UserError,
)

if TYPE_CHECKING:
    from craft_ray.config.run import RunConfig
    from craft_ray.training.ledger import Spending
    from craft_ray.training.preparation import FewShotData


def exit_with(command: Callable[[], None]) -> int:
    """Run a command; a user's mistake is one message and exit code 2, never a traceback."""
    set_environment()
    try:
        command()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CODE_USER_ERROR
    except RunInterruptedError as error:
        print(f"interrupted: {error}", file=sys.stderr)
        return EXIT_CODE_INTERRUPTED
    except KeyboardInterrupt:
        print("interrupted before anything was started", file=sys.stderr)
        return EXIT_CODE_INTERRUPTED
    return 0


def split_words(words: Sequence[str]) -> tuple[Path | None, list[str]]:
    """The words of a command line as a file, if there is one, and overrides.

    Raises:
        ConfigError: more than one file.
    """
    files = [word for word in words if "=" not in word]
    if len(files) > 1:
        raise ConfigError("command line", [f"at most one file is allowed, but got {files}"])
    return (Path(files[0]) if files else None), [word for word in words if "=" in word]


def check_inputs(config: RunConfig) -> FewShotData:
    """Everything that can be wrong with model and data, found before anything is started.

    Raises:
        UserError: names the field or file, the law and the value.
    """
    # Imported late, here and in the commands: `--help` and a mistyped key wait for no library.
    from craft_ray.oracle.loading import check_model_exists
    from craft_ray.training.preparation import load_data

    data = load_data(config)
    check_model_exists(config.oracle)
    return data


def print_plan(settings: Mapping[str, Any], spending: Spending, requests: Sequence[str]) -> None:
    """What `--dry-run` shows."""
    print(yaml.safe_dump(dict(settings), sort_keys=False), end="")
    print("\nWill spend at most")
    for label, amount in (
        ("candidate queries", spending.candidate_queries),
        ("image predictions", spending.image_predictions),
        ("  to score candidates", spending.search_predictions),
        ("  to train the head", spending.head_predictions),
        ("  to validate and test", spending.evaluation_predictions),
        ("prompts encoded", spending.text_encodes),
    ):
        print(f"  {label:<24}{amount:>16,}")
    print("\nWill ask of Ray")
    for request in requests:
        print(f"  {request}")
    print("\nDry run: nothing was started.")


def pool_request(config: RunConfig) -> str:
    """The pool in words; `auto` is resolved only when the cluster is known."""
    pool = config.pool
    return (
        f"oracle replicas: {pool.replicas}, each {pool.cpus_per_replica:g} CPU and "
        f"{pool.gpus_per_replica} GPU"
    )
