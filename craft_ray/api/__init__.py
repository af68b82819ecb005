"""`craft_ray.tune(...)` and `craft_ray.train(...)`: the commands as Python functions.

`results` is what they return, `calls` does the work.
"""
