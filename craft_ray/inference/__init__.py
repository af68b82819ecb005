"""Using what a run has found: labels for new images, without Ray.

`runs` finds the classifier of a run, `images` what to label, `predictor` asks the model, `output`
writes what it says.
"""
