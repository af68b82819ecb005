"""What the trials of a search are answered once for all of them.

While a search runs, its folder has the answers to everything that its trials have asked
(`metering.answer_cache`), so that what another trial asked before costs nothing. Trials that run at
the same time may both ask, and pay for, what neither has been answered yet; which trial has paid
shows in their ledgers, and nowhere in their results. Without a disk, on an object store, nothing is
shared, unless `answer_cache.folder` is.

Light: whoever waits for a trial loads it.
"""

from __future__ import annotations

from craft_ray.config.run import RunConfig
from craft_ray.config.space import SpaceConfig
from craft_ray.files.folders import remove_folder
from craft_ray.files.remote import Place, RemotePath
from craft_ray.metering.planned_spending import ALONE
from craft_ray.search.plan import probing_runs, shared_size
from craft_ray.task.prepared import PreparedTask, SharedProbes
from craft_ray.task.vocabulary import extra_names

ANSWERS_FOLDER = "answers"
"""Of a search, until it is finished: another machine's view of a run has no use for it."""


def with_answers(config: RunConfig, folder: Place) -> RunConfig:
    """The settings of a trial of the search in `folder`: it finds and keeps answers there, if it
    has no other place for them."""
    if config.answer_cache.folder is not None or isinstance(folder, RemotePath):
        return config
    cache = config.answer_cache.model_copy(update={"folder": str(folder / ANSWERS_FOLDER)})
    return config.model_copy(update={"answer_cache": cache})


def forget_answers(folder: Place) -> None:
    """Of a search that is finished; one that is extended begins to keep them again."""
    if not isinstance(folder, RemotePath):
        remove_folder(folder / ANSWERS_FOLDER)


def shared_probes(space: SpaceConfig, prepared: PreparedTask, folder: Place) -> SharedProbes | None:
    """How its trials ask about fixed contexts, so that they can share the answers; None: each as it
    would alone.

    It depends on nothing that a resumed search may have otherwise: its trials must ask again what
    is on their record.
    """
    start_LE = prepared.earlier_prompt_LE
    # A prompt with a context for each class has none for further names.
    if isinstance(folder, RemotePath) or (start_LE is not None and start_LE.ndim == 3):
        return None
    shared = shared_size(space)
    if shared == ALONE:
        return None
    names = {extra_names(run, prepared.class_names) for run in probing_runs(space)}
    return SharedProbes(shared.num_contexts, tuple(sorted(names)))
