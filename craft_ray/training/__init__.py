"""One fine-tuning: the query ledger, the prepared task, the collaborative loop and its worker.

`loop` knows the oracle's contract, the optimizers and the method, but neither Ray nor Tune;
`worker` runs it inside Ray Train.
"""
