"""Sends requests to an endpoint that bills: paced, retried, bounded in money, and kept.

    with Gate(settings, BillLedger(...), AnswerStore(...)) as gate:
        for request, answer in gate.ask(requests, dialogue):
            ...

- `gate`: asks, with the threads of `workers`; `dialogue`: what it must be told of requests;
- `attempts`: one request until it is answered; `sender` is one HTTP attempt;
- `pacing` decides how fast (no I/O, no clock of its own), `traffic` makes threads wait for it;
- `bill` counts and prices, `bill_ledger` keeps that through the death of the process;
- `answer_store` keeps what was paid for, for many runs;
- `settings`: what all of it needs, with the key.
"""
