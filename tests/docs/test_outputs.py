"""docs/outputs.md names all that a run writes; test_run.py holds real runs to it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.docs.documented import undocumented


def test_what_the_page_does_not_name_is_found(tmp_path: Path) -> None:
    run = tmp_path / "a-run"
    (run / "best").mkdir(parents=True)
    for name in ("settings.json", "queries.db", "queries.db-journal", "best/classifier.json"):
        (run / name).write_text("{}")
    summary = {"zero_shot": {"test": {"accuracy": 0.5}}, "pool": {"replica-0": {"chunks": 1}}}
    (run / "summary.json").write_text(json.dumps({**summary, "settings": {"any": {"thing": 1}}}))
    assert undocumented(tmp_path) == []
    (run / "summary.json").write_text(json.dumps({"trials": [{"unheard_of": 1}]}))
    (run / "best" / "odd.bin").write_text("")
    (tmp_path / "stray.log").write_text("")
    assert undocumented(tmp_path) == ["odd.bin", "stray.log", "unheard_of"]
