"""Every block of the README and of docs is one that a reader can type: quick checks of all."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from craft_ray.config.loading import load_run_config, load_service_config, load_space_config
from craft_ray.config.run import RunConfig
from craft_ray.config.service import ServiceConfig
from craft_ray.config.shipped import DEFAULT_SPACE
from craft_ray.config.space import SpaceConfig
from tests.docs.blocks import DOCUMENTS, ROOT, SHELL, Block, blocks_of, commands_in, craft_ray_words
from tests.docs.command_words import mistake_in
from tests.docs.samples import write_samples
from tests.support.shell import shell_error

BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document)]
KNOWN = {*SHELL, "python", "yaml", "text"}


def of(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader is who has images."""
    return write_samples(tmp_path_factory.mktemp("reader"))


def test_each_block_says_its_language() -> None:
    wrong = {str(block): block.language for block in BLOCKS if block.language not in KNOWN}
    assert not wrong, f"must be one of {sorted(KNOWN)}, so that it is checked: {wrong}"


@pytest.mark.parametrize("block", of(*SHELL), ids=str)
def test_shell_is_valid_and_its_commands_are_understood(block: Block, folder: Path) -> None:
    assert shell_error(block.text) is None
    for words in commands_in(block):
        if (own := craft_ray_words(words)) is not None:
            assert mistake_in(own, folder) is None, f"{block}: {words}"


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_python_is_valid_and_imports_what_there_is(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("craft_ray"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name), f"{block}: {node.module}.{alias.name}"


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_settings_in_yaml_are_taken(block: Block, tmp_path: Path) -> None:
    document: dict[str, Any] = yaml.safe_load(block.text)
    if document.keys() <= RunConfig.model_fields.keys():
        file = tmp_path / "run.yaml"
        file.write_text(block.text)
        load_run_config(file)
        return
    if document.keys() <= ServiceConfig.model_fields.keys():
        file = tmp_path / "service.yaml"
        file.write_text(block.text)
        load_service_config(file)
        return
    assert document.keys() <= SpaceConfig.model_fields.keys(), (
        f"{block}: neither run, search nor service"
    )
    # A part of a search stands in the default one.
    default = yaml.safe_load((ROOT / DEFAULT_SPACE).read_text())
    whole = document if "parameters" in document else default | document
    file = tmp_path / "space.yaml"
    file.write_text(yaml.safe_dump(whole))
    load_space_config(file)


def test_a_comment_is_about_the_block_below_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: asks a network -->\n```bash\na \\\n  b && c # d\n```\n")
    (block,) = blocks_of(page)
    assert (block.not_run, block.line) == ("asks a network", 2)
    assert list(commands_in(block)) == [["a", "b"], ["c"]]
    page.write_text("```bash\na > f\nb\n```\n")
    assert list(commands_in(blocks_of(page)[0])) == [["a"], ["b"]]
    page.write_text("<!-- not run: asks a network -->\nWords.\n")
    with pytest.raises(AssertionError, match="has no block below it"):
        blocks_of(page)


@pytest.mark.parametrize(
    "command",
    [
        "craft-ray tun",
        "craft-ray predict latest photos --tops 3",
        "craft-ray train data.shot=4",
        "python -m craft_ray.tune trials=none",
        "craft-ray data chek images",
    ],
)
def test_a_command_with_a_mistake_is_found(command: str, folder: Path) -> None:
    words = craft_ray_words(command.split())
    assert words is not None
    assert mistake_in(words, folder)
