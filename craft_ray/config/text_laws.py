"""Which settings go with a search over words."""

from __future__ import annotations

from craft_ray.config.prompts import PromptConfig


def check_text_search(method: str, prompt: PromptConfig) -> None:
    """Refuse what has no meaning where words are searched and no numbers.

    Args:
        method: of the run.
        prompt: its section.

    Raises:
        ValueError: names the setting.
    """
    if method != "prompt":
        raise ValueError(
            f"method must be prompt when optimizer.kind is text, but got {method}: words are "
            "searched without a head; probes (method=head head.kind=probes) need no optimizer"
        )
    if prompt.per_class:
        raise ValueError(
            "prompt.per_class must be false when optimizer.kind is text, but got true: the words "
            "around all class names are the same"
        )
    if prompt.start is not None:
        raise ValueError(
            "prompt.start must be null when optimizer.kind is text, but got "
            f"{prompt.start}: it names a soft prompt; words to begin with are data.template"
        )
