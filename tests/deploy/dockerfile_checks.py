"""What must hold for the Dockerfile. Reads it as text: no Docker is needed."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from packaging.specifiers import SpecifierSet

from tests.support.shell import shell_error

from .cluster_checks import version_problems

FIXED_IMAGE = re.compile(r"[\w./-]+(:(?!latest\b)[\w.-]+|@sha256:[0-9a-f]{64})")


@dataclass(frozen=True)
class Instruction:
    """One instruction, its continued lines joined."""

    keyword: str
    value: str


def parse(dockerfile: str) -> list[Instruction]:
    """The instructions, without comments."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines) + "\n")
    words = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [Instruction(keyword.upper(), value) for keyword, value in words]


def find_problems(dockerfile: str, ignore: str, root: Path, ray_allowed: SpecifierSet) -> list[str]:
    """Every law that the Dockerfile breaks, in words; empty for a good one.

    Args:
        dockerfile: its text.
        ignore: the text of .dockerignore.
        root: the build context.
        ray_allowed: the versions of Ray that craft-ray works with.
    """
    instructions = parse(dockerfile)
    return [
        *_image_problems(instructions),
        *_user_problems(instructions),
        *_health_problems(instructions),
        *_copy_problems(instructions, ignore, root),
        *_run_problems(instructions),
        *_entrypoint_problems(instructions),
        *version_problems("\n".join(each.value for each in instructions), ray_allowed),
    ]


def is_ignored(path: str, ignore: str) -> bool:
    """Whether .dockerignore keeps `path` out; the last pattern that matches it or a folder above
    it decides."""
    parts = PurePosixPath(path).parts
    prefixes = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    ignored = False
    for line in ignore.splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        regex = _regex(pattern.removeprefix("!").strip("/"))
        if any(regex.fullmatch(prefix) for prefix in prefixes):
            ignored = not pattern.startswith("!")
    return ignored


def _regex(pattern: str) -> re.Pattern[str]:
    translated = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(translated.get(piece, re.escape(piece)) for piece in pieces))


def _values(instructions: Sequence[Instruction], keyword: str) -> list[str]:
    return [each.value for each in instructions if each.keyword == keyword]


def stages(instructions: Sequence[Instruction]) -> dict[str, list[Instruction]]:
    """Name of a stage (its number, if it has none) -> its instructions, those of the stage it
    starts from before them."""
    found: dict[str, list[Instruction]] = {}
    current: list[Instruction] = []
    for each in instructions:
        if each.keyword == "FROM":
            words = each.value.split()
            current = list(found.get(words[0], []))
            found[words[2] if len(words) == 3 else str(len(found))] = current
        current.append(each)
    return found


def environment_of(instructions: Sequence[Instruction]) -> dict[str, str]:
    """What ENV sets in the last stage, without quotes or references to other variables."""
    *_, last = stages(instructions).values()
    pairs = [pair for value in _values(last, "ENV") for pair in value.split()]
    return dict(pair.split("=", 1) for pair in pairs)


def _image_problems(instructions: Sequence[Instruction]) -> Iterator[str]:
    named: set[str] = set()
    for value in _values(instructions, "FROM"):
        image, *alias = value.split()
        if image not in named and not FIXED_IMAGE.fullmatch(image):
            yield f"FROM: must name a tag other than latest, or a digest, but got {value!r}"
        named.update(alias[1:])


def _health_problems(instructions: Sequence[Instruction]) -> Iterator[str]:
    *_, last = stages(instructions).values()
    if not any(each.keyword == "HEALTHCHECK" and each.value != "NONE" for each in last):
        yield "HEALTHCHECK: the last stage must have one"


def _user_problems(instructions: Sequence[Instruction]) -> Iterator[str]:
    users = _values(instructions, "USER")
    *_, last = stages(instructions).values()
    if not users or users[-1].split(":")[0] in {"root", "0"}:
        yield f"USER: the last one must not be root, but got {users}"
    elif not _values(last, "USER"):
        yield "USER: must follow the last FROM"


def _copy_problems(instructions: Sequence[Instruction], ignore: str, root: Path) -> Iterator[str]:
    for keyword in ("ADD", "COPY"):
        for value in _values(instructions, keyword):
            words = value.split()
            if any(word.startswith("--from=") for word in words):
                continue
            for source in [word for word in words if not word.startswith("--")][:-1]:
                path = source.removesuffix("/")
                if not (root / path).exists():
                    yield f"{keyword}: {source!r} must exist"
                elif is_ignored(path, ignore):
                    yield f"{keyword}: {source!r} must not be in .dockerignore"


def _run_problems(instructions: Sequence[Instruction]) -> Iterator[str]:
    for value in _values(instructions, "RUN"):
        if (error := shell_error(value, "sh")) is not None:
            yield f"RUN: {value!r}: {error}"


def _entrypoint_problems(instructions: Sequence[Instruction]) -> Iterator[str]:
    entrypoints = _values(instructions, "ENTRYPOINT")
    try:
        command = json.loads(entrypoints[-1])
    except (IndexError, ValueError):
        yield f"ENTRYPOINT: must be a JSON list, so that signals arrive, but got {entrypoints}"
        return
    if command[:2] != ["python", "-m"] or importlib.util.find_spec(command[2]) is None:
        yield f"ENTRYPOINT: must be python -m and a module, but got {command}"
