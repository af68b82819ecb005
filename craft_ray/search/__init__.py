"""A search: many fine-tunings (`craft_ray.jobs`) under Ray Tune with Optuna.

`plan` says what will be spent, `trial` runs one trial, `monitor` watches all, `run` puts them
together, `results` ranks and reports. Nothing outside this package knows Tune.
"""
