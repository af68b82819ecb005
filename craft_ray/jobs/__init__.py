"""One fine-tuning as a job for Ray: the session, the run folder, the worker and its storage."""
