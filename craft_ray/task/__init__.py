"""Images and labels as a task that an oracle knows.

`preparation` samples the training images and registers them; `prepared` is the result, which is all
that a tuning may look at (no test data); `views` are the augmented images, `batches` the parts of
the training images, `vocabulary` the further class names that a head may be asked about, and
`visible_words` those for a task with ImageNet's own classes.
"""
