"""A program for the environment of a foreign server: the pipeline `zero-shot-image-classification`
of `transformers`, as Hugging Face's inference toolkit serves it.

    python zero_shot_app.py MODEL PORT

As the toolkit: one request at a time; `inputs` goes to the pipeline as it is, `parameters` as its
arguments; all that goes wrong is 400 `{"error": ...}`.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any


def serve(model: str, port: int) -> None:
    import torch
    import uvicorn
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route
    from transformers import pipeline

    torch.set_num_threads(1)
    pipe: Any = pipeline("zero-shot-image-classification", model=model, device="cpu")
    one_at_a_time = asyncio.Semaphore(1)

    async def predict(request: Request) -> JSONResponse:
        try:
            asked = await request.json()
            async with one_at_a_time:
                answer = await run_in_threadpool(pipe, asked["inputs"], **asked["parameters"])
        except Exception as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse(answer)

    async def health(request: Request) -> JSONResponse:
        return JSONResponse("ok")

    routes = [Route("/", predict, methods=["POST"]), Route("/health", health)]
    uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
