"""The prompt that `prompt.start` names: from a stored classifier to where a tuning begins."""

from __future__ import annotations

from craft_ray.classifiers.artifact import Artifact
from craft_ray.classifiers.classifier import PromptedClassifier
from craft_ray.config.run import RunConfig
from craft_ray.errors import ArtifactError
from craft_ray.files.remote import locate
from craft_ray.oracle.contract import ClassificationTask, FloatArray, OracleDescription


def earlier_prompt(
    config: RunConfig, task: ClassificationTask, oracle: OracleDescription
) -> FloatArray | None:
    """What an earlier run tuned for this oracle's weights, [L, E] or [C, L, E]; None if none is
    named. In which precision does not matter: it is validated before anything is tuned.

    Raises:
        ArtifactError: it cannot be read, or is of no use to this run.
    """
    place = config.prompt.start
    if place is None:
        return None
    if not oracle.embed_dim:
        raise ArtifactError(
            f"prompt.start: must be null for a model that takes no soft prompts, but got {place}; "
            "words to begin with are data.template"
        )
    earlier = Artifact.load(locate(place))
    if not earlier.is_for_weights_of(oracle):
        raise ArtifactError(
            f"prompt.start: must have been tuned for this oracle, {oracle.oracle_id[:12]}, but "
            f"{place} was tuned for {earlier.oracle_id[:12]}"
        )
    if earlier.classifier.template is not None:
        raise ArtifactError(
            f"prompt.start: must have a soft prompt, but {place} has a prompt in words: give it as "
            f"data.template={earlier.template!r}"
        )
    if not isinstance(earlier.classifier, PromptedClassifier):
        raise ArtifactError(
            f"prompt.start: must have one prompt, but {place} is a head on features and has none"
        )
    contexts_KLE = earlier.classifier.asked_contexts()
    if len(contexts_KLE) > 1:
        raise ArtifactError(
            f"prompt.start: must have one prompt, but {place} asks about {len(contexts_KLE)}"
        )
    context_LE: FloatArray = contexts_KLE[0]
    if context_LE.ndim == 2:
        return context_LE
    if earlier.task.class_names != task.class_names:
        raise ArtifactError(
            f"prompt.start: must have been tuned for these classes, but {place} has a context for "
            "each of others"
        )
    head = config.probing_head
    if config.method == "white_box" or (head and (head.num_names or head.asks_prompts)):
        raise ArtifactError(
            "prompt.start: must have one context for all classes when method is white_box, "
            f"head.names > 0 or head.offset is not template, but {place} has one for each"
        )
    return context_LE
