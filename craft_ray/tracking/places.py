"""Where MLflow's database and what it has not taken yet lie: on a disk of this machine, always."""

from __future__ import annotations

from pathlib import Path

from craft_ray.files.remote import Place, RemotePath

LOCAL_FOLDER = "runs"


def tracking_folder(output_dir: Place) -> Path:
    """The output folder itself; `runs` where that is on an object store, which holds no SQLite."""
    return Path(LOCAL_FOLDER) if isinstance(output_dir, RemotePath) else output_dir
