"""Runs the jobs of all keys as processes of their own, a few at a time and in fair turns.

The records say what is to be done; what happens between two looks at them may be lost with this
process, and is found again in the folders of the runs. A job is charged once: its pairs are
reserved before its first start under its id, and settled when it has ended.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from craft_ray.errors import EXIT_CODE_USER_ERROR
from craft_ray.files.whole_files import write_json
from craft_ray.service.meter.terms import Asked, Begun, Refusal
from craft_ray.service.tunings.api_error import ApiError, refused
from craft_ray.service.tunings.jobs import RESULT_PURPOSE
from craft_ray.service.tunings.outcome import (
    is_progress,
    results_of,
    sentences_of,
    spending_of,
    summary_of,
    told_of,
    users_mistake_in,
)
from craft_ray.service.tunings.pairs import pairs_of
from craft_ray.service.tunings.preparation import Workplace, is_free, prepare_job
from craft_ray.service.tunings.process import TuningProcess
from craft_ray.service.tunings.records import TuningRecords
from craft_ray.service.tunings.rows import ENDED, JobRecord, Level, Status, new_id
from craft_ray.service.tunings.tuning_meter import TuningMeter
from craft_ray.service.tunings.turns import Waiting, next_job

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
GRACE_S = 60.0
"""After Ctrl-C: a run ends its slots and writes its state."""
OLD_UPLOAD_S = 3600.0
MOST_TROUBLES = 5
"""Looks in a row or not at which something else than its process failed a job."""
MOST_ATTEMPTS = 2
"""Starts of a job whose machine fails."""
ROUTE = "tuning"


class TuningRunner:
    """One for a service.

    Args:
        records: of all jobs.
        meter: where pairs are reserved and settled.
        place: the owner's part of the settings.
        at_a_time: jobs that run at a time.
        command_of: program and arguments of a job; default: craft-ray's own.
        clock: seconds of the epoch.
    """

    def __init__(
        self,
        records: TuningRecords,
        meter: TuningMeter,
        place: Workplace,
        at_a_time: int,
        command_of: Callable[[JobRecord], Sequence[str]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._records, self._meter, self._place = records, meter, place
        self._at_a_time, self._clock = at_a_time, clock
        self._command_of = command_of or (lambda job: place.command_of(job, sys.executable))
        self._processes: dict[str, TuningProcess] = {}
        self._troubles: Counter[str] = Counter()
        self._grace_s = GRACE_S
        self._must_stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, name="tunings", daemon=True)

    def start(self) -> None:
        """Begin, and go on with what was running when the service ended."""
        self._place.layout.remove_uploads(self._clock() - OLD_UPLOAD_S)
        self._thread.start()

    def stop(self, grace_s: float = GRACE_S) -> None:
        """End the processes; their jobs go on when the service is up again."""
        self._grace_s = grace_s
        self._must_stop.set()
        if self._thread.ident is None:
            self._end_processes()
        else:
            self._thread.join()

    def look(self) -> None:
        """One look at the records and the processes. Called by one thread at a time."""
        jobs = {job.id: job for job in self._records.unfinished()}
        for job in jobs.values():
            if job.id in self._processes:
                self._watch(job)
        for job in jobs.values():
            if job.status == "validating_files":
                self._guarded(job, self._validate)
        self._start_some()

    def _keep_looking(self) -> None:
        while not self._must_stop.wait(LOOK_EVERY_S):
            try:
                self.look()
            except Exception:  # a full disk passes, and so does an actor that starts anew
                logger.exception("tunings could not be looked at")
        self._end_processes()  # in this thread, whose end would be another Ctrl-C to them

    def _end_processes(self) -> None:
        for process in self._processes.values():
            process.interrupt(self._grace_s)
        for process in self._processes.values():
            process.wait()
        self._processes.clear()

    def _guarded(self, job: JobRecord, step: Callable[[JobRecord], None]) -> None:
        """A job that cannot be got on with has failed, and the others go on. What comes of the
        machine may pass: the step is tried again at the next looks."""
        try:
            step(job)
        except ApiError as error:
            self._settle_and_end(job, "failed", error.as_dict())
        except Exception:
            logger.exception("job %s", job.id)
            self._troubles[job.id] += 1
            if self._troubles[job.id] >= MOST_TROUBLES:
                self._settle_and_end(job, "failed", _MACHINE_FAILED)

    def _validate(self, job: JobRecord) -> None:
        prepared = prepare_job(job, self._records, self._place)
        left = self._meter.balance(job.key_id, self._clock()).remaining
        if left is not None and prepared.pairs > left:
            raise ApiError(
                403,
                f"quota must have {prepared.pairs:,} pairs left for this job, but has {left:,}: "
                "fewer data.shots, data.views, head.names or a smaller budget cost less",
                "quota_exhausted",
                "method",
            )
        plan = {**job.plan, "texts": prepared.texts}
        if self._change(job, status="queued", plan=plan, pairs=prepared.pairs):
            self._say(job, prepared.description)

    def _start_some(self) -> None:
        """What was running before this process first, then who has the next turn."""
        tried: set[str] = set()
        while len(self._processes) < self._at_a_time and not self._must_stop.is_set():
            jobs = [job for job in self._records.unfinished() if job.id not in tried]
            of_before = [
                job for job in jobs if job.status == "running" and job.id not in self._processes
            ]
            if of_before:
                tried.add(of_before[0].id)
                self._guarded(of_before[0], self._go_on)
                continue
            queued = {job.id: job for job in jobs if job.status == "queued"}
            waiting = [Waiting(job.id, job.key_id, job.number) for job in queued.values()]
            running = Counter(job.key_id for job in self._records.unfinished() if job.is_running)
            chosen = next_job(waiting, running, self._records.last_started())
            if chosen is None:
                return
            tried.add(chosen.job_id)
            self._guarded(queued[chosen.job_id], self._begin)

    def _begin(self, job: JobRecord) -> None:
        now = self._clock()
        if self._change(job, status="running", started_at=now):  # else it was cancelled
            self._go_on(self._now(job))

    def _go_on(self, job: JobRecord) -> None:
        """Start the process of a job that counts as running."""
        if job.is_cancelled:
            self._settle_and_end(job, "cancelled")
            return
        is_new = self._reserve(job)
        job = self._now(job)
        if summary_of(self._place.layout.run(job.key_id, job.id)) is not None and job.attempts == 0:
            self._succeed(job)  # it ended when nobody looked
            return
        if not is_new:  # settled, and then nobody could note its end
            self._settle_and_end(job, "failed", _MACHINE_FAILED)
            return
        if not is_free(self._place.layout.run(job.key_id, job.id)):
            return  # what a service that was killed has started is about to end
        work = self._place.layout.work(job.key_id, job.id)
        work.mkdir(parents=True, exist_ok=True)
        log = work / f"log-{new_id('part')}.txt"
        self._processes[job.id] = TuningProcess(self._command_of(job), log, work)
        self._say(job, "The fine-tuning has started.")

    def _reserve(self, job: JobRecord) -> bool:
        """The pairs of a job; a repetition, after a restart too, is the same reservation. False:
        they were settled already.

        Raises:
            ApiError: the key has too few.
        """
        assert job.pairs is not None
        asked = Asked(ROUTE, job.pairs, job.id, job.id, holder="")
        begun = self._meter.begin_for(job.key_id, asked, self._clock())
        if isinstance(begun, Refusal):
            raise refused(begun)
        if isinstance(begun, Begun) and job.hold != begun.request_id:
            self._change(job, hold=begun.request_id)
        return isinstance(begun, Begun)

    def _watch(self, job: JobRecord) -> None:
        process = self._processes[job.id]
        if job.is_cancelled:
            process.interrupt(GRACE_S)
        code = process.exit_code()
        for line in process.new_lines():
            if is_progress(line):
                self._say(job, self._in_users_words(job, line.strip()))
        if code is not None:
            del self._processes[job.id]
            self._guarded(job, lambda job: self._ended(job, code, process.last_words()))

    def _ended(self, job: JobRecord, code: int, output: str) -> None:
        has_result = summary_of(self._place.layout.run(job.key_id, job.id)) is not None
        if code == 0 and has_result:
            self._succeed(job)
        elif job.is_cancelled:
            self._settle_and_end(job, "cancelled")
        elif code == EXIT_CODE_USER_ERROR and (mistake := users_mistake_in(output)):
            words = self._in_users_words(job, mistake)
            error = {"code": "invalid_value", "message": words, "param": None}
            self._settle_and_end(job, "failed", error)
        elif job.attempts + 1 < MOST_ATTEMPTS:
            logger.warning("job %s ended with %d and is started again:\n%s", job.id, code, output)
            self._change(job, attempts=job.attempts + 1)
            self._say(job, "The machine has failed; the fine-tuning goes on.", "warn")
            self._go_on(self._now(job))
        elif has_result:  # of a search, some trials failed
            self._say(job, "Some trials have failed.", "warn")
            self._succeed(job)
        else:
            logger.error("job %s ended with %d:\n%s", job.id, code, output)
            self._settle_and_end(job, "failed", _MACHINE_FAILED)

    def _succeed(self, job: JobRecord) -> None:
        layout = self._place.layout
        summary = summary_of(layout.run(job.key_id, job.id))
        assert summary is not None
        file_id = job.id.replace("ftjob-", "file-")
        path, name = layout.file_of(job.key_id, file_id, ".json"), f"{job.id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, results_of(summary))
        size = path.stat().st_size
        self._records.add_file(
            job.key_id, file_id, name, RESULT_PURPOSE, size, {}, sys.maxsize, self._clock()
        )
        for sentence in sentences_of(summary):
            self._say(job, sentence)
        self._settle_and_end(job, "succeeded", result={**told_of(summary), "file": file_id})

    def _settle_and_end(
        self,
        job: JobRecord,
        status: Status,
        error: Mapping[str, Any] | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        """Charge what the run has asked for; if nobody can tell that, all that was reserved."""
        job = self._now(job)
        if job.status in ENDED:  # it was cancelled while it waited
            return
        pairs = 0
        if job.hold is not None and job.pairs is not None:
            spent = spending_of(self._place.layout.run(job.key_id, job.id))
            texts = int(job.plan["texts"])
            pairs = job.pairs if spent is None else pairs_of(spent, texts, job.pairs)
            self._meter.settle(job.hold, pairs, None, self._clock())
        values = {"error": error, "result": result, "pairs": pairs}
        if self._change(job, status=status, finished_at=self._clock(), **values):
            words = f"The job {_IN_WORDS[status]}." if error is None else error["message"]
            self._say(job, words, "info" if error is None else "error")

    def _change(self, job: JobRecord, **values: Any) -> bool:
        return self._records.change_job(job.key_id, job.id, job.status, **values)

    def _now(self, job: JobRecord) -> JobRecord:
        found = self._records.job(job.key_id, job.id)
        return job if found is None else found

    def _say(self, job: JobRecord, words: str, level: Level = "info") -> None:
        self._records.add_event(job.key_id, job.id, level, words, None, self._clock())

    def _in_users_words(self, job: JobRecord, text: str) -> str:
        return self._place.layout.in_users_words(text, job.key_id, job.id)


_MACHINE_FAILED = {
    "code": "server_error",
    "message": "The machine has failed more than once; what was asked until then is charged. A new "
    "job with the same files may succeed.",
    "param": None,
}
_IN_WORDS = {"succeeded": "has succeeded", "failed": "has failed", "cancelled": "was cancelled"}
