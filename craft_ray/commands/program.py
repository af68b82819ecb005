"""`craft-ray`: the one program, which opens the command that its first word names."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from craft_ray import __version__
from craft_ray.config.suggestions import did_you_mean
from craft_ray.errors import EXIT_CODE_USER_ERROR

COMMANDS = {
    "tune": "search hyperparameters of a fine-tuning, and return the best classifier",
    "train": "one fine-tuning, without a search",
    "predict": "label new images with the classifier of a run",
    "evaluate": "how good that is on labelled images",
    "reproduce": "ours on the few-shot data sets, beside what is published",
    "serve": "offer a model to others: answers, and tuning, over HTTP",
    "suggest": "which images of an unlabelled folder to label",
    "data": "check a data set, or convert it to Parquet",
    "runs": "what there is, what came of it, how to go on",
    "ui": "MLflow's pages of the runs on this machine",
    "keys": "who may use a served model, how much and how often",
    "settings": "every setting, what it may be, its default and its meaning",
    "tracking": "what waits to be sent to MLflow",
    "env": "what this machine has, and what would fail on it",
    "completion": "what makes bash, zsh or fish complete these words",
}
"""Name -> what it does; each is the module of that name beside this one."""

USAGE = "craft-ray [--version] COMMAND ..."


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns its exit code."""
    first, *rest = [*(sys.argv[1:] if arguments is None else arguments), ""]
    if first == "--version":
        print(f"craft-ray {__version__}")
        return 0
    if first in ("", "-h", "--help", "help"):
        print(_help())
        return 0
    if first not in COMMANDS:
        known = ", ".join(COMMANDS)
        near = did_you_mean(first, [*COMMANDS, "--version", "--help"])
        print(f"error: COMMAND: must be one of {known}, but got {first!r}{near}", file=sys.stderr)
        return EXIT_CODE_USER_ERROR
    # Imported late: a command waits for its own libraries only.
    command = importlib.import_module(f"craft_ray.commands.{first}")
    code: int = command.main(rest[:-1])
    return code


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {words}" for name, words in COMMANDS.items()]
    return "\n".join(
        [
            f"usage: {USAGE}",
            "",
            "Fine-tune vision-language models that only answer questions.",
            "",
            *lines,
            "",
            "`craft-ray COMMAND --help` tells more. Example: craft-ray tune --dry-run",
        ]
    )
