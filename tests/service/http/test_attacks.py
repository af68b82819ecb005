"""What strangers send to do harm is refused in words, costs nobody anything, and shows nothing."""

from __future__ import annotations

import hashlib
import json
import struct
import time
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from craft_ray.oracle.endpoints.tensor_body import MEDIA_TYPE, pack
from tests.service.http.conftest import OneAtATime
from tests.service.http.test_protocol import PICTURES, TASK, ask, digest_of, question, register
from tests.service.meter.world import add_key
from tests.support.examples import half

Start = Callable[..., TestClient]


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png(width: int, height: int, *more: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(more) + data + chunk(b"IEND", b"")


def gif(width: int, height: int, frame: tuple[int, int] = (1, 1)) -> bytes:
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0" * 6
    image = b"\x2c" + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x4c\x01\x00"
    return b"GIF89a" + screen + image + b"\x3b"


def webp(width: int, height: int) -> bytes:
    """Whose head says another size than its picture has."""
    buffer = BytesIO()
    Image.new("RGBA", (4, 4)).save(buffer, format="WEBP", lossless=True)
    picture = buffer.getvalue()[12:]
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    extended = b"VP8X" + struct.pack("<I", 10) + b"\x10\0\0\0" + size
    body = b"WEBP" + extended + picture
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg(width: int, height: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, format="JPEG")
    data = bytearray(buffer.getvalue())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def tiff(width: int, height: int) -> bytes:
    buffer = BytesIO()
    Image.new("1", (width, height)).save(buffer, format="TIFF", compression="group4")
    return buffer.getvalue()


BOMBS = {
    "png": png(60_000, 60_000),
    "png of a line": png(2_000_000_000, 1),
    "png with text": png(8, 8, chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 50_000_000))),
    "png with a profile": png(8, 8, chunk(b"iCCP", b"a\0\0" + zlib.compress(b"\0" * 50_000_000))),
    "gif": gif(65_535, 65_535),
    "gif of a large frame": gif(1, 1, (65_535, 65_535)),
    "webp": webp(16_383, 16_383),
    "webp beyond its kind": webp(2**24, 2**24),
    "jpeg": jpeg(65_500, 65_500),
    "tiff": tiff(9_000, 9_000),
    "ppm": b"P6 100000 100000 255\n" + b"\0" * 100,
    "bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 60, 0, 0, 54, 40, 90000, 90000, 1, 24, *[0] * 6),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_decompression_bombs(service: Start, kind: str) -> None:
    data, process = BOMBS[kind], psutil.Process()
    client = service()
    before, started_s = process.memory_info().rss, time.monotonic()
    reply = client.put(f"/v1/images/{digest_of(data)}", content=data)
    assert reply.status_code == 422, reply.text
    assert reply.json()["code"] in ("image_too_large", "bad_image")
    assert process.memory_info().rss - before < 100e6
    assert time.monotonic() - started_s < 10


def header(text: bytes, told: int | None = None) -> bytes:
    return (len(text) if told is None else told).to_bytes(8, "little") + text


def document(text: str) -> bytes:
    return header(json.dumps({"__metadata__": {"craft-ray": text}}).encode())


BODIES = {
    "no length": b"\1\2\3",
    "a huge length": header(b"{}", 2**63),
    "a length beyond the body": header(b"{}", 1000),
    "deep": header(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "a deep list": header(b"[" * 200_000 + b"]" * 200_000),
    "a deep document": document("[" * 200_000 + "]" * 200_000),
    "a list": document('["protocol"]'),
    "a number": document("1"),
    "no json": document("{"),
    "a huge number": document('{"protocol": "craft-ray/1", "task": ' + "9" * 5000 + "}"),
    "another version": document('{"protocol": "craft-ray/2"}'),
    "no document": header(b"{}"),
    "a hole": header(b'{"contexts":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}')
    + b"\0" * 12,
    "too many": header(
        b'{"a":{"dtype":"F32","shape":[99999999999,99999999999],"data_offsets":[0,4]}}'
    )
    + b"\0" * 4,
    "bfloat": header(
        b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},"__metadata__":{"craft-ray":"{}"}}'
    )
    + b"\0" * 4,
    "html": b"<!DOCTYPE html><html>",
    "gzip": b"\x1f\x8b\x08" + b"\0" * 50,
    "pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
}


