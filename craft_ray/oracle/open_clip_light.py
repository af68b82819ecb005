"""open_clip as every module of craft-ray takes it: imported without `transformers`.

Where that is installed, open_clip imports it for text towers that few models have, which costs
every process that only wants CLIP a second. `text.foreign` gives it back to those that need it.
"""

from __future__ import annotations

from craft_ray.light_imports import without

with without("transformers"):
    import open_clip as open_clip
