"""What a tuning returns: classifiers, their scores, which of them is selected, how it is kept.

`artifact` stores a classifier with the task it is for; `examiner` scores classifiers on validation
and, once, on test images; `predictions` keeps what was said of each of these.
"""
