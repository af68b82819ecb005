"""What is known of the runs in a folder, read from their files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from craft_ray.errors import ArtifactError
from craft_ray.files.remote import Place, entries
from craft_ray.files.whole_files import read_json
from craft_ray.jobs.run_folder import NUM_FAILED, SETTINGS_FILE, SUMMARY_FILE
from craft_ray.jobs.run_lock import RunTakenError, check_is_free

State = Literal["finished", "has failures", "unfinished", "at work", "unreadable"]
Kind = Literal["tune", "train", "reproduce"]


@dataclass(frozen=True)
class RunFacts:
    """One run.

    Attributes:
        name: of its folder.
        kind: the command that made it.
        state: `at work` if a driver is in it now.
        started: seconds since 1970.
        zero_shot: test accuracy of the untouched model; None before the end.
        tuned: that of the result.
        queries: candidate queries.
        cost: in the currency of the price, if there is one.
        currency: of the cost, where an endpoint bills; else empty.
        verdict: what decided, where there were no validation images; else empty.
    """

    name: str
    kind: Kind
    state: State
    started: float
    zero_shot: float | None = None
    tuned: float | None = None
    queries: int | None = None
    cost: float | None = None
    currency: str = ""
    verdict: str = ""


def runs_in(output_dir: Place) -> list[RunFacts]:
    """All runs, the newest first."""
    if isinstance(output_dir, Path) and not output_dir.is_dir():
        return []
    found = [facts_of(each) for each in entries(output_dir) if (each / SETTINGS_FILE).is_file()]
    return sorted(found, key=lambda facts: facts.started, reverse=True)


def facts_of(folder: Place) -> RunFacts:
    """Of one run; what cannot be read is left out."""
    started = (folder / SETTINGS_FILE).stat().st_mtime
    try:
        settings = read_json(folder / SETTINGS_FILE)
        summary = read_json(folder / SUMMARY_FILE) if (folder / SUMMARY_FILE).is_file() else None
    except ArtifactError:
        return RunFacts(folder.name, "train", "unreadable", started)
    kind = _kind_of(settings)
    if summary is None:
        return RunFacts(folder.name, kind, _unfinished(folder), started)
    result = summary.get("best") or summary.get("tuned")
    state: State = "finished"
    if summary.get(NUM_FAILED):  # it may be resumed, and then keeps its summary until the end
        state = "at work" if _unfinished(folder) == "at work" else "has failures"
    return RunFacts(
        folder.name,
        kind,
        state,
        started,
        _test_accuracy(summary.get("zero_shot")),
        _test_accuracy(result),
        (summary.get("ledger") or {}).get("candidate_queries"),
        summary.get("cost"),
        str((summary.get("bill") or {}).get("currency", "")),
        (result or {}).get("verdict") or "",
    )


def _kind_of(settings: Mapping[str, Any]) -> Kind:
    if "parameters" in settings:
        return "tune"
    return "reproduce" if "datasets" in settings else "train"


def _unfinished(folder: Place) -> State:
    try:
        check_is_free(folder)
    except RunTakenError:
        return "at work"
    return "unfinished"


def _test_accuracy(scores: Any) -> float | None:
    if not isinstance(scores, dict) or not isinstance(scores.get("test"), dict):
        return None
    accuracy = scores["test"].get("accuracy")
    return accuracy if isinstance(accuracy, float) else None
