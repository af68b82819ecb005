"""The paper's tables: many fine-tunings as one Tune experiment, beside the published numbers.

`grid` says which cells there are and in which order, `cell` runs one, `pools` keeps one oracle pool
a backbone, `run` puts them together; `results` and `tables` report beside `published`.
"""
