"""Models behind an HTTP endpoint: what is sent, what comes back, and what it means. No I/O.

An adapter (`adapter.Adapter`) speaks one dialect. It turns a question into requests, a reply into
numbers, and a refusal into what to do about it. All of it is pure, so it is tested without a
server.

    requests = requests_of(adapter, question)          # `parts`: within the declared limits
    reply = ...                                         # sent by the caller
    verdict = adapter.classify(request, reply, now)     # None: there is an answer
    answer = adapter.decode(question, request, reply)
    scores = join(question, answers, "probabilities")   # `joining`: in the order of the question

What is here:

- `wire`: images, questions, requests, replies and answers as plain values;
- `capabilities`: what an endpoint can do, and whether a method can work with it;
- `parts`, `joining`: a question in pieces within the limits, and the pieces as one answer;
- `scores`: probabilities to log-probabilities, chunks of labels joined, a temperature fitted;
- `waiting`, `failures`: how long to wait, what to do after a refusal, and who pays for it;
- `openai_embeddings`, `hf_zero_shot`, `cohere_v2`, `kserve_v2`: the dialects of others;
- `craft_ray_protocol`, `tensor_body`: our own, with soft prompts and `score`;
- `registry`: an adapter by its name, or a user's own by `my.module:Adapter`
  (tests/oracle/endpoints/own_adapter.py is one).

A client that sends, with its rates, retries, the bill and the store of paid answers, is the room
`oracle.gate`. Keys are never seen by it: the sender adds the
`Authorization` header, and masks the key in what it logs.
"""