@pytest.mark.parametrize("kind", BODIES)
def test_bodies_that_are_none(service: Start, kind: str) -> None:
    client = service()
    reply = ask(client, BODIES[kind])
    assert (reply.status_code, reply.json()["code"]) == (400, "bad_body"), reply.text
    assert client.get("/v1/usage").json()["pairs"] == 0


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)
DTYPES = st.sampled_from([np.float32, np.float64, np.float16, np.int64, np.uint8])
SHAPES = npst.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)
ANY_ARRAY = npst.arrays(DTYPES, SHAPES, elements=st.integers(0, 3))
REDUCTIONS = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["prompt_loss", "linear_head_error"]) | JUNK,
        "consistency": st.floats(0, 1) | JUNK,
        "has_head": st.booleans() | JUNK,
        "num_classes": st.integers(-1, 4) | JUNK,
    },
)


@st.composite
def almost_questions(draw: st.DrawFn, own: np.ndarray[Any, Any], images: list[str]) -> bytes:
    """With one or two faults."""
    count = draw(st.integers(1, 3))
    contexts = np.repeat(own, count, axis=0)
    arrays = {
        "contexts": draw(st.just(contexts) | st.just(contexts * 1e38) | ANY_ARRAY),
        "labels": draw(st.just(np.arange(3)) | npst.arrays(np.int64, SHAPES) | ANY_ARRAY),
        "known": draw(st.just(np.zeros((3, 1), np.float32)) | ANY_ARRAY),
        **draw(st.dictionaries(st.sampled_from(["head.enter.weight", "x"]), ANY_ARRAY)),
    }
    dropped = draw(st.sampled_from([None, None, *arrays]))
    told = {
        "task": draw(st.just(TASK.digest) | JUNK),
        "images": draw(st.just(images) | st.just(images * 2) | JUNK),
        "answer": draw(st.just("logits") | JUNK),
        "reduction": draw(REDUCTIONS | JUNK),
    }
    kept = {name: np.asarray(array) for name, array in arrays.items() if name != dropped}
    return pack(kept, told)


