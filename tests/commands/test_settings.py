"""Every setting can be looked up, and its page is that of the code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from craft_ray.commands import settings
from craft_ray.commands.program import main
from craft_ray.config.loading import load_run_config
from craft_ray.config.reference import REQUIRED, all_settings
from craft_ray.config.run import RunConfig
from craft_ray.config.shipped import SPACES

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_each_default_is_taken_when_it_is_typed() -> None:
    for setting in all_settings(RunConfig):
        if setting.kind or setting.default == REQUIRED or setting.default.startswith("{"):
            continue
        assert load_run_config(None, [f"{setting.path}={setting.default}"])


def test_words_find_paths_and_meanings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "learning_rate", "spsa_gc"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("=")[0] for line in lines] == [
        "optimizer.learning_rate",
        "optimizer.learning_rate_decay",
    ]
    assert lines[0] == "optimizer.learning_rate=0.001 (kind spsa_gc)  [number, > 0]  # a."
    assert main(["settings", "lerning"]) == 2
    assert "did you mean learning_rate?" in capsys.readouterr().err


def test_what_several_kinds_have_alike_is_one_line_that_a_terminal_breaks_between_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["settings", "optimizer.batches", "--of", "run"]
    assert main(words) == 0
    line = capsys.readouterr().out
    assert line.startswith("optimizer.batches=1 (kind cma_es, sep_cma_es, ")
    assert line.count("\n") == 1
    monkeypatch.setattr(settings, "terminal_columns", lambda: 60)
    assert main(words) == 0
    broken = capsys.readouterr().out.splitlines()
    assert max(map(len, broken)) <= 60
    assert " ".join(each.strip() for each in broken).split() == line.split()


def test_an_editor_gets_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "--schema", "--of", "space"]) == 0
    assert "trials" in json.loads(capsys.readouterr().out)["properties"]


def test_the_schema_takes_every_shipped_file_and_no_misspelt_setting(
    capsys: pytest.CaptureFixture[str],
) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    checks = {}
    for of in ("run", "space", "reproduction"):
        assert main(["settings", "--schema", "--of", of]) == 0
        checks[of] = jsonschema.Draft202012Validator(json.loads(capsys.readouterr().out))
    folders = {"": "space", "optimizers": "space", "reproduce": "reproduction"}
    paths = sorted(SPACES.rglob("*.yaml"))
    assert len(paths) > 30
    for path in paths:
        of = folders.get("/".join(path.relative_to(SPACES).parts[:-1]), "run")
        document = yaml.safe_load(path.read_text())
        problems = [error.message for error in checks[of].iter_errors(document)]
        assert problems == [], path
    for of, wrong in (
        ("run", {"data": {"shotz": 1}}),
        ("run", {"head": {"kind": "probes", "nams": 3}}),
        ("space", {"parameters": {"optimizer.sigma": {"kind": "uniform", "low": 0}}}),
    ):
        assert list(checks[of].iter_errors(wrong)), wrong


def test_the_page_of_all_settings_is_that_of_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "--markdown"]) == 0
    assert capsys.readouterr().out == PAGE.read_text(), "craft-ray settings --markdown writes it"
