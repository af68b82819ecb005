"""craft-ray as a scikit-learn classifier: one fit in this process, without Ray.

`inputs` takes what a user has as images, `classifier` fits and predicts.
"""

from craft_ray.environment import wait_asleep

wait_asleep()  # here, because `classifier` imports torch
