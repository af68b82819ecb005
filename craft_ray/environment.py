"""Environment variables of Ray that its libraries read when they are imported."""

from __future__ import annotations

import os

ENVIRONMENT = {
    # How soon the end of a slot's worker is seen. Neither preemption nor metrics of one matter.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A thread that asks after the end must not start a Ray of its own.
    "RAY_ENABLE_AUTO_CONNECT": "0",
    # The history of every call, which Ray keeps in memory: 1 GB an hour of them (benchmarks.soak).
    # The dashboard of our own Ray shows actors and nodes, but no list of calls.
    "RAY_task_events_report_interval_ms": "0",
    # A worker without a GPU keeps CUDA_VISIBLE_DEVICES; without this Ray warns of a change to come.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Our own monitor, summary and tracker replace Tune's tables and file loggers.
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # A trial that has failed has no accuracy to report.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # Ctrl-C comes to us: what a search needs to go on is on disk already.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Nobody reads Tune's own record of the search.
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    # The processes of a trial only wait for each other; Ray warns that they are more than the CPUs.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "PYTHON worker processes have been started",
}


def set_environment() -> None:
    """Set what the user has not set; to be called before Ray is imported."""
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    wait_asleep()


def wait_asleep() -> None:
    """Let torch's threads sleep while they wait for each other; to be called before torch is
    imported. If they spin and other processes use the cores too, work of seconds takes minutes: a
    local Ray lost half of its cores to it (benchmarks.machinery)."""
    # Of this machine's processes only, so of a local Ray: they share its cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
