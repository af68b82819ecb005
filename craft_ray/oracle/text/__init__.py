"""From soft contexts to text features.

`prompts` makes tokens of a task. `plain` asks the model's own `encode_text` and takes any tower;
`shared_prefix` computes the same for causal towers with a fraction of the arithmetic; `encoder`
chooses between the two, by proof.

Of the second, `layout` says which tokens go into which forward, `prepared` keeps what depends on
the task only, `layers` computes what sees each token by itself, `buckets` (CPU) and `tiles` (GPU)
are two ways to compute attention, and `replays` repeats small forwards as CUDA graphs.
"""
