"""The images whose labels look wrong, on a page, see `craft_ray.reports`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from craft_ray.classifiers.label_issues import LabelIssue
from craft_ray.config.run import RunConfig
from craft_ray.data.dataset import Dataset
from craft_ray.data.label_check import LabelCheck
from craft_ray.data.threads import map_in_threads
from craft_ray.errors import ConfigError
from craft_ray.files.whole_files import write_whole
from craft_ray.inference.label_check import Placed
from craft_ray.inference.out_file import check_file
from craft_ray.inference.report import PAGE_KINDS
from craft_ray.reports.label_page import label_page
from craft_ray.reports.sheet import MOST_PICTURES
from craft_ray.reports.thumbnails import thumbnail

OPTION = "--sheet"


def check_sheet(path: Path) -> None:
    """That a page can be written there, before anything is asked for it.

    Raises:
        ConfigError: it cannot.
    """
    check_file(OPTION, path, PAGE_KINDS)


def write_sheet(
    path: Path,
    dataset: Dataset,
    config: RunConfig,
    check: LabelCheck,
    issues: Sequence[LabelIssue[Placed]],
) -> None:
    """Write the page; it appears under its name when it is complete.

    Args:
        path: of the page.
        dataset: that was looked at.
        config: which model was asked.
        check: what is said of each image.
        issues: the same images, in the same order.

    Raises:
        ConfigError: it cannot be written.
    """
    items = [issue.image[1] for issue in issues[:MOST_PICTURES]]
    pictures = list(map_in_threads(thumbnail, items))
    text = label_page(dataset.name, str(config.oracle.model), check, pictures)
    try:
        write_whole(path, text.encode("utf-8", "replace"))
    except OSError as error:
        raise ConfigError(OPTION, [f"{path} cannot be written: {error}"]) from error
