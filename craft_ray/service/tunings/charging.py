"""What a job costs its key: reserved before its first start under its id, settled when it ends, so
that it is charged once whenever this process was killed."""

from __future__ import annotations

from collections.abc import Callable

from craft_ray.service.meter.terms import Asked, Begun, Refusal, Replayed
from craft_ray.service.tunings.api_error import ApiError, refused
from craft_ray.service.tunings.layout import Layout
from craft_ray.service.tunings.outcome import spending_of
from craft_ray.service.tunings.pairs import pairs_of
from craft_ray.service.tunings.records import TuningRecords
from craft_ray.service.tunings.rows import JobRecord
from craft_ray.service.tunings.tuning_meter import TuningMeter

ROUTE = "tuning"


class Charging:
    """Of all jobs of a service.

    Args:
        records: of them.
        meter: where pairs are reserved and settled.
        layout: where their runs are.
        clock: seconds of the epoch.
    """

    def __init__(
        self,
        records: TuningRecords,
        meter: TuningMeter,
        layout: Layout,
        clock: Callable[[], float],
    ) -> None:
        self._records, self._meter, self._layout = records, meter, layout
        self._clock = clock

    def check_quota(self, job: JobRecord, pairs: int) -> None:
        """Refuse a job that its key cannot pay for now. Reserves nothing.

        Raises:
            ApiError: the key has too few pairs.
        """
        left = self._meter.balance(job.key_id, self._clock()).remaining
        if left is not None and pairs > left:
            raise ApiError(
                403,
                f"quota must have {pairs:,} pairs left for this job, but has {left:,}: "
                "fewer data.shots, data.views, head.names or a smaller budget cost less",
                "quota_exhausted",
                "method",
            )

    def reserve(self, job: JobRecord) -> bool:
        """The pairs of a job; a repetition, after a restart too, is the same reservation. False:
        they were settled already.

        Raises:
            ApiError: the key has too few.
        """
        begun = self._begin(job)
        if isinstance(begun, Refusal):
            raise refused(begun)
        if isinstance(begun, Begun) and job.hold != begun.request_id:
            self._records.change_job(job.key_id, job.id, job.status, hold=begun.request_id)
        return isinstance(begun, Begun)

    def settle(self, job: JobRecord) -> int:
        """Charge what the run has asked for; if nobody can tell that, all that was reserved.

        Returns:
            Pairs.
        """
        if not job.is_running or job.pairs is None:
            return 0
        now = self._clock()
        if job.hold is None:
            # Perhaps it was reserved and nobody could note that. Nothing was asked before.
            begun = self._begin(job)
            if isinstance(begun, Begun):
                self._meter.refund(begun.request_id, now)
            return 0
        spent = spending_of(self._layout.run(job.key_id, job.id))
        pairs = job.pairs if spent is None else pairs_of(spent, int(job.plan["texts"]), job.pairs)
        self._meter.settle(job.hold, pairs, None, now)
        return pairs

    def _begin(self, job: JobRecord) -> Begun | Replayed | Refusal:
        assert job.pairs is not None
        asked = Asked(ROUTE, job.pairs, job.id, job.id, holder="")
        return self._meter.begin_for(job.key_id, asked, self._clock())
