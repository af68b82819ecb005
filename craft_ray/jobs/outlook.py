"""How far a run is and when it may end, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from craft_ray.config.money import money

JobProgress = Mapping[str, int]
"""What a job says between its reports: `generation`, `candidate_queries`, `image_predictions`."""

SURE_AFTER = 0.02
"""Share of the work before which nothing is said of its end."""


@dataclass(frozen=True)
class Outlook:
    """Where a search or a run stands.

    Attributes:
        queries: candidate queries that are spent.
        most_queries: that it may spend in all.
        best: highest validation accuracy so far, or without validation images the one on held-out
            training images; None before the first one.
        cost: of what is spent, if there is a price.
        share: of the work that is done, 0 to 1.
        share_before: that was done when this process began.
        seconds: since then.
        trials, num_trials: that have ended, and that there may be; None of a single run.
    """

    queries: int
    most_queries: int
    best: float | None
    cost: float | None
    share: float
    share_before: float
    seconds: float
    trials: int | None = None
    num_trials: int | None = None

    @property
    def seconds_left(self) -> float | None:
        """At the pace so far; None: too early to say."""
        done = self.share - self.share_before
        if done < SURE_AFTER or self.share >= 1:
            return None
        return self.seconds * (1 - self.share) / done

    def __str__(self) -> str:
        return self._in_words("of at most ")

    def within(self, width: int) -> str:
        """In at most so many columns, if that can be done: with fewer words then."""
        text = str(self)
        return text if len(text) <= width else self._in_words("/").replace(" /", "/")

    def _in_words(self, of: str) -> str:
        parts = []
        if self.trials is not None:
            parts.append(f"trials {self.trials}/{self.num_trials}")
        if self.best is not None:
            parts.append(f"best {self.best:.1%}")
        if self.most_queries:  # some methods ask none
            parts.append(f"{self.queries:,} {of}{self.most_queries:,} queries")
        if self.cost is not None:
            parts.append(f"cost {money(self.cost)}")
        if (left := self.seconds_left) is not None:
            parts.append(f"about {as_clock(left)} left")
        return ", ".join(parts)


def as_clock(seconds: float) -> str:
    """`0:07`, `1:40`, `2:05:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
