"""craft-ray: distributed collaborative fine-tuning of black-box vision-language models."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from craft_ray.estimator.classifier import CraftClassifier

__all__ = ["CraftClassifier", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`from craft_ray import CraftClassifier` loads torch; `import craft_ray` does not."""
    if name == "CraftClassifier":
        from craft_ray.estimator.classifier import CraftClassifier

        return CraftClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
