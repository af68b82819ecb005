"""`craft-ray settings`: every setting with what it may be, its default and its meaning."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import replace

from craft_ray.commands.common import exit_with, terminal_columns
from craft_ray.config.base import Settings
from craft_ray.config.file_schema import file_schema
from craft_ray.config.reference import Setting, all_settings
from craft_ray.config.reproduction import ReproductionConfig
from craft_ray.config.run import RunConfig
from craft_ray.config.service import ServiceConfig
from craft_ray.config.space import SpaceConfig
from craft_ray.config.suggestions import did_you_mean
from craft_ray.errors import ConfigError

MODELS: dict[str, type[Settings]] = {
    "run": RunConfig,
    "space": SpaceConfig,
    "reproduction": ReproductionConfig,
    "service": ServiceConfig,
}
TITLES = {
    "run": "Of a run: `craft-ray train`, and the base of a search",
    "space": "Of a search: `craft-ray tune`",
    "reproduction": "Of a reproduction: `craft-ray reproduce`",
    "service": "Of a service: `craft-ray serve`",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="craft-ray settings",
        description="Every setting with what it may be, its default and its meaning; a line each. "
        "On a command line they are typed as section.key=value.",
        epilog="Example: craft-ray settings learning_rate",
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="only those with all these words")
    parser.add_argument("--of", choices=MODELS, help="only settings of this (default: of all)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="as docs/settings.md")
    form.add_argument("--schema", action="store_true", help="JSON schema of --of, for editors")
    options = parser.parse_args(arguments)
    return exit_with(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    if options.schema:
        print(json.dumps(file_schema(MODELS[options.of or "run"]), indent=2))
        return
    found = {
        name: _with_all(options.words, all_settings(model, exclude=EXCLUDED.get(name, ())))
        for name, model in MODELS.items()
        if options.of in (None, name)
    }
    if options.markdown:
        print(markdown(found), end="")
        return
    if not any(found.values()):
        known = {part for each in all_settings(RunConfig) for part in each.path.split(".")}
        near = did_you_mean(options.words[0], known)
        raise ConfigError("WORD", [f"no setting has {' and '.join(options.words)}{near}"])
    columns = terminal_columns()
    for settings in found.values():
        for line in map(_line, _kinds_together(settings)):
            print(line if columns is None else _broken(line, columns))


EXCLUDED = {"space": ("base",)}
"""Sections that are another model's."""


def _with_all(words: Sequence[str], settings: Iterable[Setting]) -> list[Setting]:
    lowered = [word.lower() for word in words]
    return [
        each
        for each in settings
        if all(word in f"{each.path} {each.kind} {each.about}".lower() for word in lowered)
    ]


def _kinds_together(settings: Iterable[Setting]) -> list[Setting]:
    """Settings that several kinds of a section have alike, as one."""
    kinds: dict[Setting, list[str]] = {}
    for each in settings:
        kinds.setdefault(replace(each, kind=""), []).append(each.kind)
    return [replace(each, kind=", ".join(names)) for each, names in kinds.items()]


def _broken(line: str, columns: int) -> str:
    """Between words, and the lines below the first set in."""
    return textwrap.fill(
        line, columns, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def _line(setting: Setting) -> str:
    kind = f" (kind {setting.kind})" if setting.kind else ""
    about = f"  # {setting.about}" if setting.about else ""
    return f"{setting.path}={setting.default}{kind}  [{setting.takes}]{about}"


def markdown(found: dict[str, list[Setting]]) -> str:
    """The page of all settings."""
    lines = [
        "# Settings",
        "",
        "Written by `craft-ray settings --markdown`. In a YAML file a section is a mapping; on a",
        "command line a setting is `section.key=value`.",
        "A section with a `kind` has the settings of that kind only.",
    ]
    for name, settings in found.items():
        lines += [
            "",
            f"## {TITLES[name]}",
            "",
            "| setting | may be | default | |",
            "|---|---|---|---|",
        ]
        for each in settings:
            kind = f" ({each.kind})" if each.kind else ""
            cells = [f"`{each.path}`{kind}", each.takes, f"`{each.default}`", each.about]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
