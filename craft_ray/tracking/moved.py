"""Artefacts of a folder that was moved or copied: MLflow keeps absolute places in its database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

ARTIFACTS_FOLDER = "mlflow-artifacts"
"""Beside the database."""
PLACES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
"""Table -> columns that hold the place of artefacts."""
BUSY_TIMEOUT_S = 10.0


def follow(database: Path) -> bool:
    """Let the database name the artefacts that lie beside it, wherever both have been before; an
    experiment whose artefacts are somewhere else keeps its place. Returns whether something was
    changed.

    Raises:
        sqlite3.Error: the database cannot be read or written.
    """
    if not database.is_file():
        return False
    here = (database.resolve().parent / ARTIFACTS_FOLDER).as_uri()
    connection = sqlite3.connect(database, timeout=BUSY_TIMEOUT_S)
    with closing(connection), connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        if not tables >= PLACES.keys():  # MLflow has not made them yet
            return False
        query = "SELECT DISTINCT artifact_location FROM experiments"
        before = [
            place
            for (place,) in connection.execute(query)
            if place and place.startswith("file:") and place != here
            if place.endswith(f"/{ARTIFACTS_FOLDER}")
        ]
        for place in before:
            for table, columns in PLACES.items():
                for column in columns:
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (here, len(place) + 1, place, len(place) + 1, f"{place}/"),
                    )
    return bool(before)
