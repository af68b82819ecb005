"""Settings typed as other programs want them are answered with the word that was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from craft_ray.commands import reproduce, train, tune
from craft_ray.commands.mistyped import meant_by
from craft_ray.commands.shorthand import split_words
from craft_ray.errors import ConfigError


@pytest.mark.parametrize(
    ("words", "typed", "meant"),
    [
        (["trials", "=", "2"], "trials = 2", "trials=2"),
        (["trials", "=2"], "trials =2", "trials=2"),
        (["trials=", "2"], "trials= 2", "trials=2"),
        (["trials", "2"], "trials 2", "trials=2"),
        (["trials"], "trials", "trials=VALUE"),
        (["trials", "="], "trials =", "trials=VALUE"),
        (["trials", "seed=2"], "trials", "trials=VALUE"),
        (["trials:2"], "trials:2", "trials=2"),
        (["seed=3", "data.shots", "4"], "data.shots 4", "data.shots=4"),
        (["a.yaml", "data.source.root", "/x"], "data.source.root /x", "data.source.root=/x"),
        (["shots", "[1,2]"], "shots [1,2]", "shots=[1,2]"),
    ],
)
def test_a_setting_in_parts_is_answered_with_one_word(
    words: list[str], typed: str, meant: str
) -> None:
    assert meant_by(words) == (typed, meant)
    with pytest.raises(ConfigError) as caught:
        split_words(words)
    assert str(caught.value).endswith(f"but got {typed!r}: say {meant}")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["a.yaml", "trials=2"],
        ["trials=", "seed=2"],
        ["data.source={kind: folder, root: a b}"],
        ["data.template=a photo of a {}: x"],
        ["C:/x.yaml"],
        ["absent.yaml", "other.yaml"],
        ["=3"],
    ],
)
def test_other_words_are_left_alone(words: list[str]) -> None:
    assert meant_by(words) is None


def test_a_file_with_the_name_of_a_setting_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").write_text("seed: 3\n")
    assert split_words(["data", "seed=2"]) == (Path("data"), None, ["seed=2"])


@pytest.mark.parametrize("command", [train.main, tune.main, reproduce.main])
@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["--max-queries", "2"], "max_queries=2"),
        (["--data.shots=4"], "data.shots=4"),
        (["--name", "x", "seed=1"], "name=x"),
        (["--seed"], "seed=VALUE"),
    ],
)
def test_an_option_that_there_is_not_is_answered_with_the_setting(
    command: object, words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(command)
    with pytest.raises(SystemExit) as caught:
        command(words)
    assert caught.value.code == 2
    assert f"settings are words without dashes: {meant}" in capsys.readouterr().err
