"""One fine-tuning as a job for Ray: the session, the run folder, slots, their board and worker.

`slots` are warm workers that take jobs from the `board`; `worker` runs them; `fine_tuning` is the
job that `tuning` does, and `tuning` reads what a job has left. `experiment` sets up what a single
run and a search have in common, and `run_report` writes the page about one.
"""
