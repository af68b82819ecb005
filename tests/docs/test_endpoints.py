"""The adapter that docs/endpoints.md shows is the one that the tests run."""

from __future__ import annotations

from tests.docs.blocks import ROOT, blocks_of


def test_the_adapter_of_the_page_is_the_tested_one() -> None:
    (shown,) = [
        block.text
        for block in blocks_of(ROOT / "docs" / "endpoints.md")
        if block.language == "python"
    ]
    tested = (ROOT / "tests" / "oracle" / "endpoints" / "own_adapter.py").read_text()
    after = tested.partition("from __future__ import annotations\n")[2]
    assert shown.strip() == after.strip()
    assert len(shown.strip().splitlines()) <= 40
