"""`craft-ray data check --labels`, with a model that costs nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from craft_ray.commands.data import main
from craft_ray.oracle import loaded
from tests.support.asked_endpoint import speaking
from tests.support.fake_oracle import FakeOracle
from tests.support.html_page import Page
from tests.support.images import encoded, noise
from tests.support.model_server import model_server
from tests.support.world import CLASS_NAMES, world_data

FEW_NAMES = "head.names=12"


class Model(FakeOracle):
    """Counts the images that it is asked about."""

    asked = 0

    def register_images(self, images: Any, **options: Any) -> Any:
        Model.asked += len(images)
        return super().register_images(images, **options)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with class folders; one image is in the folder of another class."""
    monkeypatch.chdir(tmp_path)
    data = world_data(shots=12, num_validation=6, num_test=6).dataset
    for number, item in enumerate(item for items in data.splits.values() for item in items):
        path = Path("pets", CLASS_NAMES[item.label], f"{number:03}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(item.read())
    Path("pets/cat/000.png").rename("pets/dog/astray.png")
    monkeypatch.setattr(Model, "asked", 0)
    monkeypatch.setattr(loaded, "load_here", lambda *_: Model())
    return tmp_path


def test_a_table_a_sheet_and_exit_code_1(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["check", "pets", "--labels", FEW_NAMES, "--sheet", "wrong.html"]
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert "asking embedded about 96 images, 1 prediction each with 16 names.\n" in err
    assert "Model: a small one for trying out" in err
    assert Model.asked == 96
    lines = out.splitlines()
    head = next(place for place, line in enumerate(lines) if "looks like" in line)
    (row,) = [line for line in lines[head:] if line.strip().startswith("dog") and "astray" in line]
    assert row.index("cat") == lines[head].index("looks like")
    assert row[row.index("pets/") :].startswith("pets/dog/astray.png (")
    number = int(lines[-1].split()[0])
    assert lines[-1] == f"{number} finding(s)."
    assert lines[head - 1] == f"Labels that look wrong ({number} in 96 of 96 images):"
    page = Page(Path("wrong.html").read_text())
    assert page.pictures == number
    assert "Labels that look wrong in pets" in page.text
    assert f"All of them are in {here}/pets/" in page.text
    assert "astray.png" in page.text


def test_json_has_all_and_standard_output_has_nothing_else(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--labels", "--images-a-class", "20", "--json", "pets", FEW_NAMES]) == 1
    document = json.loads(capsys.readouterr().out)
    labels = document["labels"]
    assert (labels["num_asked"], labels["num_images"]) == (80, 96)
    assert labels["left_out"] == ["16 image(s) beyond 20 of a class (--images-a-class)"]
    assert document["num_findings"] == len(labels["wrong"]) > 0
    assert labels["wrong"][0].keys() == {
        *("image", "split", "label", "looks_like", "confidence", "confidence_in_label"),
    }
    assert main(["check", "pets", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] is None


def test_what_costs_more_than_the_budget_is_not_asked(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["check", "pets", "--labels", FEW_NAMES, "price_per_thousand_predictions=100"]
    assert main([*words, "--budget", "9.5"]) == 2
    err = capsys.readouterr().err
    assert "96 images, 1 prediction each with 16 names: costs 9.60." in err
    assert "max_cost (--budget): must pay for what is asked, which may cost 9.60" in err
    assert "--images-a-class" in err
    assert Model.asked == 0
    assert main([*words, "--budget", "9.5", "--images-a-class", "20"]) == 1
    assert Model.asked == 80


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sheet", "x.html"], "--sheet: must be given with --labels"),
        (["--budget", "1"], "--budget: must be given with --labels"),
        (
            ["oracle.model=x"],
            "must be data.source.KEY=VALUE without --labels, got 'oracle.",
        ),
        (["--labels", "--sheet", "x.txt"], "--sheet: must end on .html or .htm"),
        (["--labels", "--sheet", "no/x.html"], "no must be a folder, but is missing"),
        (["--labels", "max_queries=3"], "must be KEY=VALUE of data.source.KEY, oracle.KEY, head."),
        (["--labels", "--model", "nothing"], "--model: must be embedded, a folder or NAME/TAG"),
        (["--labels", "--budget", "1"], "price_per_thousand_predictions > 0 must be given"),
        (["--labels", "oracle.model=ViT-B-32"], "pretrained must name a tag"),
        (["--labels", "--model", "embedded", "oracle.model=embedded"], "must be given once"),
    ],
)
def test_a_mistake_is_told_before_an_image_is_read(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["check", "pets", *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert Model.asked == 0


def test_class_names_that_cannot_be_asked_about_are_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("pets/cat").rename("pets/Dog")
    assert main(["check", "pets", "--labels"]) == 2
    assert "class names must differ, but got 'Dog' and 'dog'" in capsys.readouterr().err
    assert main(["check", "pets"]) == 1, "without a model it is a finding"


def test_an_endpoint_is_asked_within_its_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for label, name in enumerate(("cat", "dog")):
        Path("pets", name).mkdir(parents=True)
        for index in range(4):
            picture = encoded(noise(seed=10 * label + index))
            Path("pets", name, f"{index}.png").write_bytes(picture)
    with model_server(speaking("infinity")) as server:
        words = ["check", "pets", "--labels", "head.names=3", "--endpoint", server.url]
        words += ["--dialect", "infinity", "--model", "clip"]
        words += ["oracle.prices={currency: EUR, image: 0.5}"]
        assert main([*words, "--budget", "3"]) == 2
        err = capsys.readouterr().err
        assert "The endpoint is asked for 8 images, 5 texts at most, for 4.0000 EUR" in err
        assert "which may cost 4.0000 EUR, but got 3" in err
        assert main([*words, "--budget", "5"]) in (0, 1)
        assert "The endpoint was asked for 8 images, 5 texts" in capsys.readouterr().err
        assert main(words) in (0, 1)
        assert "nothing: all answers were there" in capsys.readouterr().err
