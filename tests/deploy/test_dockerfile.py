"""The Dockerfile and .dockerignore, and that the checks of them bite."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .cluster_checks import RAY_PIN
from .dockerfile_checks import Instruction, find_problems, is_ignored, parse
from .project import ROOT, ray_allowed, requirements

DOCKERFILE = (ROOT / "Dockerfile").read_text()
IGNORE = (ROOT / ".dockerignore").read_text()


def test_the_dockerfile_has_no_problems() -> None:
    assert find_problems(DOCKERFILE, IGNORE, ROOT, ray_allowed()) == []


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_dependency_of_the_image_has_one_version_that_the_project_allows() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    assert len({canonicalize_name(pin.name) for pin in pins}) == len(pins)
    versions = {}
    for pin in pins:
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        versions[canonicalize_name(pin.name)] = specifier.version
    for requirement in requirements():
        assert versions[canonicalize_name(requirement.name)] in requirement.specifier, requirement
    (ray,) = set(RAY_PIN.findall(DOCKERFILE))
    assert versions[canonicalize_name("ray")] == ray


def test_the_image_starts_the_search() -> None:
    assert Instruction("ENTRYPOINT", '["python", "-m", "craft_ray.tune"]') in parse(DOCKERFILE)


def test_the_context_holds_the_whole_package() -> None:
    files = [
        path.relative_to(ROOT).as_posix()
        for folder in ("craft_ray", "tune_spaces")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert any(file.endswith(".safetensors") for file in files)
    assert [file for file in files if is_ignored(file, IGNORE)] == []


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".venv/bin/python",
        "craft_ray/__pycache__/cli.cpython-311.pyc",
        "craft_ray/data/__pycache__/dataset.cpython-311.pyc",
        "docs/cluster.md",
        "mlflow.db",
        "runs/search/summary.json",
        "tests/deploy/project.py",
    ],
)
def test_the_context_holds_nothing_else(path: str) -> None:
    assert is_ignored(path, IGNORE)


@pytest.mark.parametrize(
    ("path", "ignore", "expected"),
    [
        ("a/b.py", "", False),
        ("a/b.py", "# a", False),
        ("a/b.py", "a", True),
        ("a/b.py", "/a/", True),
        ("a/b.py", "b.py", False),
        ("a/b.py", "*.py", False),
        ("a/b.py", "**/*.py", True),
        ("b.py", "**/*.py", True),
        ("a/b.py", "a/?.py", True),
        ("a/b.py", "*\n!a", False),
        ("a/b.py", "!a\n*", True),
        ("a/b.py", "*\n!a\na/b.*", True),
        ("ab", "a", False),
    ],
)
def test_ignore_patterns_mean_what_docker_says(path: str, ignore: str, expected: bool) -> None:
    assert is_ignored(path, ignore) is expected


BASE = "FROM python:3.11.14-slim-bookworm"
USER = "USER 1000:1000"
MISTAKES = {
    "latest": (BASE, "FROM python:latest", "FROM: must name a tag"),
    "no tag": (BASE, "FROM python", "FROM: must name a tag"),
    "a stage that comes later": ("FROM base AS mlflow\n", "FROM late\n", "FROM: must name a tag"),
    "root by default": (USER, "", "USER: the last one must not be root"),
    "root again": (USER, f"{USER}\nUSER 0:0", "USER: the last one must not be root"),
    "user of another stage": (USER, f"{USER}\n{BASE}", "USER: must follow"),
    "no health check": ("HEALTHCHECK", "LABEL", "HEALTHCHECK: the last stage"),
    "nothing to copy": ("README.md", "README.rst", "COPY: 'README.rst' must exist"),
    "ignored": ("COPY tune_spaces/", "COPY tests/", "COPY: 'tests/' must not be in .dockerignore"),
    "unclosed quote": ("==2.60.0'", "==2.60.0", "RUN: "),
    "no command": ("RUN install", "RUN && install", "RUN: "),
    "any Ray": ("]==2.60.0", "]", "an exact version"),
    "an old Ray": ("==2.60.0", "==2.9.3", "must satisfy"),
    "shell entrypoint": ('["python", "-m", "craft_ray.tune"]', "python", "must be a JSON list"),
    "no entrypoint": ('ENTRYPOINT ["python", "-m", "craft_ray.tune"]', "", "must be python -m"),
    "unknown module": ("craft_ray.tune", "craft_ray.tume", "must be python -m and a module"),
    "a script": ('"-m", ', "", "must be python -m and a module"),
}


@pytest.mark.nightly("Dockerfile", ".dockerignore", "tests/deploy", "pyproject.toml")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake: str) -> None:
    old, new, message = MISTAKES[mistake]
    # Only instructions: the comments above them name the same words.
    head, base, instructions = DOCKERFILE.partition(BASE)
    changed = (base + instructions).replace(old, new)
    assert changed != base + instructions
    problems = find_problems(head + changed, IGNORE, ROOT, ray_allowed())
    assert any(message in problem for problem in problems), problems
