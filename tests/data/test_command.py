"""`python -m craft_ray.data`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from craft_ray.commands.data import main
from craft_ray.config.data import ParquetSource
from craft_ray.data.sources import load_dataset
from craft_ray.data.sources.coop_table import COOP_TABLE
from craft_ray.files.remote import locate
from tests.support.coop_trees import write_coop
from tests.support.images import encoded, noise, write_parquet, write_tree
from tests.support.s3_server import S3Server


def lone_images(root: Path, count: int = 6) -> Path:
    """Class folders with images that are all different."""
    for label, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for index in range(count):
            picture = encoded(noise(seed=100 * label + index))
            (root / name / f"{index}.png").write_bytes(picture)
    return root


def test_a_tree_is_converted_and_the_result_is_clean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = lone_images(tmp_path / "my pets")
    assert main(["convert", str(root), str(tmp_path / "new")]) == 0
    out = capsys.readouterr().out
    assert "2 classes, 6 train, 2 val, 4 test images in 3 file(s): " in out
    assert main(["check", str(tmp_path / "new")]) == 0
    assert "Nothing to complain of." in capsys.readouterr().out


def test_notes_are_told_in_the_report_and_by_convert(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = lone_images(tmp_path / "pets")
    (root / "cat" / "notes.txt").touch()
    assert main(["check", str(root)]) == 0
    assert "passed over" not in capsys.readouterr().out
    (root / "cat" / "x.svg").touch()
    assert main(["check", str(root)]) == 0
    told = f"1 image(s) are passed over (1 .svg), such as {root}/cat/x.svg: convert them to .png"
    assert f"Note: {told}" in capsys.readouterr().out
    assert main(["check", "--json", str(root)]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == [f"{told} or .jpg"]
    assert main(["convert", str(root), str(tmp_path / "new")]) == 0
    assert f"note: {told}" in capsys.readouterr().err


def test_settings_of_the_source_are_taken_as_tune_takes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = lone_images(tmp_path / "train")  # folders in one called train: a split, or a class
    for name in ("bus", "car"):
        (tmp_path / name).mkdir()
        shutil.copy(root / "cat" / "0.png", tmp_path / name / "0.png")
    assert main(["check", str(tmp_path)]) == 2
    assert "say data.source.layout=splits" in capsys.readouterr().err
    assert main(["check", "--json", str(tmp_path), "data.source.layout=splits"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == {"train": [6, 6]}
    words = ["data.source.layout=splits", "data.source.splits.test=train"]
    assert main(["convert", str(tmp_path), str(tmp_path / "new"), *words]) == 0
    assert "12 test images" in capsys.readouterr().out
    for word in ("seed=1", "data.source.layout", "data.source.delimiter=tab"):
        assert main(["check", str(tmp_path), word]) == 2
        assert "data.source." in capsys.readouterr().err


def test_a_table_and_a_parquet_folder_are_told_by_what_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lone_images(tmp_path, 3)
    lines = [f"{name}/{n}.png,{name}" for name in ("cat", "dog") for n in range(3)]
    table = tmp_path / "pets.CSV"
    table.write_text("\n".join(["path,label", *lines]))
    assert main(["check", "--json", str(table)]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "pets"
    assert main(["convert", str(table), str(tmp_path / "hub" / "data")]) == 0
    capsys.readouterr()
    assert main(["check", "--json", str(tmp_path / "hub")]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == {
        "train": [1, 1],
        "val": [1, 1],
        "test": [1, 1],
    }


def test_findings_give_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # `write_tree` puts the same images into all splits.
    assert main(["check", str(write_tree(tmp_path / "pets"))]) == 1
    out = capsys.readouterr().out
    assert "Leaks: the same image in two splits (8):" in out
    assert "8 finding(s)." in out


def test_class_names_that_a_run_would_refuse_are_findings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_parquet(tmp_path, class_names=("cat", "Cat"), splits=["train"])
    assert main(["check", str(root)]) == 1
    assert "class names must differ, but got 'cat' and 'Cat'" in capsys.readouterr().out
    assert main(["convert", str(root), str(tmp_path / "new")]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check", "absent"], "absent: must be a tree of class folders, a table"),
        (["convert", "absent", "new"], "absent: must be a tree of class folders"),
        (["check", "notes.txt"], "notes.txt: must be a tree .* but is another file"),
        (["check", "one.parquet"], "one.parquet: must be a Parquet file, but: "),
        (["check", "--dataset", "dtd", "."], "dtd: must be the folder of dtd, but is missing"),
        (["convert", "pets", "pets"], "pets: must not exist yet, but does"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    (tmp_path / "one.parquet").touch()
    monkeypatch.chdir(tmp_path)
    lone_images(tmp_path / "pets")
    Path("notes.txt").write_text("no table")
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.out == ""
    assert re.search(message, captured.err)


@pytest.mark.parametrize("size", ["0", "-1", "x", "1.5"])
def test_a_size_that_is_none_is_refused(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["convert", "a", "b", f"--shard-mb={size}"])
    assert "must be a whole number of at least 1" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_coop_set_is_checked_and_converted_by_real_processes(tmp_path: Path) -> None:
    expected = write_coop(tmp_path, "eurosat")
    broken = expected.splits["val"][4][0]
    broken.write_bytes(broken.read_bytes()[:100])

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "craft_ray.data", *words]
        return subprocess.run(command, capture_output=True, text=True)

    checked = run("check", "--dataset", "eurosat", str(tmp_path))
    assert checked.returncode == 1, checked.stderr
    assert f"  {broken}: must be a readable image" in checked.stdout
    assert f"Licence: {COOP_TABLE['eurosat'].licence}" in checked.stdout
    assert "Annual Crop Land" in checked.stdout
    new = tmp_path / "new"
    refused = run("convert", "--dataset", "eurosat", str(tmp_path), str(new))
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: {broken}: must be a readable image")
    assert not new.exists()
    done = run("convert", "--dataset", "eurosat", "--skip-broken", str(tmp_path), str(new))
    assert done.returncode == 0, done.stderr
    assert f"left out: {broken}: must be a readable image" in done.stdout
    assert len(load_dataset(ParquetSource(root=str(new))).splits["val"]) == 8
    assert run("check", str(new)).returncode == 0


def test_an_address_is_checked_as_tune_reads_it(
    tmp_path: Path, s3: S3Server, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in write_parquet(tmp_path).iterdir():
        (locate(s3.address("pets")) / file.name).write_bytes(file.read_bytes())
    assert main(["check", s3.address("pets")]) in (0, 1)
    assert capsys.readouterr().out.startswith("pets: 2 classes")


def test_options_are_settings_of_the_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that the source does not have, or that is mistyped, is not passed over."""
    root = lone_images(tmp_path)
    rows = [f"{name}/{i}.png,{i},{name}" for name in ("cat", "dog") for i in range(6)]
    (root / "pets.csv").write_text("\n".join(["path,label,breed", *rows]))
    assert main(["check", str(root / "pets.csv"), "--label-column", "breed"]) == 0
    assert "pets: 2 classes" in capsys.readouterr().out
    assert main(["check", str(root / "pets.csv"), "--image-column", "path"]) == 2
    assert "data.source.image_column: is not a known setting" in capsys.readouterr().err
    assert main(["check", str(root), "--label-column", "breed"]) == 2
    assert "label_column: must be a column of a table" in capsys.readouterr().err
