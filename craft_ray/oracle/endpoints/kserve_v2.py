"""Any model behind the Open Inference protocol (KServe V2): Triton, MLServer, OpenVINO and others.

The protocol says how tensors travel, not which ones: their names come from the settings. Images
travel as bytes of their files, texts as UTF-8, both of datatype BYTES; numbers come back as FP16,
FP32 or FP64. With `binary`, tensors follow the JSON as they are, which saves a third of the bytes.
"""

from __future__ import annotations

import base64
import json
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from craft_ray.errors import OracleError
from craft_ray.oracle.endpoints.adapter import json_request
from craft_ray.oracle.endpoints.capabilities import (
    FULL_SCORES,
    NO_LIMITS,
    Capabilities,
    Limits,
    Price,
    Served,
)
from craft_ray.oracle.endpoints.failures import Verdict, classify_status
from craft_ray.oracle.endpoints.parsing import check_model, entry, features, json_of_bytes, matrix
from craft_ray.oracle.endpoints.wire import (
    Answer,
    AnswerError,
    Part,
    Question,
    Reply,
    Request,
    units_of,
)

_JSON_LENGTH = "Inference-Header-Content-Length"
_DATATYPES = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
_LIMITS = Limits(images=1, bytes=64_000_000)


@dataclass(frozen=True)
class KServeV2:
    """The adapter.

    Attributes:
        model: as the server names it.
        version: of the model. None: the server's choice.
        images: name of the input tensor of images. None: the model takes none.
        texts: name of the input tensor of texts. None: the model takes none.
        scores: name of the output tensor [images, texts]. None: the model has none.
        scores_are: what they are.
        image_features: name of the output tensor [images, F]. None: the model has none.
        text_features: name of the output tensor [texts, F]. None: the model has none.
        binary: whether the server knows the extension for binary tensors (Triton, MLServer).
        column: whether inputs have the shape [n, 1], as Triton wants where it batches itself.
        limits: one image a request unless more are declared; Triton takes 64 MB a body.
        prices: of the endpoint.
    """

    model: str
    version: str | None = None
    images: str | None = "images"
    texts: str | None = "texts"
    scores: str | None = None
    scores_are: Served = "logits"
    image_features: str | None = None
    text_features: str | None = None
    binary: bool = False
    column: bool = False
    limits: Limits = NO_LIMITS
    prices: tuple[Price, ...] = ()

    def __post_init__(self) -> None:
        if self.scores_are not in FULL_SCORES:
            raise OracleError(
                f"oracle.options.scores_are: must be one of {', '.join(sorted(FULL_SCORES))}, but "
                f"got {self.scores_are}"
            )
        if not (self.scores or self.image_features or self.text_features):
            raise OracleError(
                "oracle.options: must have the name of an output tensor in scores, image_features "
                "or text_features for dialect kserve_v2, but has none"
            )

    def capabilities(self) -> Capabilities:
        outputs: dict[Served, str | None] = {
            self.scores_are: self.scores,
            "image_features": self.image_features,
            "text_features": self.text_features,
        }
        return Capabilities(
            prompts=frozenset({"text"} if self.texts else {"fixed"}),
            answers=frozenset(served for served, name in outputs.items() if name),
            joint_over_labels=bool(self.scores) and self.scores_are == "probabilities",
            limits=self.limits.or_else(_LIMITS),
            prices=self.prices,
        )

    def encode(self, question: Question, part: Part) -> Request:
        output = self._output(question, part)
        texts = [question.texts[row].encode() for row in part.texts]
        images = [question.images[row].data for row in part.images]
        # A model without an input for texts scores its own classes; they are only named here.
        tensors = {self.images: images, self.texts: texts}
        inputs = {name: items for name, items in tensors.items() if name and items}
        if not self.binary:
            documents = [
                self._input(name, items, {"data": _as_text(items, name == self.images)})
                for name, items in inputs.items()
            ]
            return json_request(
                self._path, {"inputs": documents, "outputs": [{"name": output}]}, part
            )
        blobs = {
            name: b"".join(struct.pack("<I", len(item)) + item for item in items)
            for name, items in inputs.items()
        }
        document = {
            "inputs": [
                self._input(name, items, {"parameters": {"binary_data_size": len(blobs[name])}})
                for name, items in inputs.items()
            ],
            "outputs": [{"name": output, "parameters": {"binary_data": True}}],
        }
        head = json.dumps(document, separators=(",", ":")).encode("ascii")
        headers = {"Content-Type": "application/octet-stream", _JSON_LENGTH: str(len(head))}
        body = head + b"".join(blobs.values())
        return Request("POST", self._path, headers, body, part, units_of(part))

    def decode(self, question: Question, request: Request, reply: Reply) -> Answer:
        head, rest = _split(reply)
        document = json_of_bytes(head)
        check_model(self.model, document, "model_name")
        part, name = request.part, self._output(question, request.part)
        values = _tensor(entry(document, "outputs", list), name, rest)
        if values.ndim != 2:
            raise AnswerError(f"{name}: must be of 2 dimensions, but is {list(values.shape)}")
        rows = list(values)
        if question.is_scores:
            return Answer(part, matrix(rows, len(part.images), len(part.texts), name))
        return Answer(part, features(rows, len(part.images or part.texts)))

    def classify(self, request: Request, reply: Reply, now: float) -> Verdict | None:
        return classify_status(request, reply, now)

    @property
    def _path(self) -> str:
        version = "" if self.version is None else f"/versions/{self.version}"
        return f"/v2/models/{self.model}{version}/infer"

    def _output(self, question: Question, part: Part) -> str:
        """Name of the tensor that answers a question."""
        if question.is_scores:
            field, name = "scores", self.scores
        elif part.images:
            field, name = "image_features", self.image_features
        else:
            field, name = "text_features", self.text_features
        if name is None:
            raise OracleError(
                f"oracle.options.{field}: must name the output tensor for such a question, but is "
                "not given"
            )
        return name

    def _input(self, name: str, items: Sequence[bytes], more: dict[str, Any]) -> dict[str, Any]:
        shape = [len(items), 1] if self.column else [len(items)]
        parameters: dict[str, Any] = more.get("parameters", {})
        if "data" in more and name == self.images:
            parameters = {"content_type": "base64"}
        document = {"name": name, "shape": shape, "datatype": "BYTES", **more}
        return {**document, "parameters": parameters} if parameters else document


