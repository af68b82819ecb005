"""Where MLflow's database and what it has not taken yet lie: on a disk of this machine, always."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from craft_ray.files.remote import Place

LOCAL_FOLDER = "runs"
DATABASE_FILE = "mlflow.db"


def tracking_folder(output_dir: Place) -> Path:
    """The output folder itself; `runs` where that is on an object store, which holds no SQLite."""
    return output_dir if isinstance(output_dir, Path) else Path(LOCAL_FOLDER)
