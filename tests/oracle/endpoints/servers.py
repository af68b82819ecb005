"""Small pure models of the servers: a request in, a reply out, without the adapters' code.

A feature or a logit is drawn from what was asked about, so a mistaken order is seen.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from craft_ray.oracle.endpoints.wire import ImageFile, Question, Reply, Request

WIDTH = 3
MODEL = "clip"

Row = npt.NDArray[np.float32]
Shuffle = Callable[[list[Any]], list[Any]]


def image(name: str) -> ImageFile:
    return ImageFile(b"\x89PNG\r\n\x1a\n" + name.encode(), name)


def feature(item: bytes) -> Row:
    digest = hashlib.sha256(item).digest()
    values = (np.frombuffer(digest[:WIDTH], dtype=np.uint8) - 127.5) / 128
    return values.astype(np.float32)


def logits(image: bytes, texts: Sequence[str]) -> Row:
    return np.array([12 * feature(image + text.encode())[0] for text in texts], dtype=np.float32)


def expected_features(question: Question) -> Row:
    items = [image.data for image in question.images] or [text.encode() for text in question.texts]
    return np.stack([feature(item) for item in items])


def expected_logits(question: Question) -> Row:
    return np.stack([logits(image.data, question.texts) for image in question.images])


def softmax(row: npt.NDArray[Any]) -> list[float]:
    powers = np.exp(row.astype(np.float64) - row.max())
    return [float(value) for value in powers / powers.sum()]


def answer(dialect: str, request: Request, shuffle: Shuffle = list) -> Reply:
    """What the server of a dialect answers."""
    if request.headers.get("Content-Type") != "application/json":
        return kserve_binary(request)
    asked = json.loads(request.body)
    if dialect in ("infinity", "vllm", "nim", "jina"):
        return json_reply(openai(asked, shuffle))
    if "cohere" in dialect:
        return json_reply(cohere(asked))
    if dialect == "kserve_v2":
        return json_reply(kserve(asked))
    return json_reply(zero_shot(dialect, asked, shuffle))


def json_reply(document: Any) -> Reply:
    return Reply(200, {"content-type": "application/json"}, json.dumps(document).encode())


def data_of(text: str) -> bytes:
    """Bytes of what was sent: an image of a data URI or of base64, or the text itself."""
    if text.startswith("data:image/png;base64,"):
        return base64.b64decode(text.split(",", 1)[1])
    return text.encode()


def openai(asked: Mapping[str, Any], shuffle: Shuffle) -> dict[str, Any]:
    if "messages" in asked:
        content = asked["messages"][0]["content"]
        assert len(content) == 1
        items = [data_of(content[0]["image_url"]["url"])]
    else:
        items = [
            base64.b64decode(item["image"])
            if isinstance(item, dict) and "image" in item
            else data_of(item["text"] if isinstance(item, dict) else item)
            for item in asked["input"]
        ]
    wants_text = "base64" in (asked.get("encoding_format"), asked.get("embedding_type"))
    vectors = [feature(item) for item in items]
    shown = [
        base64.b64encode(vector.astype("<f4").tobytes()).decode() if wants_text else vector.tolist()
        for vector in vectors
    ]
    data = [{"object": "embedding", "index": row, "embedding": v} for row, v in enumerate(shown)]
    return {"object": "list", "model": asked["model"], "data": shuffle(data)}


def cohere(asked: Mapping[str, Any]) -> dict[str, Any]:
    items = [data_of(item) for item in asked.get("images", asked.get("texts"))]
    return {"embeddings": {"float": [feature(item).tolist() for item in items]}}


def zero_shot(dialect: str, asked: Mapping[str, Any], shuffle: Shuffle) -> Any:
    inputs = asked["instances"] if dialect == "hf_vertex" else asked["inputs"]
    labels = asked["parameters"]["candidate_labels"]
    images = [inputs] if isinstance(inputs, str) else inputs
    rows = [softmax(logits(base64.b64decode(image), labels)) for image in images]
    answers = [
        shuffle([{"label": name, "score": score} for name, score in zip(labels, row, strict=True)])
        for row in rows
    ]
    if dialect == "hf_vertex":
        return {"predictions": answers}
    return answers[0] if isinstance(inputs, str) else answers


def kserve(asked: Mapping[str, Any]) -> dict[str, Any]:
    given = {tensor["name"]: tensor["data"] for tensor in asked["inputs"]}
    images = [base64.b64decode(item) for item in given.get("images", [])]
    values = kserve_values(images, given.get("texts", []))
    output = {
        "name": asked["outputs"][0]["name"],
        "shape": list(values.shape),
        "datatype": "FP32",
        "data": values.ravel().tolist(),
    }
    return {"model_name": MODEL, "outputs": [output]}


def kserve_binary(request: Request) -> Reply:
    length = int(request.headers["Inference-Header-Content-Length"])
    asked, rest = json.loads(request.body[:length]), request.body[length:]
    given = {}
    for tensor in asked["inputs"]:
        size = tensor["parameters"]["binary_data_size"]
        blob, rest = rest[:size], rest[size:]
        items = []
        while blob:
            (item_size,) = struct.unpack("<I", blob[:4])
            items.append(blob[4 : 4 + item_size])
            blob = blob[4 + item_size :]
        assert [len(items)] == tensor["shape"]
        given[tensor["name"]] = items
    assert not rest
    texts = [text.decode() for text in given.get("texts", [])]
    values = kserve_values(given.get("images", []), texts)
    blob = values.astype("<f4").tobytes()
    before = {"name": "other", "shape": [3], "datatype": "INT8"}
    outputs = [
        {**before, "parameters": {"binary_data_size": 3}},
        {
            "name": asked["outputs"][0]["name"],
            "shape": list(values.shape),
            "datatype": "FP32",
            "parameters": {"binary_data_size": len(blob)},
        },
    ]
    head = json.dumps({"model_name": MODEL, "outputs": outputs}).encode()
    return Reply(200, {"inference-header-content-length": str(len(head))}, head + b"\0\1\2" + blob)


def kserve_values(images: Sequence[bytes], texts: Sequence[str]) -> Row:
    if images and texts:
        return np.stack([logits(image, texts) for image in images])
    return np.stack([feature(item) for item in images or [text.encode() for text in texts]])