def _as_text(items: Sequence[bytes], is_files: bool) -> list[str]:
    if is_files:
        return [base64.b64encode(item).decode("ascii") for item in items]
    return [item.decode() for item in items]


def _split(reply: Reply) -> tuple[bytes, bytes]:
    """JSON, and the tensors that follow it."""
    length = reply.header(_JSON_LENGTH)
    if length is None:
        return reply.body, b""
    if not re.fullmatch(r"\d{1,12}", length.strip(), re.ASCII) or int(length) > len(reply.body):
        raise AnswerError(
            f"{_JSON_LENGTH}: must be at most the body's {len(reply.body)} bytes, but is "
            f"{length[:20]}",
            again=True,
        )
    return reply.body[: int(length)], reply.body[int(length) :]


def _tensor(outputs: Sequence[Any], name: str, rest: bytes) -> npt.NDArray[Any]:
    """The output of that name."""
    start, found = 0, None
    for output in outputs:
        parameters = output.get("parameters") if isinstance(output, dict) else None
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        blob = rest[start : start + size] if isinstance(size, int) and size >= 0 else None
        if isinstance(output, dict) and output.get("name") == name:
            found = output, blob, size
        start += 0 if blob is None else len(blob)
    if found is None:
        names = [output.get("name") for output in outputs if isinstance(output, dict)]
        raise AnswerError(f"outputs: must have {name!r}, but have {names}")
    output, blob, size = found
    shape = entry(output, "shape", list)
    datatype = _DATATYPES.get(str(output.get("datatype")))
    if datatype is None or not all(type(side) is int and side >= 0 for side in shape):
        raise AnswerError(
            f"{name}: must be of {', '.join(_DATATYPES)} and a shape of numbers, but is "
            f"{output.get('datatype')} {shape}"
        )
    num_entries = math.prod(shape)
    if blob is None:
        flat = _numbers(entry(output, "data", list), name)
    elif len(blob) != size or size != num_entries * np.dtype(datatype).itemsize:
        raise AnswerError(
            f"{name}: {shape} of {output['datatype']} must have "
            f"{num_entries * np.dtype(datatype).itemsize} bytes, but {len(blob)} of {size} came",
            again=len(blob) != size,
        )
    else:
        flat = np.frombuffer(blob, dtype=datatype)
    if flat.size != num_entries:
        raise AnswerError(f"{name}: {shape} must have {num_entries} numbers, but has {flat.size}")
    return flat.reshape(shape)


def _numbers(data: list[Any], name: str) -> npt.NDArray[Any]:
    """Of lists in lists, or of one list of all: the protocol allows both."""
    while data and all(isinstance(item, list) for item in data):
        data = [number for item in data for number in item]
    try:
        flat = np.asarray(data)
    except (ValueError, OverflowError):
        flat = np.empty(0, dtype=object)
    if flat.dtype.kind not in "iuf" or flat.ndim != 1:
        raise AnswerError(f"{name}: must have numbers, but has {flat.dtype}")
    return flat
