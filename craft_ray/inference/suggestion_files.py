"""What `craft-ray suggest` writes: a table to be filled in, and a page to look at."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from craft_ray.data.sources.table import LABEL_COLUMNS, open_table
from craft_ray.data.threads import map_in_threads
from craft_ray.errors import ConfigError, DataError
from craft_ray.files.whole_files import write_whole
from craft_ray.inference.out_file import check_file
from craft_ray.inference.report import PAGE_KINDS
from craft_ray.inference.suggestion import TRAINING, Labelled, Suggested
from craft_ray.reports.sheet import MOST_PICTURES
from craft_ray.reports.suggestion_page import Shown, suggestion_page
from craft_ray.reports.thumbnails import thumbnail

OUT, SHEET = "--out", "--sheet"


def check_out(path: Path, labelled: Path | None) -> None:
    """That a table can be written there without the loss of a label.

    Args:
        path: of the table.
        labelled: what is labelled so far, which the table will have, too; it exists.

    Raises:
        ConfigError: it cannot.
    """
    check_file(OUT, path, (".csv",))
    if not path.exists() or (labelled is not None and os.path.samefile(path, labelled)):
        return
    try:
        with open_table(path) as (names, records):
            columns = [name for name in LABEL_COLUMNS if name in names]
            has_labels = any(record[name].strip() for _, record in records for name in columns)
    except DataError:
        columns, has_labels = [], True
    if has_labels or not columns:
        problem = f"{path} must not be overwritten, as it may have labels: go on from them with "
        problem += f"--labelled {path}, or name another file"
        raise ConfigError(OUT, [problem])


def check_sheet(path: Path) -> None:
    """That a page can be written there.

    Raises:
        ConfigError: it cannot.
    """
    check_file(SHEET, path, PAGE_KINDS)


def write_table(path: Path, labelled: Sequence[Labelled], suggested: Sequence[Suggested]) -> None:
    """Columns path, label and split, as `data.source.kind: csv` reads them: the images that are
    labelled or skipped, then those that are suggested, whose labels are empty. All of
    these are for training: images that were chosen are no fair test.

    Raises:
        ConfigError: it cannot be written.
    """
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(("path", "label", "split"))
    lines.writerows((written_path(each.path, path), each.label, each.split) for each in labelled)
    lines.writerows((written_path(each.path, path), "", TRAINING) for each in suggested)
    _write(OUT, path, text.getvalue())


def write_sheet(path: Path, place: str, model: str, suggested: Sequence[Suggested]) -> None:
    """The page with the pictures.

    Raises:
        ConfigError: it cannot be written.
    """
    pictures = map_in_threads(thumbnail, [each.item for each in suggested[:MOST_PICTURES]])
    shown = [
        Shown(str(each.path), each.stands_for, picture)
        for each, picture in zip(suggested, pictures, strict=False)
    ]
    _write(SHEET, path, suggestion_page(place, model, len(suggested), shown))


def written_path(path: Path, table: Path) -> str:
    """How a table names an image: from its own folder if it is below that, else absolutely."""
    folder, whole = os.path.abspath(table.parent), os.path.abspath(path)
    if os.path.commonpath([folder, whole]) == folder:
        return os.path.relpath(whole, folder)
    return whole


def _write(option: str, path: Path, text: str) -> None:
    try:
        write_whole(path, text.encode("utf-8", "replace"))
    except OSError as error:
        raise ConfigError(option, [f"{path} cannot be written: {error}"]) from error
