"""What a fine-tuning has come to, and the classifier it would return: read from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from craft_ray.classifiers.evidence import Evidence
from craft_ray.classifiers.score import Score
from craft_ray.classifiers.selection import Selected
from craft_ray.errors import ArtifactError
from craft_ray.files.remote import Place
from craft_ray.jobs.job import POINTS, REPORTS, STATES_FOLDER, Outcome, Report, read_result
from craft_ray.metering.journal import spent_on_record
from craft_ray.metering.ledger import Spending
from craft_ray.tuners.findings import HeadFindings
from craft_ray.tuners.state import load_newest_state, selected_in


@dataclass(frozen=True)
class Tuned:
    """What a fine-tuning has come to.

    Attributes:
        outcome: how it ended; `running` if it has not, and was cut off.
        reports: all of them, without their points; the last one speaks of the selected state.
        spent: what it has paid for, reported or not.
        curve: candidate queries and validation accuracy of the working state, from the start,
            however often it was taken up.
        points: the generations that belong to the last report.
        right: the validation images that the selected state predicts rightly, see `Evidence`.
        findings: of the last head that was fitted to answers.
    """

    outcome: Outcome
    reports: list[Report]
    spent: Spending
    curve: list[tuple[int, float]]
    points: list[dict[str, float]] = field(default_factory=list)
    right: str = ""
    findings: HeadFindings | None = None

    @property
    def last(self) -> Report | None:
        """The last report; None before the first evaluation."""
        return self.reports[-1] if self.reports else None

    @property
    def evidence(self) -> Evidence | None:
        """Of the selected state."""
        if self.last is None:
            return None
        known = {f.name: self.last[f"val_{f.name}"] for f in fields(Score)}
        validation = None if known["accuracy"] is None else Score(**known)
        held_out, before = self.last["held_out"], self.last.get("zero_shot_held_out")
        return Evidence(
            validation, held_out and Score(**held_out), self.right, before and Score(**before)
        )

    @property
    def retried_chunks(self) -> int:
        """Chunks that were sent again after they were lost; they are paid for once."""
        return 0 if self.last is None else int(self.last["retried_chunks"])

    @property
    def seconds(self) -> float:
        """In its workers, from the start, however often it was taken up."""
        return 0.0 if self.last is None else float(self.last["train_seconds"])

    def as_dict(self) -> dict[str, Any]:
        """For `result.json`."""
        return {
            "outcome": self.outcome,
            REPORTS: self.reports,
            "ledger": self.spent.as_dict(),
            "curve": self.curve,
            POINTS: self.points,
            "right": self.right,
            "findings": self.findings and self.findings.as_dict(),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Tuned:
        """Inverse of `as_dict`.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        return cls(
            document["outcome"],
            list(document[REPORTS]),
            Spending.from_dict(document["ledger"]),
            [(int(queries), float(accuracy)) for queries, accuracy in document["curve"]],
            list(document[POINTS]),
            str(document.get("right", "")),  # results of earlier versions have neither
            HeadFindings.restore(found) if (found := document.get("findings")) else None,
        )


def read_tuned(folder: Place) -> Tuned:
    """What the fine-tuning in `folder` has come to, also one that was cut off.

    Raises:
        ArtifactError: a file is damaged.
        RunFailedError: the store does not answer.
    """
    if (document := read_result(folder)) is not None:
        try:
            return Tuned.from_dict(document)
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{folder}: must hold a result, but: {error!r}") from error
    state = load_newest_state(folder / STATES_FOLDER)
    nothing: dict[str, Any] = {REPORTS: [], POINTS: [], "curve": []}
    known = nothing
    if state is not None:
        known = {**state.values, "right": state.values.get("selected", {}).get("right", "")}
    ledger = spent_on_record(folder).as_dict()
    return Tuned.from_dict({"outcome": "running", **known, "ledger": ledger})


def read_selected(folder: Place) -> Selected:
    """What the fine-tuning in `folder` would return: each state that is kept has it.

    Raises:
        ArtifactError: no state can be read.
    """
    state = load_newest_state(folder / STATES_FOLDER)
    if state is None:
        raise ArtifactError(f"{folder}: must have a state, but has none")
    return selected_in(state)
