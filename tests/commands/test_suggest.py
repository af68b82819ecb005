"""`craft-ray suggest`, with a model that costs nothing."""

from __future__ import annotations

import csv
import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from craft_ray.commands import data, train
from craft_ray.commands.completion import completions
from craft_ray.commands.suggest import main
from craft_ray.oracle import loaded
from craft_ray.reports.suggestion_page import STANDS_FOR
from tests.support.asked_endpoint import speaking
from tests.support.fake_oracle import FakeOracle
from tests.support.html_page import Page
from tests.support.images import encoded, noise
from tests.support.model_server import model_server
from tests.support.world import CLASS_NAMES, world_data

FEW_NAMES = "head.names=24"


class Model(FakeOracle):
    """Counts the images that it predicts."""

    asked = 0

    def predict(self, task: Any, images: Any, *others: Any) -> Any:
        Model.asked += images.num_images
        return super().predict(task, images, *others)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a folder of 48 images of four classes."""
    monkeypatch.chdir(tmp_path)
    items = world_data(shots=12).dataset.splits["train"][:48]
    for number, item in enumerate(items):
        path = Path("photos", f"{CLASS_NAMES[item.label]} {number:02}.png")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(item.read())
    monkeypatch.setattr(Model, "asked", 0)
    monkeypatch.setattr(loaded, "load_here", lambda *_: Model())
    return tmp_path


def rows(table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(Path(table).read_text().splitlines()))


def class_of(path: str) -> str:
    return Path(path).name.rsplit(maxsplit=1)[0]


def fill_in(table: str) -> None:
    """What a person does."""
    lines = [{**row, "label": class_of(row["path"])} for row in rows(table)]
    with open(table, "w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def test_a_table_on_the_screen_one_to_fill_in_and_a_sheet(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["photos", "--labels", "4", FEW_NAMES, "--out", "labels.csv", "--sheet", "page.html"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "asking embedded about 48 images, 1 prediction each with 24 names.\n" in err
    then = "craft-ray train labels.csv data.shots=all data.validation=none head.names=24\n"
    assert f"then type:\n  {then}" in err
    assert Model.asked == 48
    found = rows("labels.csv")
    assert [(row["label"], row["split"]) for row in found] == [("", "train")] * 4
    assert sorted(class_of(row["path"]) for row in found) == sorted(CLASS_NAMES)
    lines = [line for line in out.splitlines() if "photos/" in line]
    assert [line.split("photos/")[1].split(".png")[0] for line in lines] == [
        Path(row["path"]).stem for row in found
    ]
    assert out.splitlines()[-1] == "4 of 48 images."
    page = Page(Path("page.html").read_text())
    assert page.pictures == 4
    assert "Images of photos to label" in page.text
    assert "1 stands for" in page.text
    assert f"Stands for: {STANDS_FOR}." in page.text
    assert Path(found[0]["path"]).name in page.text
    fill_in("labels.csv")
    assert train.main([*shlex.split(then)[2:], "--dry-run"]) == 0, capsys.readouterr().err


def test_a_second_round_goes_on_from_what_is_filled_in(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["photos", "--labels", "3", FEW_NAMES, "--out", "labels.csv"]) == 0
    fill_in("labels.csv")
    first = rows("labels.csv")
    again = ["photos", "--labels", "2", FEW_NAMES, "--out", "labels.csv"]
    assert main(again) == 2
    assert "must not be overwritten, as it may have labels: go on" in capsys.readouterr().err
    assert rows("labels.csv") == first
    assert main([*again, "--labelled", "labels.csv"]) == 0
    found = rows("labels.csv")
    assert found[:3] == first, "nothing of what somebody typed is lost"
    assert [row["label"] for row in found[3:]] == ["", ""]
    assert len({row["path"] for row in found}) == 5
    assert {class_of(row["path"]) for row in found} == set(CLASS_NAMES)
    assert "2 of 48 images, 3 of which are labelled." in capsys.readouterr().out


def test_an_image_with_a_dash_for_a_label_is_left_out_for_good(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["photos", "--labels", "3", FEW_NAMES, "--out", "labels.csv"]
    assert main(words) == 0
    assert "(- for an image of no class), then type:" in capsys.readouterr().err
    first = rows("labels.csv")
    Path("labels.csv").write_text(
        "path,label,split\n" + "".join(f"{row['path']},-,train\n" for row in first)
    )
    again = [*words, "--labelled", "labels.csv"]
    for number in (2, 3):
        assert main(again) == 0
        out, err = capsys.readouterr()
        assert "Left out: 3 image(s) whose label is -." in out
        assert "asking embedded about 45 images" in err
        found = rows("labels.csv")
        assert [row["path"] for row in found[:3]] == [row["path"] for row in first]
        assert [row["label"] for row in found] == ["-"] * 3 + [""] * 3, f"round {number}"
        assert len({row["path"] for row in found}) == 6
    assert train.main(["labels.csv", "data.shots=all", "data.validation=none", "--dry-run"]) == 2
    assert "must have a label, but label is empty or - in all lines (6)" in capsys.readouterr().err


def test_what_is_told_to_be_typed_next_takes_the_table(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["photos", "--labels", "5", FEW_NAMES, "--out", "labels.csv"]) == 0
    command = capsys.readouterr().err.rpartition("craft-ray train ")[2].splitlines()[0].split()
    fill_in("labels.csv")
    Path("labels.csv").write_text(Path("labels.csv").read_text() + "photos/none.png,,train\n")
    assert train.main([*command, "--dry-run", "mlflow.enabled=false"]) == 0
    out, err = capsys.readouterr()
    assert "1 image(s) without a label are left out." in err
    assert "to score candidates                  5" in out


def test_a_table_is_safe_whatever_is_said_to_be_labelled(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["photos", "--labels", "3", FEW_NAMES, "--out", "labels.csv"]
    assert main(words) == 0
    capsys.readouterr()
    assert main([*words, "--labelled", "gone.csv"]) == 2
    assert "gone.csv: must be a CSV file" in capsys.readouterr().err


def test_a_setting_may_be_longer_than_a_path(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vocabulary = ", ".join(f"thing of number {number}" for number in range(30))
    assert main(["photos", FEW_NAMES, f"head.vocabulary=[{vocabulary}]", "--dry-run"]) == 0
    assert "48 images, 1 prediction each with 24 names" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--out=sealed/labels.csv", "--sheet=sealed/page.html"])
def test_a_folder_that_nobody_may_write_to_is_told_before_an_image_is_asked_about(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    Path("sealed").mkdir()
    monkeypatch.setattr(os, "access", lambda path, _: str(path) != "sealed")  # root may all
    assert main(["photos", FEW_NAMES, option]) == 2
    assert (
        f"in a folder that you may write to, but {here / 'sealed'} is not one"
        in capsys.readouterr().err
    )
    assert Model.asked == 0


def test_json_has_all_and_standard_output_has_nothing_else(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("photos/broken.png").write_bytes(b"no image")
    assert main([FEW_NAMES, "--labels", "2", "--json", "photos"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["left_out"] == ["1 image(s) that are broken"]
    assert (document["num_images"], document["num_asked"], document["num_labelled"]) == (49, 48, 0)
    first, second = document["images"]
    assert first["path"].startswith("photos/")
    assert first["stands_for"] >= second["stands_for"] >= 1


def test_a_price_is_told_before_and_kept_to(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["photos", FEW_NAMES, "price_per_thousand_predictions=100", "--labels", "4"]
    assert main([*words, "--dry-run", "--out", "labels.csv"]) == 0
    assert "48 images, 1 prediction each with 24 names: costs 4.80." in capsys.readouterr().err
    assert not Path("labels.csv").exists()
    assert main([*words, "--budget", "4.7"]) == 2
    err = capsys.readouterr().err
    assert "max_cost (--budget): must pay for what is asked, which may cost 4.80" in err
    assert Model.asked == 0


def test_kept_answers_are_not_asked_for_again(here: Path) -> None:
    words = ["photos", FEW_NAMES, "--labels", "4", "answer_cache.folder=kept"]
    assert main(words) == 0
    assert main(words) == 0
    assert Model.asked == 48


def test_an_endpoint_that_gives_features_is_paid_once_and_asked_about_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in range(8):
        place = Path("photos", "cat" if seed % 2 else "dog", f"{seed}.png")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded(noise(seed=seed)))
    with model_server(speaking("infinity")) as server:
        words = ["photos", "--labels", "3", "--endpoint", server.url]
        words += ["--dialect", "infinity", "--model", "clip"]
        words += ["oracle.prices={currency: EUR, image: 0.5}"]
        assert main([*words, "--dry-run", "--budget", "3"]) == 2
        assert capsys.readouterr().err.endswith("but got 3: fewer IMAGES cost less\n")
        assert main([*words, "--budget", "3"]) == 2
        err = capsys.readouterr().err
        assert "asking clip about 8 images, for its features." in err
        assert err.rstrip().endswith("but got 3: fewer IMAGES cost less")
        assert "The endpoint is asked for 8 images at most, for 4.0000 EUR" in err
        assert main([*words, "--budget", "5", "--json"]) == 0
        out, err = capsys.readouterr()
        assert "The endpoint was asked for 8 images in" in err
        assert main([*words, "--budget", "5", "--out", "labels.csv"]) == 0
        said = shlex.split(capsys.readouterr().err.splitlines()[-2])
        assert said[:3] == ["craft-ray", "train", "labels.csv"]
        assert {*words[3:], "--budget", "5"} <= set(said), "the same model is asked"
        Path("file").touch()
        assert main([*words, "output_dir=file"]) == 1
        assert "must be writable, but: [Errno 20] Not a directory" in capsys.readouterr().err
        assert main([*words, "--json"]) == 0
        again, err = capsys.readouterr()
        assert "nothing: all answers were there" in err
        assert again == out
        # What the labels are used for finds the images, too.
        assert data.main(["check", "photos", "--labels", "head.names=3", *words[3:]]) in (0, 1)
        assert "The endpoint was asked for 5 texts in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["head.names=24"], "IMAGES: must say where images are, but there is none"),
        (["photos", "max_queries=3"], "must be KEY=VALUE of oracle.KEY, head.names"),
        (["photos", "head.names=3"], "head.names: must be at least 20 to tell images apart"),
        (["photos", "--out", "labels.txt"], "--out: must end on .csv"),
        (["photos", "--out", "no/labels.csv"], "no must be a folder, but is missing"),
        (["photos", "--sheet", "x.txt"], "--sheet: must end on .html or .htm"),
        (["photos", "--model", "nothing"], "--model: must be embedded, a folder or NAME/TAG"),
        (["photos", "--labelled", "gone.csv"], "gone.csv: must be a CSV file"),
        (["gone"], "gone: must be an image, a folder or a table, but is missing"),
        (["photos", "--budget", "1"], "price_per_thousand_predictions > 0 must be given"),
    ],
)
def test_a_mistake_is_told_before_an_image_is_asked_about(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert Model.asked == 0


def test_its_words_are_completed() -> None:
    assert "suggest" in completions("craft-ray su")
    assert "--labelled" in completions("craft-ray suggest --label")
    assert "head.names=" in completions("craft-ray suggest photos head.n")
