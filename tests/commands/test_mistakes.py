"""A user's mistake is one message that names the field, the law and the value; exit code 2."""

from __future__ import annotations

import errno
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from craft_ray.commands import train, tune
from craft_ray.commands.common import exit_with
from craft_ray.commands.frame import resume_hint
from craft_ray.commands.shorthand import split_words
from craft_ray.config.loading import load_default_run, load_run_config, load_space_config
from craft_ray.config.run import RunConfig
from craft_ray.config.shipped import CRAFT_RUN, DEFAULT_SPACE
from craft_ray.errors import DataError, OracleError, PoolError, RunInterruptedError

MISTAKES = {
    "unknown key": (["head.learnin_rate=1"], "head.learnin_rate: is not a known setting"),
    "wrong type": (["seed=one"], "seed: must be a whole number, but got 'one'"),
    "impossible value": (["optimizer.population=1"], "greater than or equal to 4, but got 1"),
    "no budget": (["max_queries=0"], "max_queries: must be greater than or equal to 1, but got 0"),
    "missing file": (["absent.yaml"], "absent.yaml: cannot be read"),
    "two files": (["a.yaml", "b.yaml"], "at most one file of settings is allowed"),
    "no value": (["=3"], "must read key=value, but got '=3'"),
    "too many shots": (
        ["data.shots=1000"],
        "shots <= images a class must hold, but got shots=1000",
    ),
    "missing folder": (
        ["data.source={kind: folder, root: absent}"],
        "absent: must be a folder",
    ),
    "unknown model": (
        ["oracle.model=ViT-Q-1", "oracle.pretrained=openai"],
        "oracle.model: must be 'embedded', 'local-dir:<folder>' or one of",
    ),
    "unknown tag": (
        ["oracle.model=ViT-B-32", "oracle.pretrained=nowhere"],
        "oracle.pretrained: must be a file or one of",
    ),
    "a setting without effect": (["oracle.pretrained=openai"], "pretrained must be null"),
    "bad name": (
        ["name=../x"],
        "name: must be of letters a to z, digits and . _ - (80 characters at most)",
    ),
}


