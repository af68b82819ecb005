"""A setting that a document names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from craft_ray.config.reference import all_settings
from craft_ray.config.reproduction import ReproductionConfig
from craft_ray.config.run import RunConfig
from craft_ray.config.service import ServiceConfig
from craft_ray.config.space import SpaceConfig
from tests.docs.blocks import DOCUMENTS

MODELS = (RunConfig, SpaceConfig, ReproductionConfig, ServiceConfig)
SETTINGS = {setting.path for model in MODELS for setting in all_settings(model)}
SECTIONS = {path.split(".")[0] for path in SETTINGS if "." in path}
NAMED = re.compile(r"([a-z_]+(?:\.[a-z0-9_]+)+)(?:[=:].*)?")
SUFFIXES = (".md", ".yaml", ".json", ".py", ".db", ".csv")


def settings_named_in(text: str) -> set[str]:
    """What is written as code and looks like `section.key`, `section.key=value`."""
    tokens = MarkdownIt().enable("table").parse(text)
    codes = [
        child.content
        for token in tokens
        for child in token.children or []
        if child.type == "code_inline"
    ]
    found = {match[1] for code in codes if (match := NAMED.fullmatch(code))}
    return {
        name for name in found if name.split(".")[0] in SECTIONS and not name.endswith(SUFFIXES)
    }


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
def test_the_settings_it_names_exist(page: Path) -> None:
    sections = {path.rpartition(".")[0] for path in SETTINGS}
    assert settings_named_in(page.read_text()) <= SETTINGS | sections


def test_a_setting_is_told_from_other_code() -> None:
    text = "`data.shots=4`, `head.kind: linear`, `data.md`, `data.shot`, `ray status`"
    named = settings_named_in(text)
    assert named == {"data.shots", "head.kind", "data.shot"}
    assert named - SETTINGS == {"data.shot"}
