"""From soft contexts to text features.

`prompts` makes tokens of a task. `plain` asks the model's own `encode_text` and takes any tower;
`shared_prefix` computes the same for causal towers with a fraction of the arithmetic (`layout` says
which tokens go into which forward); `encoder` chooses between the two, by proof.
"""
