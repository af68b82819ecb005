"""`craft-ray predict` and `evaluate`, with a model that costs nothing."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from craft_ray.classifiers.about import About
from craft_ray.classifiers.artifact import Artifact
from craft_ray.commands import evaluate, predict, runs
from craft_ray.commands.asked_model import FIRST_LINE
from craft_ray.config.money import money
from craft_ray.config.oracle import OracleConfig
from craft_ray.data.dataset import Item
from craft_ray.inference import parts, predictor
from craft_ray.inference.predictor import Predictor
from craft_ray.task.trained_on import write_training_images
from tests.classifiers.test_artifact import DATA, trained
from tests.support.fake_oracle import FakeOracle

TEST = DATA.dataset.splits["test"]


class Model(FakeOracle):
    """Counts what it is asked about, and may be stopped."""

    asked = 0
    stops_after: int | None = None

    def register_images(self, images: Any, **options: Any) -> Any:
        if Model.stops_after is not None and Model.asked >= Model.stops_after:
            raise KeyboardInterrupt
        Model.asked += len(images)
        return super().register_images(images, **options)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a run, and its test images in class folders."""
    monkeypatch.chdir(tmp_path)
    about = About(price_per_thousand_predictions=0.25)
    artifact = replace(trained(), oracle=OracleConfig(), about=about)
    artifact.save(tmp_path / "runs" / "one" / "best")
    for number, item in enumerate(TEST):
        path = Path("photos", DATA.dataset.class_names[item.label], f"{number:03}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(item.read())
    monkeypatch.setattr(Model, "asked", 0)
    monkeypatch.setattr(Model, "stops_after", None)
    monkeypatch.setattr(
        Predictor,
        "load",
        classmethod(lambda cls, artifact, config, _: cls(artifact, Model())),
    )
    monkeypatch.setattr(predictor, "IMAGES_AT_A_TIME", 4)
    monkeypatch.setattr(parts, "IMAGES_OF_A_PART", 8)
    return tmp_path


def rows_of(file: str) -> list[dict[str, str]]:
    with open(file, newline="") as opened:
        return list(csv.DictReader(opened))


def test_lines_for_the_screen_and_the_price_before(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict.main(["latest", "photos"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == len(TEST)
    first, second, *_ = err.splitlines()
    assert first == FIRST_LINE  # before torch is loaded, which takes seconds
    cost = money(len(TEST) * 0.25 / 1000)
    assert second == (
        f"{len(TEST)} images x 1 prediction: costs {cost}, at 0.25 for 1,000 predictions"
    )
    assert predict.main(["latest", "photos", "--price", "1000"]) == 0
    assert f"costs {len(TEST)}.00, at 1000" in capsys.readouterr().err


def test_a_call_that_was_stopped_goes_on_and_asks_nothing_twice(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["one", "photos", "--out", "labels.csv", "--top", "2"]
    assert predict.main([*words[:3], "whole.csv", *words[4:]]) == 0
    assert Model.asked == len(TEST)
    Model.asked, Model.stops_after = 0, 12
    assert predict.main(words) == 130
    assert "12 images are labelled; the same command with --resume goes on" in (
        capsys.readouterr().err
    )
    assert not Path("labels.csv").exists()
    Model.stops_after = None
    assert predict.main(words) == 2
    assert "--resume goes on from there" in capsys.readouterr().err
    assert predict.main([*words[:-1], "1", "--resume"]) == 2
    assert predict.main([*words, "--resume"]) == 0
    assert Model.asked == len(TEST)
    assert rows_of("labels.csv") == rows_of("whole.csv")
    capsys.readouterr()
    assert predict.main([*words, "--resume"]) == 0
    assert "labels.csv is whole: nothing is left to ask" in capsys.readouterr().err
    assert Model.asked == len(TEST)
    assert not list(here.glob(".labels*"))


def test_a_parquet_file_that_is_another_meanwhile_is_not_gone_on_with(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(items: Sequence[Item]) -> None:
        images = [{"bytes": item.read(), "path": None} for item in items]
        pq.write_table(pa.table({"image": images}), "images.parquet")

    write(TEST)
    words = ["one", "images.parquet", "--out", "labels.csv"]
    Model.stops_after = 12
    assert predict.main(words) == 130
    Model.stops_after = None
    write(TEST[::-1])
    assert predict.main([*words, "--resume"]) == 2
    assert "a Parquet file of images are others" in capsys.readouterr().err


def test_resume_is_about_a_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        predict.main(["one", "photos", "--resume"])
    assert stopped.value.code == 2
    assert "--resume needs --out FILE" in capsys.readouterr().err


def test_no_image_that_can_be_read_leaves_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("broken.png").write_bytes(b"no image")
    assert predict.main(["one", "broken.png", "--out", "labels.csv"]) == 2
    assert "of 1 image none could be read" in capsys.readouterr().err
    assert not list(here.glob("*labels*")) + list(here.glob(".labels*"))


@pytest.mark.parametrize("run", ["one", "latest", "runs/one/best"])
def test_the_page_of_an_evaluation_says_how_to_do_it_again(here: Path, run: str) -> None:
    words = [run, "photos", "--set", "oracle.images_per_forward=4", "--report", "page.html"]
    assert evaluate.main(words) == 0
    typed = "one" if run == "latest" else run
    command = f"craft-ray evaluate {typed} photos --set oracle.images_per_forward=4 --report"
    assert command in Path("page.html").read_text()


def test_evaluate_says_the_price_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(["one", "photos"]) == 0
    out, err = capsys.readouterr()
    assert "Accuracy" in out
    assert err.startswith(f"{FIRST_LINE}\n{len(TEST)} images x 1 prediction: costs")


def test_evaluate_warns_of_images_that_the_run_was_trained_on(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warning = "among those that the run was trained on"
    assert evaluate.main(["one", "photos"]) == 0
    assert warning not in capsys.readouterr().err, "the run does not say"
    write_training_images(here / "runs" / "one", [*TEST[:3], *DATA.train])
    assert evaluate.main(["one", "photos", "--json"]) == 0
    out, err = capsys.readouterr()
    assert f"warning: 3 of {len(TEST)} images are {warning}" in err
    assert json.loads(out)["images"] == len(TEST)
    write_training_images(here / "runs" / "one", DATA.train)
    assert evaluate.main(["runs/one/best", "photos"]) == 0
    assert warning not in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_evaluate_warns_of_what_predict_has_written(
    here: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict.main(["one", "photos", "--top", "2", "--out", f"said.{kind}"]) == 0
    assert evaluate.main(["one", f"said.{kind}"]) == 0
    assert f"warning: said.{kind} is what craft-ray predict writes" in capsys.readouterr().err
    assert evaluate.main(["one", "photos", "--label-issues", "issues.csv"]) == 0
    assert "is what craft-ray predict" not in capsys.readouterr().err
    with Path("true.csv").open("w") as table:
        print("path", "label", sep=",", file=table)
        for path in sorted(Path("photos").glob("*/*")):
            print(path, path.parent.name, sep=",", file=table)
    assert evaluate.main(["one", "true.csv"]) == 0
    assert "is what craft-ray predict" not in capsys.readouterr().err


@pytest.mark.parametrize("is_terminal", [False, True])
def test_rows_in_a_terminal_have_no_bar_between_them(
    here: Path, is_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: list[int] = []

    @contextmanager
    def bar(console: Any, verb: str, total: int) -> Iterator[Any]:
        bars.append(total)
        yield bars.append

    monkeypatch.setattr("craft_ray.data.progress.image_progress", bar)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    assert predict.main(["one", "photos"]) == 0
    assert bool(bars) != is_terminal
    bars.clear()
    assert predict.main(["one", "photos", "--out", "said.csv"]) == 0
    assert bars


def test_labels_that_may_be_wrong_are_written_down(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict.main(["one", "photos", "--out", "said.csv"]) == 0
    surest = max(rows_of("said.csv"), key=lambda row: float(row["probability"]))
    other = next(name for name in DATA.dataset.class_names if name != surest["label"])
    Path(surest["path"]).rename(Path("photos", other, "moved.png"))
    assert evaluate.main(["one", "photos", "--label-issues", "issues.csv"]) == 0
    rows = rows_of("issues.csv")
    assert f"{len(rows)} labels may be wrong: issues.csv" in capsys.readouterr().err
    assert {row["path"]: row["suggested"] for row in rows}[f"photos/{other}/moved.png"] == surest[
        "label"
    ]
    for row in rows:
        assert Path(row["path"]).parent.name == row["label"] != row["suggested"]
        assert float(row["probability"]) > float(row["probability_of_label"])
    for name, law in (("issues.txt", "must end on .csv"), ("no/where.csv", "must be a folder")):
        before = Model.asked
        assert evaluate.main(["one", "photos", "--label-issues", name]) == 2
        assert law in capsys.readouterr().err
        assert Model.asked == before


def test_another_precision_is_told(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class InAnotherPrecision(Model):
        def describe(self) -> Any:
            return replace(super().describe(), oracle_id="other", weights_id="same")

    load = classmethod(lambda cls, artifact, config, _: cls(artifact, InAnotherPrecision()))
    monkeypatch.setattr(Predictor, "load", load)
    folder = here / "runs" / "one" / "best"
    replace(Artifact.load(folder), weights_id="same").save(folder)
    assert predict.main(["one", "photos"]) == 0
    assert "warning: the model computes in another precision" in capsys.readouterr().err


@pytest.mark.parametrize("price", ["-1", "cheap", "nan"])
def test_a_price_is_a_number(price: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        predict.main(["one", "photos", "--price", price])
    assert "must be a number of at least 0" in capsys.readouterr().err


def test_millions_are_streamed(here: Path) -> None:
    artifact, ahead, seen = Artifact.load(here / "runs" / "one" / "best"), 0, 0

    def endless() -> Iterator[Any]:
        nonlocal ahead
        while True:
            ahead += 1
            yield TEST[0]

    for batch in Predictor(artifact, Model()).predict(endless()):
        seen += len(batch.items)
        assert ahead - seen <= 3 * predictor.IMAGES_AT_A_TIME
        if seen >= 100:
            break


def test_an_export_is_used_like_a_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runs.main(["export", "latest", "shared/mine"]) == 0
    assert "mine: README.md, config.json, model.safetensors" in capsys.readouterr().out
    assert predict.main(["one", "photos", "--out", "run.csv"]) == 0
    assert predict.main(["shared/mine", "photos", "--out", "export.csv"]) == 0
    assert rows_of("run.csv") == rows_of("export.csv")
    assert runs.main(["export", "latest", "shared/mine"]) == 2
    assert "FOLDER: must be new or empty" in capsys.readouterr().err
    assert runs.main(["export", "nobody", "shared/other"]) == 2
    assert runs.main(["export", "latest", "s3://bucket/mine"]) == 2
    assert not Path("s3:").exists()
    assert "RUN: must be the name of a finished run" in capsys.readouterr().err


def test_images_that_are_not_read_are_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = here / "photos" / DATA.dataset.class_names[0] / "deep" / "drawing.svg"
    path.parent.mkdir()
    path.touch()
    for command in (predict.main, evaluate.main):
        assert command(["latest", "photos"]) == 0
        assert "note: 1 image(s) are passed over (1 .svg), such as " in capsys.readouterr().err


def test_places_may_be_in_the_home_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a program hands them on, or a shell in `--out=~/labels.csv`."""
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.chdir(here / "photos")
    words = ["--output-dir=~/runs", "latest", "~/photos"]
    assert predict.main([*words, "--out=~/labels.csv"]) == 0
    assert evaluate.main([*words, "--report=~/page.html"]) == 0
    assert (here / "labels.csv").is_file()
    assert (here / "page.html").is_file()
    assert runs.main(["--output-dir=~/runs"]) == 0
