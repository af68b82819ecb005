"""What a Python program needs around a run, as a command has it: the run's folder, and Ray."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import ray
from rich.console import Console

from craft_ray.config.base import Settings
from craft_ray.config.run import RunConfig
from craft_ray.files.remote import Place, locate
from craft_ray.jobs.ray_session import ray_session
from craft_ray.jobs.run_folder import open_run_folder


def console_for(show: bool) -> Console:
    """Where progress goes: the screen, or nowhere."""
    return Console(emoji=False, quiet=not show)


@contextmanager
def open_session(
    config: RunConfig,
    stem: str,
    settings: dict[str, Any],
    model: type[Settings],
    *,
    resume: bool = False,
) -> Iterator[Place]:
    """The folder of a run, with Ray up. A Ray that this process is connected to is used and stays;
    else one is started, or the cluster of `config.ray.address` is connected to, and left again.

    Args:
        config: of the run, or the base of a search.
        stem: of the run's name, if `config` does not give it.
        settings: all that is kept with the run, of the kind `model`.
        model: their kind.
        resume: continue an unfinished run: the one of the name, or the newest one of the stem.

    Raises:
        ConfigError: the folder cannot be made or resumed, or the cluster does not answer.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(
            open_run_folder(
                locate(config.output_dir), config.name, stem, settings, model, resume=resume
            )
        )
        if not ray.is_initialized():
            stack.enter_context(ray_session(config.ray))
        yield folder
