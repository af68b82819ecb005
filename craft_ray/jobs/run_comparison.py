"""Runs side by side: what came of them, and which of their settings differ. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from craft_ray.classifiers.interval import accuracy_interval
from craft_ray.config.documents import flatten, to_flow
from craft_ray.config.money import run_cost

ABSENT = "-"
NOT_COMPARED = ("name", "output_dir", "base.name", "base.output_dir")


@dataclass(frozen=True)
class RunRecord:
    """What a run has stored.

    Attributes:
        name: of the run.
        settings: as it was started.
        summary: of its end; None: it has not come to one.
    """

    name: str
    settings: Mapping[str, Any]
    summary: Mapping[str, Any] | None


Row = tuple[str, list[str]]
"""What is compared, and its value in each run."""


def compare(records: Sequence[RunRecord]) -> tuple[list[Row], list[Row]]:
    """The rows of results, and those of the settings in which not all runs are alike. The settings
    of a single run and those of a search's base have one name."""
    results = [(label, [of(record) for record in records]) for label, of in RESULTS]
    flat = [_flat(record.settings) for record in records]
    keys = dict.fromkeys(key for each in flat for key in each)
    settings = []
    for key in keys:
        values = [_shown(each.get(key, ABSENT)) for each in flat]
        if key not in NOT_COMPARED and len(set(values)) > 1:
            settings.append((key, values))
    return [row for row in results if set(row[1]) != {ABSENT}], settings


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    document = {key: value for key, value in settings.items() if key not in ("base", "run")}
    inner = settings.get("base", settings.get("run", {}))
    return flatten({**document, **(inner if isinstance(inner, dict) else {})})


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return to_flow(value)
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


def _result(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    return summary.get("best") or summary.get("tuned") or {}


def _accuracy(of: Callable[[Mapping[str, Any]], Any]) -> Callable[[RunRecord], str]:
    def shown(record: RunRecord) -> str:
        try:
            accuracy = of(record.summary or {})["accuracy"]
        except (KeyError, TypeError):
            return ABSENT
        return f"{accuracy:.1%}"

    return shown


def _test(record: RunRecord) -> str:
    summary = record.summary or {}
    try:
        accuracy = _result(summary)["test"]["accuracy"]
        low, high = accuracy_interval(accuracy, summary["data"]["num_test"])
    except (KeyError, TypeError):
        return ABSENT
    return f"{accuracy:.1%} ({low:.1%} to {high:.1%})"


def _number(*path: str, show: Callable[[Any], str] = "{:,d}".format) -> Callable[[RunRecord], str]:
    def shown(record: RunRecord) -> str:
        value: Any = record.summary
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return ABSENT if value is None else show(value)

    return shown


def _cost(record: RunRecord) -> str:
    summary = record.summary or {}
    cost, bill = summary.get("cost"), summary.get("bill") or {}
    return ABSENT if cost is None else run_cost(cost, str(bill.get("currency", "")))


def _model(record: RunRecord) -> str:
    inner = record.settings.get("base", record.settings)
    oracle = inner.get("oracle") if isinstance(inner, Mapping) else None
    if not isinstance(oracle, Mapping):
        return ABSENT
    return "/".join(str(oracle[key]) for key in ("model", "pretrained") if oracle.get(key))


RESULTS: Sequence[tuple[str, Callable[[RunRecord], str]]] = (
    ("model", _model),
    ("zero-shot, test", _accuracy(lambda summary: summary["zero_shot"]["test"])),
    ("tuned, test (95 %)", _test),
    ("tuned, validation", _accuracy(lambda summary: _result(summary)["validation"])),
    ("tuned, held out", _accuracy(lambda summary: _result(summary).get("held_out"))),
    ("test images", _number("data", "num_test")),
    ("candidate queries", _number("ledger", "candidate_queries")),
    ("image predictions", _number("ledger", "image_predictions")),
    ("cost", _cost),
    ("seconds", _number("seconds", show="{:,.0f}".format)),
)
"""Label -> the value of a run, in words."""


WIDEST = 40
"""Characters of a column; the name of a run may have more."""
NARROWEST = 12
"""A column is not made narrower, however many runs there are."""


def as_lines(
    names: Sequence[str], rows: Sequence[Row], columns: int | None = None
) -> Iterator[str]:
    """A table for people.

    Args:
        names: of the runs.
        rows: what is compared.
        columns: of the terminal; what is too long for it is shortened. None: no value is cut, and a
            long one makes its own line long, no other.
    """
    table = [("", list(names)), *rows]
    left = max(len(label) for label, _ in table)
    if columns is not None:
        most = max((columns - left) // len(names) - 2, NARROWEST)
        table = [(label, [_cut(value, most) for value in values]) for label, values in table]
    lengths = [[len(values[n]) for _, values in table] for n in range(len(names))]
    widths = [
        max(length for length in column if length <= WIDEST or length == column[0])
        for column in lengths
    ]
    for label, values in table:
        cells = "  ".join(value.rjust(width) for value, width in zip(values, widths, strict=True))
        yield f"{label:<{left}}  {cells}".rstrip()


def _cut(text: str, most: int) -> str:
    """With an ellipsis in its middle: of names and paths both ends tell."""
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[-end:]}"
