"""Every question to an oracle is counted, and put on record as it is answered.

`metered_oracle` is the only way in which anybody asks: the `ledger` authorises a question before it
is asked, the `journal` (SQLite on a disk, objects on a store) has every answer, so that a later
process never pays for it again, and the `answer_cache` has those of earlier runs.
`planned_spending` says beforehand what a run will spend.
"""
