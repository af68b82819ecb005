"""How a state is tuned by asking a metered oracle: a module a method, `base` for what all do.

`craft` searches a prompt and trains a head (the paper's method), `probes` fits a linear head to
fixed questions, `features` to the features of images, `searched_probes` searches the questions,
`white_box` and `feature_probe` are baselines. `registry` chooses by the settings; `state` is what
resumes. Knows neither Ray nor Tune.
"""
