"""Ours and the paper's method on the few-shot data sets, beside what is published.

`grid` says which fine-tunings there are (cells) and in which order, `cell` is one as a job,
`measure` what it does, `run` brings up a pool for each backbone in turn and runs its cells in
slots. `published.yaml` holds others' numbers, read by `published`; `results` makes rows of cells,
`comparison` and `tables` make tables of these, `plots` curves, `words` has what they call things.
"""