@pytest.mark.parametrize("route", ["predict", "score"])
def test_no_question_is_a_defect(service: Start, embedded: OneAtATime, route: str) -> None:
    client = service()
    images = register(client)
    own = embedded.register_task(TASK).initial_context[None]
    numbers = iter(range(10**6))
    charged = 0

    @settings(
        half,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(body=almost_questions(own, images))
    def ask_it(body: bytes) -> None:
        nonlocal charged
        with np.errstate(all="ignore"):
            reply = ask(client, body, f"key-{next(numbers)}", route)
        assert reply.status_code in (200, 400, 404, 413, 422), reply.text
        charged += int(reply.headers.get("x-craft-spent", 0))

    ask_it()
    assert client.get("/v1/usage").json()["pairs"] == charged


def test_names_are_no_paths(service: Start, tmp_path: Path, embedded: OneAtATime) -> None:
    (tmp_path / "secret").write_bytes(b"{}")
    client = service()
    images = register(client)
    own = embedded.register_task(TASK).initial_context[None]
    for name in (
        "../../secret",
        "..",
        "/etc/passwd",
        "0" * 63 + "/",
        "\0" * 64,
        "\u0660" * 64,
        "A" * 64,
    ):
        for told in ({"task": name, "images": images}, {"task": TASK.digest, "images": [name]}):
            reply = ask(client, pack({"contexts": own}, told))
            assert (reply.status_code, reply.json()["code"]) == (422, "bad_digest"), reply.text
    for path in ("..%2f..%2fsecret", "%00" * 64, "../../../secret", "%2e%2e/%2e%2e/secret"):
        assert client.put(f"/v1/images/{path}", content=b"{}").status_code in (404, 405, 422)
    written = {path.name for path in (tmp_path / "service").rglob("*") if path.is_file()}
    assert written == {TASK.digest, *images}


@pytest.mark.parametrize(
    "key", ["a\r\nX-Craft-Spent: 0", "a\nb", "a\0b", "é" * 10, "x" * 256, '""', "   ", "\x7f"]
)
def test_what_an_idempotency_key_may_not_be(service: Start, key: str) -> None:
    client = service()
    headers = {"Content-Type": MEDIA_TYPE, "Idempotency-Key": key.encode()}
    reply = client.post("/v1/predict", content=b"", headers=headers)  # type: ignore[arg-type]
    assert reply.status_code == 400
    assert reply.json()["code"] in ("no_idempotency_key", "bad_idempotency_key")
    assert "x-craft-spent" not in reply.headers


def test_lengths_that_are_none(service: Start) -> None:
    client = service()
    for told in ("9" * 5000, "-1", "1e3", "²", "0x10", ""):
        headers = {"Content-Length": told.encode(), "Content-Type": "application/json"}
        reply = client.post("/v1/tasks", content=b"{}", headers=headers)  # type: ignore[arg-type]
        assert reply.status_code in (413, 422), (told, reply.text)


@pytest.mark.parametrize("template", ["{} {0}", "{}{", "a {} of {x}", "{}}", "%s {}"])
def test_templates_are_no_formats(service: Start, template: str) -> None:
    client = service()
    told = {"class_names": ["a {} cat", "{0}"], "template": template}
    assert client.post("/v1/tasks", json=told).status_code in (200, 422)


def both(tmp_path: Path) -> tuple[Path, dict[str, str], dict[str, str]]:
    keys = tmp_path / "keys.db"
    ada, bob = ({"Authorization": f"Bearer {add_key(keys, name)[1]}"} for name in ("Ada", "Bob"))
    return keys, ada, bob


def test_what_is_anothers_is_told_as_what_is_not(
    service: Start, tmp_path: Path, embedded: OneAtATime
) -> None:
    keys, ada, bob = both(tmp_path)
    client = service(keys)
    images = register(client, headers=ada)
    own = embedded.register_task(TASK).initial_context[None]
    assert ask(client, question(images, own), "adas", **ada).status_code == 200
    nothing = hashlib.sha256(b"nothing").hexdigest()

    def refusal(task: str, of: list[str]) -> tuple[int, dict[str, Any]]:
        body = pack({"contexts": own}, {"task": task, "images": of})
        reply = ask(client, body, "adas", **bob)
        told = reply.json()
        told["detail"] = told["detail"].replace(task[:12], "#").replace(of[0][:12], "#")
        return reply.status_code, told

    assert refusal(TASK.digest, images) == refusal(nothing, images)
    document = {"class_names": list(TASK.class_names), "template": TASK.template}
    assert client.post("/v1/tasks", json=document, headers=bob).status_code == 200
    assert refusal(TASK.digest, images) == refusal(TASK.digest, [nothing])
    assert refusal(TASK.digest, images)[0] == 404
    assert client.get("/v1/usage", headers=bob).json()["pairs"] == 0


def test_registrations_are_bounded(service: Start, tmp_path: Path) -> None:
    client = service(bounds={"images_per_key": 2, "tasks_per_key": 2})
    for number in range(5):
        told = {"class_names": [f"class {number}"], "template": "a {}"}
        assert client.post("/v1/tasks", json=told).status_code == 200
    for data in PICTURES:
        assert client.put(f"/v1/images/{digest_of(data)}", content=data).status_code == 201
    kept = [path for path in (tmp_path / "service").rglob("*") if path.is_file()]
    assert len([path for path in kept if "images" in path.parts]) == 2
    assert len([path for path in kept if "tasks" in path.parts]) == 2
