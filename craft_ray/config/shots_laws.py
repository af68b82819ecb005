"""Which settings go with classes that have no training image."""

from __future__ import annotations

from craft_ray.config.data import DataConfig, NamesSource


def check_classes_without_images(data: DataConfig, stands_them: bool) -> None:
    """Refuse classes without images where nothing stands them, and no images where some are needed.

    Args:
        data: its section of the settings.
        stands_them: whether the head leaves classes without images to zero-shot.

    Raises:
        ValueError: names the setting.
    """
    if data.more_classes and not stands_them:
        raise ValueError(
            "data.more_classes must be empty unless data.shots is 0 or all, method is head and "
            "head.kind is linear, probes or features, with another head.fit than similarity: only "
            "these leave a class without images to zero-shot"
        )
    if isinstance(data.source, NamesSource) and data.shots != 0:
        raise ValueError(
            f"data.shots must be 0 when data.source.kind is names_only, but got {data.shots}: "
            "without images there is zero-shot only"
        )
