"""The site of documents and code is built without a warning, where mkdocs is installed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.docs.blocks import DOCUMENTS, ROOT

CONFIG = ROOT / "mkdocs.yml"


def pages_in(entry: object) -> list[str]:
    """All files that the navigation names."""
    if isinstance(entry, dict):
        return [page for inner in entry.values() for page in pages_in(inner)]
    if isinstance(entry, list):
        return [page for inner in entry for page in pages_in(inner)]
    return [str(entry)]


def test_each_document_is_a_page() -> None:
    pages = pages_in(yaml.safe_load(CONFIG.read_text())["nav"])
    documents = [page.name for page in DOCUMENTS if page.parent == ROOT / "docs"]
    of_code = [f"api/{page.name}" for page in (ROOT / "docs" / "api").glob("*.md")]
    assert set(pages) >= {*documents, *of_code}


def test_the_reference_names_modules_that_there_are() -> None:
    for page in (ROOT / "docs" / "api").glob("*.md"):
        for name in re.findall(r"^::: ([\w.]+)$", page.read_text(), re.MULTILINE):
            path = ROOT / name.replace(".", "/")
            parent, part = path.parent, path.name
            files = [path.with_suffix(".py"), path / "__init__.py"]
            within = [parent.with_suffix(".py"), parent / "__init__.py"]
            defined = rf"^(class|def) {part}\b"
            assert any(file.exists() for file in files) or any(
                re.search(defined, file.read_text(), re.MULTILINE)
                for file in within
                if file.exists()
            ), f"{page.name}: {name}"


@pytest.mark.nightly("docs", "mkdocs.yml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md")
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason='pip install -e ".[docs]"')
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    index = (tmp_path / "index.html").read_text()
    assert "images/progress.svg" in index
    assert "CraftClassifier" in (tmp_path / "api" / "estimator.html").read_text()
