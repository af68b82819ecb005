"""infinity-emb, a server of embeddings that nobody of this project wrote, in its own environment.

What it needs: numpy before 2; `transformers` before 5, whose CLIP answers something else there;
aiohttp, without which each image is answered by 500, and Pillow, both of which it does not ask for
itself. Its extra `vision` is left out: torchvision, which must fit torch's build, is not needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.foreign_environment import Recipe
from tests.support.foreign_server import foreign_server

INFINITY = Recipe(
    "infinity",
    (
        "infinity-emb[server,torch]==0.0.78",
        "torch<2.14",
        "transformers<5",
        "numpy<2",
        "aiohttp",
        "pillow",
    ),
)
KEY = "sesame-of-the-tests"
NAME = "tiny-clip"
"""Of the model, as requests and answers have it."""


@contextmanager
def infinity_server(
    python: Path, model: Path, log: Path, *, queue_size: int | None = None
) -> Iterator[str]:
    """The URL of a server that takes `KEY` only.

    Args:
        python: of the environment.
        model: its folder.
        log: what the server prints.
        queue_size: of waiting items, above which it answers 429. None: its own.
    """
    variables = {
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "INFINITY_ANONYMOUS_USAGE_STATS": "0",
        "INFINITY_API_KEY": KEY,
    }
    if queue_size is not None:
        variables["INFINITY_QUEUE_SIZE"] = str(queue_size)
    with foreign_server(lambda port: _words(python, model, port), log, variables) as url:
        yield url


def _words(python: Path, model: Path, port: int) -> list[str]:
    return [
        *(str(python), "-m", "infinity_emb.cli", "v2"),
        *("--model-id", str(model), "--served-model-name", NAME),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--device", "cpu", "--engine", "torch", "--no-bettertransformer"),
    ]
