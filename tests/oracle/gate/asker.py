"""A process that asks what is not kept yet: `python -m tests.oracle.gate.asker FOLDER URL NUMBER
[STORE]`. It may be killed at any instant."""

from __future__ import annotations

import sys
from pathlib import Path

from craft_ray.oracle.endpoints.wire import Request
from craft_ray.oracle.gate.answer_store import AnswerStore
from tests.oracle.gate.dialogues import Dialogue, keys_of, opened, requests, settings


def left_of(asked: list[Request], store: AnswerStore) -> list[Request]:
    """Those with an answer that is not kept."""
    kept = store.find(keys_of(asked))
    return [request for request in asked if not set(keys_of([request])) <= kept.keys()]


def main() -> None:
    folder, url, number, *store_path = sys.argv[1:]
    chosen = settings(url, timeout_s=5.0)
    shared = Path(store_path[0]) if store_path else None
    with opened(Path(folder), chosen, shared) as (gate, _, store):
        for _ in gate.ask(left_of(requests(int(number)), store), Dialogue()):
            pass


if __name__ == "__main__":
    main()
