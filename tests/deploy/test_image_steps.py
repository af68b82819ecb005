"""The Dockerfile's steps, carried out without Docker: copies and installations in a folder that
stands for the image's root. What needs a user of the image (useradd, chown) or six gigabytes (the
dependencies of what is installed) is left out."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from .dockerfile_checks import Instruction, is_ignored, parse, stages
from .project import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.nightly(
        "Dockerfile", ".dockerignore", "constraints.txt", "pyproject.toml", "tests/deploy"
    ),
    pytest.mark.timeout(300),
]

STAGES = stages(parse((ROOT / "Dockerfile").read_text()))
BUILD = ("build", "mlflow-build")
OF_THE_IMAGE = re.compile(r"(?<![\w.])(/craft-ray|/opt/craft|/mlflow)\b")
NEEDS_THE_USER = ("useradd ", "install -d -o ")


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Docker would be sent: this checkout without what .dockerignore keeps out."""
    ignore = (ROOT / ".dockerignore").read_text()
    folder = tmp_path_factory.mktemp("context")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    for name in listed.stdout.splitlines():
        if not is_ignored(name, ignore) and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def run_stage(instructions: list[Instruction], context: Path, root: Path) -> None:
    """Do what a stage says, in `root`."""
    workdir = root
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment["PATH"] = f"{root}/opt/craft/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment.pop("PYTHONPATH", None)
    for each in instructions:
        value = OF_THE_IMAGE.sub(rf"{root}\1", each.value)
        if each.keyword == "WORKDIR":
            workdir = Path(value)
            workdir.mkdir(parents=True, exist_ok=True)
        elif each.keyword == "COPY" and not value.startswith("--from="):
            copy(value.split(), context, workdir)
        elif each.keyword == "RUN" and not value.startswith(NEEDS_THE_USER):
            command = value.replace("pip install ", "pip install --no-deps ")
            done = subprocess.run(
                ["sh", "-ec", command], cwd=workdir, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{value}\n{done.stdout}\n{done.stderr}"


def copy(words: list[str], context: Path, workdir: Path) -> None:
    """As COPY does: the content of a folder, or files into a folder."""
    *sources, target = words
    (workdir / target).mkdir(parents=True, exist_ok=True)
    for source in sources:
        if (context / source).is_dir():
            shutil.copytree(context / source, workdir / target, dirs_exist_ok=True)
        else:
            shutil.copy(context / source, workdir / target)


@pytest.fixture(scope="module")
def image(context: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the last stage, as far as it can be made here."""
    root = tmp_path_factory.mktemp("image")
    run_stage(STAGES["build"], context, root)
    run_stage(list(STAGES.values())[-1], context, root)
    # The libraries, which were left out, are those of this environment. Last on the path: nothing
    # that was installed is hidden.
    (packages,) = root.glob("opt/craft/lib/*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_paths()["purelib"])
    return root


def in_image(image: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a program of the image where the image would."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    program = str(image / "opt/craft/bin" / command[0])
    return subprocess.run(
        [program, *command[1:]],
        cwd=image / "craft-ray",
        env=environment,
        capture_output=True,
        text=True,
    )


def last_stage(keyword: str) -> str:
    """The one instruction of the last stage with this keyword."""
    (value,) = [each.value for each in list(STAGES.values())[-1] if each.keyword == keyword]
    return value


def test_the_entry_point_finds_code_spaces_and_embedded_data(image: Path) -> None:
    done = in_image(image, [*json.loads(last_stage("ENTRYPOINT")), "--dry-run"])
    assert done.returncode == 0, done.stderr
    assert "Dry run: nothing was started." in done.stdout
    # The name in the package is the function.
    code = "import sys, craft_ray.tune; print(sys.modules['craft_ray.tune'].__file__)"
    found = in_image(image, ["python", "-c", code])
    assert found.stdout.strip() == str(image / "craft-ray/craft_ray/tune.py")


def test_the_health_check_is_a_command_of_the_ray_that_is_installed(image: Path) -> None:
    command = json.loads(last_stage("HEALTHCHECK").partition("CMD ")[2])
    done = in_image(image, [*command, "--help"])
    assert done.returncode == 0, done.stderr


def test_the_tracking_server_is_installed_at_its_version(context: Path, tmp_path: Path) -> None:
    run_stage(STAGES["mlflow-build"], context, tmp_path)
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines()[2:]
    )
    for name in ("mlflow", "psycopg2_binary"):
        version = pins[name.replace("_", "-")]
        assert list(tmp_path.glob(f"opt/craft/lib/*/site-packages/{name}-{version}.dist-info"))
