"""Folders of runs that somebody has begun."""

from __future__ import annotations

from typing import Any

from craft_ray.config.base import Settings
from craft_ray.files.remote import Place
from craft_ray.jobs.run_folder import open_run_folder


def create_run_folder(output_dir: Place, name: str, settings: dict[str, Any]) -> Place:
    """A run that was begun and left."""
    with open_run_folder(output_dir, name, "run", settings, Settings, resume=False) as folder:
        return folder
