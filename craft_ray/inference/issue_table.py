"""Labels that may be wrong, as a table for whoever looks at them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from craft_ray.classifiers.label_issues import LabelIssue
from craft_ray.data.dataset import Item
from craft_ray.errors import ConfigError
from craft_ray.files.whole_files import written_whole
from craft_ray.inference.output import as_text

COLUMNS = ("path", "label", "suggested", "probability", "probability_of_label")


def write_issues(
    path: Path, issues: Sequence[LabelIssue[Item]], class_names: Sequence[str]
) -> None:
    """Write the table; it appears under its name when it is complete.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        with (
            written_whole(path) as partial,
            partial.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for issue in issues:
                names = class_names[issue.label], class_names[issue.suggested]
                numbers = f"{issue.probability:.4f}", f"{issue.of_label:.4f}"
                writer.writerow([as_text(issue.image.name), *names, *numbers])
    except OSError as error:
        raise ConfigError("--label-issues", [f"{path} cannot be written: {error}"]) from error
