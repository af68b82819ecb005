"""What may be typed in place of settings, and what it stands for."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

from craft_ray.commands.program import main
from craft_ray.commands.shorthand import about_model, add_shorthand, typed_words, what_is_asked
from craft_ray.commands.tune import PRESETS
from craft_ray.errors import ConfigError, DataError


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="*")
    add_shorthand(parser, PRESETS)
    return parser.parse_intermixed_args(words)


def words_of(*words: str) -> dict[str, object]:
    asked = what_is_asked(parse(*words), PRESETS)
    return {key: yaml.safe_load(value) for key, _, value in (w.partition("=") for w in asked.words)}


def test_a_place_of_images_is_recognised(tmp_path: Path) -> None:
    folders = tmp_path / "2024=a"
    (folders / "cat").mkdir(parents=True)
    assert words_of(str(folders)) == {
        "data.source.kind": "folder",
        "data.source.root": str(folders),
    }
    table = tmp_path / "photos.csv"
    table.write_text("path,label\n")
    assert words_of(str(table)) == {"data.source.kind": "csv", "data.source.file": str(table)}
    parquet = tmp_path / "p"
    (parquet / "data").mkdir(parents=True)
    (parquet / "data" / "train-00000-of-00001.parquet").touch()
    assert words_of(str(parquet))["data.source.kind"] == "parquet"
    assert words_of("s3://bucket/sets") == {
        "data.source.kind": "parquet",
        "data.source.root": "s3://bucket/sets",
    }
    coop = tmp_path / "dtd"
    coop.mkdir()
    (coop / "split_zhou_DescribableTextures.json").touch()
    assert words_of(str(coop)) == {
        "data.source.kind": "coop",
        "data.source.root": str(tmp_path),
        "data.source.dataset": "dtd",
    }


def test_data_sets_side_by_side_are_not_one_data_set_of_many_classes(tmp_path: Path) -> None:
    for folder, name in (("dtd", "DescribableTextures"), ("eurosat", "EuroSAT")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"split_zhou_{name}.json").touch()
    with pytest.raises(DataError, match="holds CoOp's dtd, eurosat: say one of them"):
        words_of(str(tmp_path))


def test_a_folder_that_is_called_like_a_number_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "2024" / "cat").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert words_of("2024")["data.source.root"] == str(tmp_path / "2024")


def test_a_model_with_its_weights() -> None:
    assert words_of("--model", "ViT-B-32/openai") == {
        "oracle.model": "ViT-B-32",
        "oracle.pretrained": "openai",
    }
    assert words_of("--model", "ViT-B-32//w/clip.pt")["oracle.pretrained"] == "/w/clip.pt"
    assert words_of("--model", "embedded") == {
        "oracle.model": "embedded",
        "oracle.pretrained": None,
    }


def test_the_folder_of_a_checkpoint(tmp_path: Path) -> None:
    assert words_of("--model", str(tmp_path))["oracle.model"] == f"local-dir:{tmp_path}"


@pytest.mark.parametrize("text", ["ViT-B-32", "ViT-B/32", "openai/clip-vit-base-patch32"])
def test_a_model_without_weights_names_those_that_there_are(text: str) -> None:
    with pytest.raises(ConfigError, match="one of ViT-B-32/openai, ViT-B-32/laion400m_e31"):
        words_of("--model", text)


def test_a_model_that_there_is_not() -> None:
    with pytest.raises(ConfigError, match=r"--model.*but got 'gpt-9'"):
        words_of("--model", "gpt-9")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("1h30m", 5400), ("0.5h", 1800)]
)
def test_times(text: str, seconds: float) -> None:
    assert words_of("--time-limit", text) == {"time_limit_s": seconds}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--time-limit", value) for value in ("", "0", "0s", "-5", "m", "5d", "1h x", "nan")),
        *(("--budget", value) for value in ("", "0", "-1", "five", "nan", "inf")),
        ("--preset", "own_imges"),
    ],
)
def test_mistakes_in_options(option: str, value: str) -> None:
    with pytest.raises(ConfigError, match=option):
        words_of(f"{option}={value}")


def test_an_endpoint_and_what_it_speaks() -> None:
    asks = ("--endpoint", "http://host.test:7997", "--dialect", "infinity")
    assert words_of(*asks, "--model", "2024", "--key-env", "MY_KEY") == {
        "oracle.kind": "http",
        "oracle.url": "http://host.test:7997",
        "oracle.dialect": "infinity",
        "oracle.model": "2024",
        "oracle.api_key_env": "MY_KEY",
    }
    own = words_of("--endpoint", "http://host.test", "--dialect", "my.module:Adapter")
    assert own.keys() == {"oracle.kind", "oracle.url", "oracle.dialect"}
    named = (*asks, "--model", "clip")
    assert about_model(what_is_asked(parse(*named), PRESETS)) == []
    assert vars(parse(*typed_words(parse(*named)))) == vars(parse(*named))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--endpoint", "http://host.test"), "--dialect: .*infinity.*my.module:Adapter.*is none"),
        (("--dialect", "infinity"), "--dialect: must be given with --endpoint"),
        (
            ("--endpoint", "http://host.test", "--dialect", "infinity"),
            "--model: must name the model as the endpoint knows it, for dialect infinity",
        ),
        (("--key-env", "KEY"), "--key-env: must be given with --endpoint"),
        (
            (
                "--endpoint",
                "http://a.test",
                "--dialect",
                "hf_zero_shot",
                "oracle.url=http://b.test",
            ),
            "oracle.url: must be given once",
        ),
    ],
)
def test_an_endpoint_that_is_not_wholly_said(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"(?s){message}"):
        what_is_asked(parse(*words), PRESETS)


def test_a_preset_is_a_shipped_file() -> None:
    assert what_is_asked(parse("--preset", "probes"), PRESETS).file == PRESETS["probes"]
    with pytest.raises(ConfigError, match="--preset: must not be given with a file"):
        what_is_asked(parse("a.yaml", "--preset", "probes"), PRESETS)


def test_nothing_is_said_twice(tmp_path: Path) -> None:
    for words in (
        ("--model", "embedded", "oracle.model=RN50"),
        ("--budget", "5", "max_cost=6"),
        (str(tmp_path), "data.source.root=x"),
        (str(tmp_path), "data.source={kind: embedded}"),
        (str(tmp_path), "data={shots: 4}"),
    ):
        with pytest.raises(ConfigError, match="must be given once"):
            what_is_asked(parse(*words), PRESETS)


def test_an_address_in_a_setting_is_no_place_of_images() -> None:
    asked = what_is_asked(parse("mlflow.tracking_uri=http://127.0.0.1:5000"), PRESETS)
    assert asked.data is None
    assert asked.words == ["mlflow.tracking_uri=http://127.0.0.1:5000"]


def test_what_was_typed_can_be_typed_again() -> None:
    options = parse("p.csv", "--model", "embedded", "trials=2", "--time-limit", "5m")
    again = parse(*typed_words(options))
    assert vars(again) == vars(options)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "dog"):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for n in range(12):
            Image.new("RGB", (8, 8), (n, 9 * n, len(name))).save(folder / f"{n}.png")
    return tmp_path / "photos"


def test_own_images_are_planned_by_one_command(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["tune", str(photos), "--model", "ViT-B-32/openai", "data.shots=2", "--dry-run"]
    assert main(words) == 0
    plan = capsys.readouterr().out
    assert "base.oracle.model: ViT-B-32 (default: embedded)" in plan
    assert "base.oracle.precision: bf16" in plan  # of the preset for real models
    assert f"base.data.source.root: {photos}" in plan
    assert "time" in plan


def test_the_configuration_is_printed_and_can_be_read_again(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", str(photos), "data.shots=2", "trials=3", "--print-config"]) == 0
    text = capsys.readouterr().out
    (photos.parent / "mine.yaml").write_text(text)
    assert main(["tune", "mine.yaml", "--print-config"]) == 0
    assert capsys.readouterr().out == text
    for command in ("train", "reproduce"):
        assert main([command, "--print-config"]) == 0
        assert json.dumps(yaml.safe_load(capsys.readouterr().out))


def test_what_differs_from_the_defaults_and_nothing_else(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(photos), "data.shots=2", "--dry-run"]) == 0
    first = capsys.readouterr().out.split("\n\n")[0]
    assert "data.shots: 2 (default: 16)" in first
    assert "head.kind: probes (default: residual_mlp)" in first
    assert "precision" not in first
    assert "output_dir" not in first


def test_a_budget_that_pays_for_nothing_is_refused_before_anything_is_asked(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("tune", "train"):
        words = [command, str(photos), "data.shots=2", "--budget", "0.0001"]
        assert main(words) == 2
        assert "price_per_thousand_predictions > 0 must be given" in capsys.readouterr().err
        assert main([*words, "price_per_thousand_predictions=5"]) == 2
        assert "max_cost: must pay for" in capsys.readouterr().err
    assert not (photos.parent / "runs").exists()


def test_much_is_said_with_what_costs_less(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from craft_ray.commands.dry_run import MANY_QUERIES

    words = ["tune", str(photos), "--preset", "own_images_craft", "--model", "ViT-B-32/openai"]
    assert main([*words, "data.shots=2", "--dry-run"]) == 0
    queries = capsys.readouterr().out.split("candidate queries")[1].split()[0]
    assert int(queries.replace(",", "")) > MANY_QUERIES


@pytest.mark.parametrize(
    ("words", "is_told"),
    [
        ([], True),
        (["--model", "embedded"], True),
        (["--model", "ViT-B-32/openai"], False),
        (["oracle.model=RN50", "oracle.pretrained=openai"], False),
        (["--preset", "probes"], False),
    ],
)
def test_who_brings_images_and_no_model_hears_what_is_asked(
    tmp_path: Path, words: list[str], is_told: bool
) -> None:
    asked = what_is_asked(parse(str(tmp_path), *words), PRESETS)
    assert bool(about_model(asked)) == is_told


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("photos.zip", "is an archive: unpack it"), ("labels.xlsx", "save it as 'CSV UTF-8'")],
)
def test_a_packed_file_is_no_file_of_settings(name: str, remedy: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\x8f\xb9")
    with pytest.raises(DataError, match=remedy):
        words_of(str(tmp_path / name))


def test_a_shard_is_a_place_of_images(tmp_path: Path) -> None:
    (tmp_path / "pets-000000.tar").touch()
    assert words_of(str(tmp_path / "pets-000000.tar"))["data.source.kind"] == "webdataset"
