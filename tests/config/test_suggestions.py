"""What is said to somebody who mistyped a word, or mistook a file."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import craft_ray
from craft_ray.commands import train, tune
from craft_ray.config.loading import (
    load_default_run,
    load_reproduction_config,
    load_run_config,
    load_space_config,
)
from craft_ray.config.shipped import DEFAULT_SPACE, SPACES
from craft_ray.errors import ConfigError
from tests.support.images import write_parquet, write_tree

QUICKSTART = SPACES / "quickstart.yaml"
SIGMA = "parameters.optimizer.sigma"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("trails=3", "trails: is not a known setting: did you mean trials?"),
        ("optimzer.sigma=3", "optimzer: is not a known setting: did you mean optimizer?"),
        ("data.shotz=3", "data.shotz: is not a known setting: did you mean shots?"),
        ("scheduler.grace_querys=3", "is not a known setting: did you mean grace_queries?"),
        ("optimizer.knid=spsa", "optimizer.knid: is not a known setting: did you mean kind?"),
        ("parameters.optimizer.sgma={kind: uniform, low: 1, high: 2}", "mean optimizer.sigma?"),
        (f"{SIGMA}.when={{methd: both}}", "did you mean method?"),
        (f"{SIGMA}.lwo=3", "lwo: is not a known setting: did you mean low?"),
        (f"{SIGMA}.when={{method: null}}", "must be a number, a word, true or false, but got None"),
        ("first_trials=[{variant: prob}]", "must be one of probes, craft, class_contexts, search"),
        ("variants.craft.optimiser.sigma=1", "did you mean optimizer?"),
    ],
)
def test_the_nearest_known_word_is_named_to_who_searches(word: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_space_config(QUICKSTART, [word])
    assert message in str(caught.value)
    assert len(caught.value.problems) == 1


def test_a_word_is_blamed_where_a_word_is_wrong_and_a_file_where_a_file_is(tmp_path: Path) -> None:
    for word in ("trails=3", "head.learning_rate=x", "data.source.root=/x", "trials=0"):
        with pytest.raises(ConfigError) as caught:
            load_space_config(QUICKSTART, [word])
        assert caught.value.source == "command line"
        assert caught.value.problems[0].startswith(word.split("=")[0]), "as it was typed"
    smoke = SPACES / "reproduce" / "smoke.yaml"
    for word in ("max_querys=4", "seeds=x"):
        with pytest.raises(ConfigError) as caught:
            load_reproduction_config(smoke, [word])
        assert caught.value.source == "command line"
    file = tmp_path / "mine.yaml"
    file.write_text("sede: 3\n")
    for words in ([], ["max_queries=100"], ["optimizer.sgma=1"]):
        with pytest.raises(ConfigError) as caught:
            load_run_config(file, words)
        assert caught.value.source == str(file)
        assert "sede: is not a known setting: did you mean seed?" in str(caught.value)


def test_who_reproduces_hears_of_settings_of_the_runs_as_well() -> None:
    with pytest.raises(ConfigError, match=r"max_querys: .* did you mean max_queries\?"):
        load_reproduction_config(SPACES / "reproduce" / "smoke.yaml", ["max_querys=4"])


def test_who_names_his_images_first_hears_what_else_to_say() -> None:
    with pytest.raises(ConfigError, match=r"say data\.source\.kind=folder as well"):
        load_space_config(QUICKSTART, ["data.source.root=/x"])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("data.source.knd=x", "data.source.knd: is not a known setting: did you mean kind?"),
        ("sede=3", "sede: is not a known setting: did you mean seed?"),
        ("trials=3", "trials belongs to a search: craft-ray tune"),
        ("head.hidden=3", "head.hidden: is not a known setting, but one of head.kind residual_mlp"),
        ("xyzzy=3", "xyzzy: is not a known setting"),
    ],
)
def test_the_nearest_known_word_is_named_to_who_trains(word: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_default_run([word])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("probes.yaml", "tune_spaces/probes.yaml"),
        ("quikstart.yaml", "tune_spaces/quickstart.yaml"),
        ("tune_spaces/quikstart.yaml", "tune_spaces/quickstart.yaml"),
        ("tune_spaces/craft.yaml", "tune_spaces/runs/craft.yaml"),
        ("mine.yml", "mine.yaml"),
    ],
)
def test_the_nearest_file_is_named(
    name: str, near: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("seed: 1")
    with pytest.raises(ConfigError) as caught:
        load_run_config(Path(name))
    assert f"{name}: cannot be read: " in str(caught.value)
    assert f"did you mean {near}?" in str(caught.value)


def test_a_near_folder_is_named_before_a_file_that_is_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tune.main(["imagez/"]) == 2
    assert "did you mean tune_spaces/paper/imagenet.yaml?" in capsys.readouterr().err
    Path("images").mkdir()
    assert tune.main(["imagez/"]) == 2
    assert "did you mean images/?" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["method=head", "method=prompt", "head.kind=probes"])
def test_a_method_by_a_word_is_told_that_variants_decide(word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_space_config(QUICKSTART, [word])
    key = word.partition("=")[0]
    text = str(caught.value)
    assert f"{key} on the command line changes the base, and what a trial is, its variant" in text
    assert f"variants.NAME.{key}=... changes one" in text


def test_a_search_given_to_train_and_a_run_given_to_tune(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    space, run = "tune_spaces/quickstart.yaml", f"{SPACES}/runs/craft.yaml"
    assert train.main([space]) == 2
    assert f"`craft-ray tune {space}` searches it" in capsys.readouterr().err
    assert tune.main([run]) == 2
    assert f"`craft-ray train {run}` runs it" in capsys.readouterr().err
    mixed = {"seed": 3, "variants": {"a": {}, "b": {"method": "prompt"}}}
    Path("mixed.yaml").write_text(yaml.safe_dump(mixed))
    assert tune.main(["mixed.yaml"]) == 2
    assert "seed: is not a known setting" in capsys.readouterr().err


def test_the_package_alone_can_be_imported(tmp_path: Path) -> None:
    """As Ray's `py_modules` copies it to a worker: without the folder beside it."""
    package = Path(craft_ray.__file__).parent
    shutil.copytree(package / "config", tmp_path / "craft_ray" / "config")
    for name in ("__init__.py", "errors.py"):
        shutil.copy(package / name, tmp_path / "craft_ray")
    program = (
        "from pathlib import Path; from craft_ray.config import loading; "
        "assert loading.load_run_config(None).method == 'both'; "
        "loading.load_run_config(Path('tune_spaces/quickstart.yaml'))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "there is no such file in" in result.stderr, result.stderr


def test_a_setting_without_its_section_is_named_with_it() -> None:
    with pytest.raises(ConfigError, match=r"shots: .* did you mean data.shots"):
        load_run_config(None, ["shots=4"])
    with pytest.raises(ConfigError, match=r"shots: .* did you mean data.shots"):
        load_space_config(DEFAULT_SPACE, ["shots=4"])


def test_data_in_place_of_a_file_of_settings_is_answered_with_its_words(tmp_path: Path) -> None:
    write_tree(tmp_path / "images")
    write_parquet(tmp_path / "parquet")
    write_parquet(tmp_path / "hub" / "data")
    table = tmp_path / "a.csv"
    table.write_text("path,label,split\n")
    for name, words in {
        "images": "data.source.kind=folder data.source.root=",
        "parquet": "data.source.kind=parquet data.source.root=",
        "hub": "data.source.kind=parquet data.source.root=",
        "a.csv": "data.source.kind=csv data.source.file=",
    }.items():
        path = tmp_path / name
        for load in (load_run_config, load_space_config, load_reproduction_config):
            with pytest.raises(ConfigError, match="must be a file of settings, but is a") as caught:
                load(path)
            assert f"say {words}{path}" in str(caught.value)
        assert load_default_run(f"{words}{path}".split()).data.source.kind in words
        assert load_space_config(QUICKSTART, f"{words}{path}".split())


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("data.source.kind=folder", "data.source.root: must be given"),
        ("data.source.kind=csv", "data.source.file: must be given"),
        (
            "data.source.kind=folders",
            "source.kind: must be .*'folders': did you mean folder",
        ),
        ("data.source={root: x}", "data.source.kind: must be given"),
        ("data.source=x", "data.source: must be a section of settings, but got 'x'"),
        ("data=x", "data: must be a section of settings, but got 'x'"),
        ("optimizer.kind=spas", "optimizer.kind: must be one of .*: did you mean spsa?"),
        ("scheduler.kind=ahsa", "scheduler.kind: must be one of asha, .*: did you mean asha?"),
        ("method=hed", "method: must be one of both, prompt, head, .*: did you mean head?"),
        ("oracle.precision=bf61", "precision: must be one of .*: did you mean bf16?"),
    ],
)
def test_a_kind_or_choice_is_answered_in_our_words_and_the_command_line_is_blamed(
    word: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_space_config(QUICKSTART, [word])
    assert re.search(message, caught.value.problems[0])
    if not word.startswith(("optimizer", "method")):  # these have a second line, about variants
        assert str(caught.value).startswith("command line: ")
