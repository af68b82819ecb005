"""`craft-ray tune IMAGES --service URL`: the service tunes, on its own machine."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from craft_ray.commands.common import progress_console
from craft_ray.commands.shorthand import split_words
from craft_ray.config.documents import split_override
from craft_ray.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from craft_ray.service.tunings.client import TuningClient

PRESETS = ("probes", "craft", "quickstart")
OF_A_METHOD = {"trials": "trials", "max_total_queries": "budget"}
"""Settings that have a name of their own in a service's `method`."""
SENT = {"train": "training_file", "val": "validation_file"}
"""By split; test images stay here."""
ONE_FILE = 10**15
"""Bytes of a shard: all of a split is one file."""


def add_service_option(parser: argparse.ArgumentParser) -> None:
    """The option of `tune`."""
    parser.add_argument(
        "--service",
        metavar="URL",
        help="have somebody's service tune (craft-ray serve): images are sent to it, and the "
        "classifier comes back; --key-env names the variable that has its key",
    )


def tune_at_service(options: argparse.Namespace) -> None:
    """Send the images, follow the job, and fetch the classifier.

    Raises:
        UserError: something that was typed, an image or an answer of the service breaks a law.
        RunFailedError: the service does not answer, or its machine has failed.
    """
    place, method, seed, output_dir = _read(options)
    key = _key_of(options.key_env)
    from craft_ray.service.tunings.client import TuningClient, cancelled_with

    console = progress_console(options)

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    with TuningClient(options.service, key) as client:
        files = _send(place, client, console)
        job_id = client.create(files["training_file"], files.get("validation_file"), method, seed)
        with cancelled_with(client, job_id):
            job = client.follow(job_id, say)
        folder = client.fetch(job_id, output_dir / job_id)
    if options.json:
        from craft_ray.commands.as_json import print_json

        print_json(job)
        return
    print(f"Classifier: {folder}")
    print(f"Use it:     craft-ray predict {folder.parent} PHOTOS")


def _read(options: argparse.Namespace) -> tuple[str, dict[str, Any], int | None, Path]:
    """Where images are, the method, the seed, and where the classifier goes."""
    file, place, words = split_words(options.words)
    if place is None or file is not None:
        problem = "needs the images to send, and no file of settings: craft-ray tune IMAGES"
        raise ConfigError("--service", [problem])
    for name in ("model", "endpoint", "dialect", "budget", "time_limit"):
        if getattr(options, name) is not None:
            problem = "must be left out with --service, whose owner decides about it"
            raise ConfigError(f"--{name.replace('_', '-')}", [problem])
    if options.dry_run or options.print_config or options.resume:
        problem = "takes none of --dry-run, --print-config and --resume"
        raise ConfigError("--service", [problem])
    method: dict[str, Any] = {"type": "search"}
    if options.preset is not None:
        if options.preset not in PRESETS:
            problem = f"must be one of {', '.join(PRESETS)}, but got {options.preset!r}"
            raise ConfigError("--preset", [problem])
        method["preset"] = options.preset
    settings = dict(split_override(word) for word in words)
    output_dir = Path(str(settings.pop("output_dir", "runs")))
    seed = settings.pop("seed", None)
    if seed is not None and not isinstance(seed, int):
        raise ConfigError("seed", [f"must be a whole number, but got {seed!r}"])
    for name, called in OF_A_METHOD.items():
        if name in settings:
            method[called] = settings.pop(name)
    if settings:
        method["settings"] = settings
    return place, method, seed, output_dir


def _key_of(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise ConfigError("--key-env", [f"{variable} must be set in the environment, but is not"])
    return key


def _send(place: str, client: TuningClient, console: Console) -> dict[str, str]:
    """Ids of the files, by what the service calls them."""
    with _files_of(place, console) as files:
        sent = {}
        for name, path in files.items():
            size = path.stat().st_size
            with console.status(f"Sending {size:,} bytes"):
                sent[name] = client.upload(path)
        return sent


@contextmanager
def _files_of(place: str, console: Console) -> Iterator[dict[str, Path]]:
    """A Parquet file of each split that is sent."""
    from pydantic import TypeAdapter

    from craft_ray.config.data import DataSource
    from craft_ray.data.convert import convert
    from craft_ray.data.parquet_layout import WRITTEN_SPLITS
    from craft_ray.data.sources import load_dataset
    from craft_ray.data.sources.detect import settings_at

    source: Any = TypeAdapter(DataSource).validate_python(settings_at(place))
    dataset = load_dataset(source)
    splits = {split: dataset.splits[split] for split in dataset.splits if split in SENT}
    counts = ", ".join(f"{len(items):,} {split}" for split, items in splits.items())
    console.print(f"Sending images: {counts}; test images stay here.", highlight=False)
    with tempfile.TemporaryDirectory(prefix="craft-ray-") as folder:
        made = Path(folder) / "sent"
        convert(replace(dataset, splits=splits), made, shard_bytes=ONE_FILE)
        yield {
            SENT[split]: made / f"{WRITTEN_SPLITS[split]}-00000-of-00001.parquet"
            for split in splits
        }
