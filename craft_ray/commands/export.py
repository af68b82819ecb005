"""`craft-ray runs export`: a run's classifier as hubs of models want it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from craft_ray.commands.common import add_output_dir, exit_with, path_argument
from craft_ray.errors import ConfigError


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="craft-ray runs export",
        description="Write the classifier that a run has found into FOLDER: model.safetensors, "
        "config.json and a card, README.md. `CraftClassifier.load` and `craft-ray predict` read "
        "it; the model that it asks is named in it, not copied.",
        epilog="Example: craft-ray runs export latest my-classifier/",
    )
    parser.add_argument(
        "run", metavar="RUN", help="name of a run, its folder or address, or `latest`"
    )
    parser.add_argument(
        "folder", type=path_argument, metavar="FOLDER", help="a new or empty folder"
    )
    add_output_dir(parser)
    options = parser.parse_args(arguments)
    return exit_with(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    from craft_ray.classifiers.artifact import Artifact
    from craft_ray.files.remote import locate
    from craft_ray.inference.runs import find_classifier

    folder: Path = options.folder
    if "://" in str(options.folder) or ":/" in str(options.folder):
        raise ConfigError("FOLDER", [f"must be a folder on this machine, but got {folder}"])
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError("FOLDER", [f"must be new or empty, but got {folder}"])
    artifact = Artifact.load(find_classifier(options.run, locate(options.output_dir)))
    try:
        artifact.export(folder)
    except OSError as error:
        raise ConfigError("FOLDER", [f"{folder} cannot be written: {error}"]) from error
    print(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    print("A license is yours to add, in the head of README.md.")
