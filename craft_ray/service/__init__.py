"""A pool that is offered to others over HTTP: keys, quotas, answers, and tuning for those who ask.

`run` starts it; `http` are the routes, `meter` what is counted, `tunings` what is tuned for users.
"""
