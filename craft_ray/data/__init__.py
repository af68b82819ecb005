"""Images and labels: from files on disk to arrays an oracle can take.

Data flows `sources` (files -> Dataset of undecoded items) -> `few_shot` (which items) ->
`pixels` (items -> uint8 arrays, plain or augmented). Nothing here knows an oracle or Ray.
"""
