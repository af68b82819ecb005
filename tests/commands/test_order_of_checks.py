"""A dry run decodes no image, and what takes no time is checked before images are decoded."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from craft_ray.commands import reproduce, train, tune
from craft_ray.config.shipped import SPACES
from craft_ray.data.dataset import Item

Command = Callable[[list[str]], int]


def tune_probes(words: list[str]) -> int:
    """The default search has trials that need more than one image of a class."""
    return tune.main([str(SPACES / "probes.yaml"), *words])


COMMANDS = pytest.mark.parametrize("command", [train.main, tune_probes], ids=["train", "tune"])


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Settings of a run on a data set with an image that cannot be decoded."""
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / "data" / split / name / "1.png")
    (tmp_path / "data" / "test" / "dog" / "1.png").write_bytes(b"not an image")
    return [f"data.source={{kind: folder, root: {tmp_path / 'data'}}}", "data.shots=1"]


@COMMANDS
def test_a_dry_run_plans_from_the_index_alone(
    command: Command, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command([*words, "--dry-run"]) == 0
    assert "Will spend at most" in capsys.readouterr().out
    assert command(words) == 2
    assert "must be a readable image" in capsys.readouterr().err


@COMMANDS
def test_how_files_were_read_is_told_before_anything_starts(
    command: Command, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data" / "train" / "cat" / "1.psd").touch()
    (tmp_path / "data" / "unlabeled").mkdir()
    auto = [f"data.source={{kind: auto, root: {tmp_path / 'data'}}}", *words[1:]]
    for typed in (words, auto, [str(tmp_path / "data"), *words[1:]]):
        assert command([*typed, "--dry-run"]) == 0
        told = capsys.readouterr().err
        assert "note: unlabeled in " in told
        assert "note: 1 image(s) are passed over (1 .psd), such as " in told


@COMMANDS
def test_a_place_is_typed_with_settings_of_its_source(
    command: Command, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows of the table in docs/data.md: no test split, and a table with columns of its own."""
    shutil.rmtree(tmp_path / "data" / "test")
    typed = [str(tmp_path / "data"), "data.source.splits.test=validation", "data.shots=1"]
    lines = ["photo;breed;part"]
    for name in ("cat", "dog"):
        folder = tmp_path / "data" / "train" / name
        shutil.copy(folder / "1.png", folder / "2.png")
        for split, number in (("train", 1), ("train", 2), ("val", 1)):
            lines.append(f"data\\{split}\\{name}\\{number}.png;{name};{split}")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    columns = {"path_column": "photo", "label_column": "breed", "split_column": "part"}
    of_table = [f"data.source.{key}={value}" for key, value in columns.items()]
    for each in (typed, [str(tmp_path / "table.csv"), *of_table, *typed[1:]]):
        assert command([*each, "--dry-run"]) == 0, capsys.readouterr().err
        assert "Will spend at most" in capsys.readouterr().out


def test_a_dry_run_of_a_reproduction_decodes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def refuse(item: Item) -> Image.Image:
        raise AssertionError(f"{item.name} was decoded")

    monkeypatch.setattr(Item, "decode", refuse)
    assert reproduce.main(["--dry-run"]) == 0
    assert "nothing was started" in capsys.readouterr().out


@COMMANDS
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_dry_run_finds_what_the_index_tells(
    command: Command, more: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command([*words, "data.shots=2", *more]) == 2
    assert "shots <= images a class must hold" in capsys.readouterr().err


@COMMANDS
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (["oracle.model=ViT-Q-1", "oracle.pretrained=openai"], "oracle.model: must be 'embedded'"),
        (["name=taken"], "taken must not exist yet: choose another name"),
        (["name=absent", "--resume"], "absent must be the folder of a run, but is not"),
    ],
)
def test_what_takes_no_time_is_said_before_images_are_decoded(
    command: Command,
    more: list[str],
    mistake: list[str],
    said: str,
    words: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("runs/taken").mkdir(parents=True)
    assert command([*words, *mistake, *more]) == 2
    assert said in capsys.readouterr().err
    assert not list(Path("runs/taken").iterdir())


def test_a_reproduction_says_so_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/taken").mkdir(parents=True)
    assert reproduce.main(["name=taken", "--dry-run"]) == 2
    assert "taken must not exist yet" in capsys.readouterr().err
    assert reproduce.main(["backbones=[ViT-Q-1]", "--dry-run"]) == 2
    assert "ViT-Q-1" in capsys.readouterr().err
