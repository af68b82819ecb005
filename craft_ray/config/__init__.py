"""Settings: what a user may say, checked before anything starts.

In: YAML files and `key=value` words. Out: frozen pydantic models. This package imports neither
torch nor Ray, so `--help` and a mistyped key answer at once.
"""
