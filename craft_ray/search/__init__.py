"""A search: trials of `craft_ray.training` under Ray Tune with Optuna.

`plan` says what will be spent, `trial` runs one trial, `monitor` watches all, `run` puts them
together, `results` ranks and reports. Nothing outside this package knows Tune.
"""
