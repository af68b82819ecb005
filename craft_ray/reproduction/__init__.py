"""The paper's tables: many fine-tunings as cells of a grid, beside the published numbers.

`grid` says which cells there are and in which order, `cell` is one as a job, `measure` what it
does, `run` brings up a pool for each backbone in turn and runs its cells in slots; `results` and
`tables` report beside `published`.
"""
