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


def database_uri(database: Path) -> str:
    """The address of an SQLite file. SQLAlchemy takes `?` for the end of the path, and from 2.1 on
    `%` for the begin of an encoded character; all else stays readable."""
    path = str(database.resolve())
    plain = f"sqlite:///{path}"
    if not set(path) & set("%?"):
        return plain
    from sqlalchemy.engine import make_url  # part of MLflow, and seldom needed here

    encoded = "sqlite:///" + path.replace("%", "%25").replace("?", "%3F")
    return plain if make_url(plain).database == path else encoded
