"""Names that say nothing in a prompt are told before a run starts, with a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from craft_ray.commands import train, tune
from craft_ray.config.data import (
    CoopSource,
    CsvSource,
    DataSource,
    EmbeddedSource,
    FolderSource,
    ParquetSource,
)
from craft_ray.data.dataset import Dataset, Item
from craft_ray.data.mute_names import mute_names, warning_of_mute_names
from tests.support.images import write_tree

FOLDER = FolderSource(root="/x")


def dataset(*names: str) -> Dataset:
    return Dataset("x", names, {"test": [Item(b"", 0, "0")]})


def test_numbers_and_wordnet_ids_say_nothing_and_words_do() -> None:
    names = ("7", " 12 ", "n01440764", "seven", "A320", "n1", "737-200", "")
    assert mute_names(dataset(*names)) == {
        "7": "a number",
        " 12 ": "a number",
        "n01440764": "a WordNet id",
    }
    assert warning_of_mute_names(FOLDER, dataset("cat", "dog")) is None


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        (FOLDER, "rename the class folders of data.source.root"),
        (CsvSource(file="/x.csv"), "into the column label of data.source.file"),
        (ParquetSource(root="/x"), "another column with data.source.label_column"),
        (CoopSource(root="/x", dataset="dtd"), "into the file of names that docs/data.md lists"),
        (EmbeddedSource(), "give words"),
    ],
)
def test_the_remedy_is_that_of_the_layout(source: DataSource, remedy: str) -> None:
    warning = warning_of_mute_names(source, dataset("0", "1", "cat"))
    assert warning is not None
    assert warning.startswith("2 of 3 class names say nothing in a prompt ('0' is a number)")
    assert remedy in warning
    assert "\n" not in warning


def test_who_names_imagenets_folders_hears_where_its_names_are() -> None:
    warning = warning_of_mute_names(FOLDER, dataset("n01440764", "n01443537"))
    assert warning is not None
    assert "data.source.kind=coop" in warning


@pytest.mark.parametrize("command", [train.main, tune.main], ids=["train", "tune"])
@pytest.mark.parametrize(("names", "warns"), [(("0", "1"), True), (("cat", "dog"), False)])
def test_a_run_warns_and_goes_on(
    command: object,
    names: tuple[str, ...],
    warns: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = write_tree(tmp_path / "x", names)
    words = [f"data.source={{kind: folder, root: {root}}}", "data.shots=2"]
    words.append(f"output_dir={tmp_path / 'runs'}")
    assert callable(command)
    assert command([*words, "--dry-run"]) == 0
    errors = capsys.readouterr().err
    assert errors.startswith("warning: 2 of 2 class names say nothing") == warns
    assert len(errors.splitlines()) == int(warns)
