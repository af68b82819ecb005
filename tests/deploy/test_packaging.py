"""An installed wheel, made from the sdist, works from any folder without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from craft_ray.config.shipped import SPACES

from .project import ROOT

pytestmark = pytest.mark.slow

SOURCES = (
    "craft_ray",
    "tune_spaces",
    "LICENSE",
    "MANIFEST.in",
    "README.md",
    "pyproject.toml",
    "setup.py",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sdist, as `pip install` of a published one does."""
    folder = tmp_path_factory.mktemp("build")
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, checkout / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, checkout / name)
    build(checkout, "sdist", folder)
    (sdist,) = folder.glob("*.tar.gz")
    # Not `tarfile`: of 3.11 only later releases know the filter that newer ones demand.
    subprocess.run(["tar", "-xzf", sdist, "-C", folder], check=True)
    unpacked = folder / sdist.name.removesuffix(".tar.gz")
    build(unpacked, "wheel", folder)
    (path,) = folder.glob("*.whl")
    return path


def build(project: Path, kind: str, folder: Path) -> None:
    """With the setuptools that is here: nothing is downloaded."""
    call = f"from setuptools import build_meta; build_meta.build_{kind}({str(folder)!r})"
    subprocess.run([sys.executable, "-c", call], cwd=project, capture_output=True, check=True)


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the wheel, and with the dependencies of this
    one: an editable installation does not reach through the path that leads to them."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    question = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    answer = subprocess.run([python, "-c", question], capture_output=True, text=True, check=True)
    (Path(answer.stdout.strip()) / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    install = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True)
    return python


def run(python: Path, folder: Path, *words: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_every_space_and_asset(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for folder, place in ((SPACES, "craft_ray/tune_spaces"), (ROOT / "craft_ray", "craft_ray")):
        files = [path for path in folder.rglob("*") if path.is_file()]
        expected = {f"{place}/{path.relative_to(folder)}" for path in files}
        assert {name for name in expected if "__pycache__" not in name} <= set(names)


def test_the_wheel_holds_its_license(wheel: Path) -> None:
    assert any(name.endswith("/licenses/LICENSE") for name in zipfile.ZipFile(wheel).namelist())


def test_commands_of_an_installation_run_from_an_empty_folder(python: Path, tmp_path: Path) -> None:
    where = run(python, tmp_path, "-c", "import craft_ray; print(craft_ray.__file__)")
    assert Path(where.strip()).is_relative_to(python.parent.parent)
    assert "nothing was started" in run(python, tmp_path, "-m", "craft_ray.tune", "--dry-run")
    space = "tune_spaces/around_paper.yaml"
    base = "base=tune_spaces/paper/embedded.yaml"
    assert "Will spend" in run(python, tmp_path, "-m", "craft_ray.tune", space, base, "--dry-run")
    smallest = [
        "tune_spaces/runs/craft.yaml",
        "method=head",
        "max_queries=4",
        "optimizer.population=4",
        "data.shots=1",
    ]
    more = ["data.views=1", "ray.num_cpus=2", "mlflow.enabled=false", "pool.replicas=1"]
    assert "Classifier: " in run(python, tmp_path, "-m", "craft_ray.train", *smallest, *more)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