@pytest.mark.parametrize("command", [train.main, tune.main], ids=["train", "tune"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_and_nothing_is_started(
    mistake: str,
    command: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words, message = MISTAKES[mistake]
    assert callable(command)
    assert command(words) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.startswith("error: ")
    assert not list(tmp_path.iterdir()), "a mistake must leave nothing behind"


def _folder_data(root: Path) -> Path:
    for split in ("train", "val", "test"):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(root / split / name / "1.png")
    return root


def test_a_corrupt_image_an_empty_class_and_equal_names_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"data.source={{kind: folder, root: {tmp_path / 'd'}}}", "data.shots=1"]
    root = _folder_data(tmp_path / "d")
    (root / "val" / "dog" / "1.png").write_bytes(b"not an image")
    assert train.main(words) == 2
    assert f"{root / 'val' / 'dog' / '1.png'}: must be a readable image" in capsys.readouterr().err

    (root / "train" / "empty").mkdir()
    assert train.main(words) == 2
    assert f"{root / 'train' / 'empty'}: must have at least one image" in capsys.readouterr().err

    (root / "train" / "empty").rename(root / "train" / "CAT")
    Image.new("RGB", (8, 8)).save(root / "train" / "CAT" / "1.png")
    assert train.main(words) == 2
    assert "class names must differ, but got 'CAT' and 'cat'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "first_word"),
    [
        (DataError("a.png: must be readable"), 2, "error"),
        (PoolError("chunk 3 was lost 8 times"), 1, "failed"),
        (RunInterruptedError("stopped"), 130, "interrupted"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_each_kind_of_end_has_its_exit_code_and_no_traceback(
    error: BaseException, code: int, first_word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise error

    assert exit_with(command) == code
    errors = capsys.readouterr().err
    assert errors.startswith(first_word)
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted: stopped; "),
        (PoolError("lost"), 1, "failed: lost; "),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/a/summary.json"),
            1,
            "failed: runs/a/summary.json: must be writable, but: No space left on device; ",
        ),
    ],
)
def test_a_run_that_is_cut_short_says_how_to_go_on(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        with resume_hint("train", ["seed=1"], Path("runs/a")):
            raise error

    assert exit_with(command) == code
    hint = "continue with\n  craft-ray train seed=1 name=a --resume\n"
    assert capsys.readouterr().err == said + hint


def test_an_endpoint_that_refuses_in_the_middle_does_not_leave_one_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        with resume_hint("train", ["seed=1"], tmp_path / "a"):
            raise OracleError("status 401: no")

    (tmp_path / "a").mkdir()
    assert exit_with(command) == 2
    assert capsys.readouterr().err == "error: status 401: no\n"
    (tmp_path / "a" / "bill.db").touch()  # it was asked
    assert exit_with(command) == 2
    assert capsys.readouterr().err == (
        "error: status 401: no; when that is mended, continue with\n"
        "  craft-ray train seed=1 name=a --resume\n"
    )


def test_a_run_that_is_stopped_after_its_end_has_nothing_to_go_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "summary.json").write_text("{}")

    def command() -> None:
        with resume_hint("train", [], tmp_path):
            raise KeyboardInterrupt

    assert exit_with(command) == 130
    said = f"interrupted: stopped; nothing is left to do: see {tmp_path / 'summary.json'}\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("module", [train, tune])
def test_options_and_settings_may_come_in_any_order(
    module: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--resume", "name=none"], ["name=none", "--resume"]):
        assert module.main(["seed=3", *words, "data.views=2"]) == 2
        assert "none must be the folder of a run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["max_queries=2000", "method=prompt"], "method must be head or both when head.kind is"),
        (["optimizer.kind=spsa"], "optimizer.kind: has no effect on probes, as it needs method"),
        (["max_queries=200"], "max_queries: has no effect on probes"),
        (["head.hidden=20"], "head.hidden: is not a known setting"),
        (["loss={head_consistency: 0.1}"], "loss.head_consistency: has no effect on probes"),
    ],
)
def test_words_for_the_papers_method_need_its_file_and_the_error_says_the_command(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(words) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert f"craft-ray train {CRAFT_RUN} {shlex.join(words)}" in errors
    config = load_run_config(CRAFT_RUN, words)
    assert config.head.kind == "residual_mlp"


def test_train_without_a_file_runs_what_the_default_search_tries_first() -> None:
    config = load_default_run(["data.shots=4"])
    space = load_space_config(DEFAULT_SPACE, ["data.shots=4"])
    first = space.resolve(space.first_trials[0])
    for section in ("method", "head", "data", "oracle", "seed", "fidelity"):
        assert getattr(config, section) == getattr(first, section), section
    assert load_run_config(CRAFT_RUN) == RunConfig()


def test_a_file_in_a_folder_with_an_equals_sign_is_no_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run=1" / "space.yaml"
    assert split_words([str(path), "seed=1"]) == (path, None, ["seed=1"])
    path.parent.mkdir()
    path.touch()
    monkeypatch.chdir(tmp_path)
    assert split_words(["run=1/space.yaml", "seed=1"]) == (
        Path("run=1/space.yaml"),
        None,
        ["seed=1"],
    )
    assert split_words(["data.source.file=a.yaml"]) == (
        None,
        None,
        ["data.source.file=a.yaml"],
    )


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        exit_with(lambda: print(1 // 0))


def test_all_mistakes_are_reported_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert tune.main(["seed=x", "head.hiden=3", "trials=0"]) == 2
    errors = capsys.readouterr().err
    assert all(field in errors for field in ("  seed: ", "  head.hiden: ", "  trials: "))


@pytest.mark.slow
def test_an_unreachable_tracking_server_is_loud_before_anything_is_started(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "craft_ray.tune", "mlflow.tracking_uri=http://127.0.0.1:9"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 2
    assert "mlflow.tracking_uri: http://127.0.0.1:9 must answer" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize("module", ["tune", "train"])
def test_help_and_a_mistyped_key_wait_for_no_library(module: str) -> None:
    program = (
        f"import sys; from craft_ray.commands import {module}; "
        f"code = {module}.main(['head.hiden=1']); "
        "assert code == 2; loaded = {'torch', 'ray', 'mlflow'} & set(sys.modules); "
        "assert not loaded, loaded"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
