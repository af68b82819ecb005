"""Endpoints that take texts, asked over real HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from craft_ray.errors import MoneySpentError, OracleError
from craft_ray.oracle.contract import ClassificationTask, FloatArray, ImageHandle, TaskHandle
from craft_ray.oracle.contract_laws import prompts_of
from craft_ray.oracle.endpoints.wire import Reply, Request
from craft_ray.oracle.gate.answer_store import AnswerStore
from craft_ray.oracle.remote.text_oracle import TextEndpointOracle
from tests.oracle.endpoints.servers import feature, image, json_reply, logits
from tests.support.asked_endpoint import endpoint, speaking, text_oracle
from tests.support.model_server import model_server

CLASSES = ("cat", "tree_frog", "hen", "ox", "owl")
TASK = ClassificationTask(CLASSES, "a photo of a {}.")
PROMPTS = prompts_of(TASK)
FILES = tuple(image(name).data for name in "abcdefg")
NOTHING = np.zeros((1, 0, 0), dtype=np.float32)

Wide = npt.NDArray[np.float64]


def asked(oracle: TextEndpointOracle, files: tuple[bytes, ...] = FILES) -> FloatArray:
    """Scores of files with the prompts of the task."""
    handle, images = oracle.register_task(TASK), oracle.register_images(files)
    scores: FloatArray = oracle.predict(handle, images, NOTHING)[0]
    return scores


def unit(rows: FloatArray) -> Wide:
    wide = rows.astype(np.float64)
    lengths: Wide = np.linalg.norm(wide, axis=1, keepdims=True)
    quotient: Wide = wide / lengths
    return quotient


def cosines(files: tuple[bytes, ...] = FILES) -> Wide:
    images = unit(np.stack([feature(file) for file in files]))
    products: Wide = images @ unit(np.stack([feature(text.encode()) for text in PROMPTS])).T
    return products


def log_softmax(files: tuple[bytes, ...] = FILES) -> Wide:
    rows = np.stack([logits(file, PROMPTS) for file in files]).astype(np.float64)
    shifted: Wide = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
    return shifted


@pytest.mark.parametrize("dialect", ["infinity", "hf_zero_shot"])
def test_whole_prompts_are_texts_like_others_and_equal_ones_are_sent_once(
    dialect: str, tmp_path: Path
) -> None:
    prompts = ("a wet owl", "a photo of a cat.", "a wet owl")  # the second is a class's own
    with model_server(speaking(dialect)) as server:
        config = endpoint(server.url, dialect)
        with text_oracle(config, tmp_path / "run") as oracle:
            task = oracle.register_task(ClassificationTask(CLASSES, TASK.template, prompts))
            scores = oracle.predict(task, oracle.register_images(FILES), NOTHING)[0]
            sent = oracle.bill.answered
    assert scores.shape == (len(FILES), task.num_classes) == (7, 8)
    np.testing.assert_array_equal(scores[:, 5], scores[:, 7])
    np.testing.assert_array_equal(scores[:, 6], scores[:, 0])
    if dialect == "infinity":
        assert sent.texts == 6
    else:
        assert sent.pairs == 6 * len(FILES)


FEATURES = ("infinity", "vllm", "nim", "jina", "cohere_v2", "vllm_cohere_v2")


@pytest.mark.parametrize("dialect", FEATURES)
def test_features_become_cosines_and_nothing_is_asked_twice(dialect: str, tmp_path: Path) -> None:
    limits = {"images": 3, "texts": 2}
    config_of = {"limits": limits, "logit_scale": 20.0}
    with model_server(speaking(dialect)) as server:
        config = endpoint(server.url, dialect, **config_of)
        with text_oracle(config, tmp_path / "run") as oracle:
            scores = asked(oracle)
            np.testing.assert_allclose(scores, 20 * cosines(), rtol=1e-5, atol=1e-5)
            images = oracle.register_images(FILES)
            features = oracle.embed_images(images)
            np.testing.assert_allclose(
                features, unit(np.stack([feature(file) for file in FILES])), atol=1e-6
            )
            np.testing.assert_allclose(
                oracle.embed_texts(PROMPTS[:2]) @ features.T * 20,
                scores[:, :2].T,
                rtol=1e-4,
                atol=1e-4,
            )
            once = len(server.requests)
            again = asked(oracle)
            bill = oracle.bill
    assert (again == scores).all()
    assert len(server.requests) == once == len(set(server.bodies))
    assert (bill.answered.images, bill.answered.texts) == (len(FILES), len(PROMPTS))
    assert bill.answered.requests == once
    assert bill.possibly.requests == 0


@pytest.mark.parametrize("limit", [1, 3])
def test_what_the_store_had_no_room_for_is_given_to_other_questions_by_its_images(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AnswerStore, "find", lambda self, keys: {})
    with model_server(speaking("infinity")) as server:
        config = endpoint(server.url, limits={"images": limit})
        with text_oracle(config, tmp_path / "run") as oracle:
            for files in (FILES, FILES[::-1], FILES[3:], FILES[4:5]):
                features = oracle.embed_images(oracle.register_images(files))
                expected = unit(np.stack([feature(file) for file in files]))
                np.testing.assert_allclose(features, expected, atol=1e-6)
        assert len(set(server.bodies)) == len(server.bodies), "the gate remembers them"


def test_parts_of_a_request_that_was_too_large_are_of_each_question_its_own(
    tmp_path: Path,
) -> None:
    """Two questions with one equal request, at other positions, at the same time."""
    serve = speaking("infinity")
    started = threading.Barrier(2, timeout=10)

    def one_at_a_time(request: Request) -> Reply:
        if len(json.loads(request.body)["input"]) > 1:
            started.wait()  # until the other question has come
            time.sleep(0.3)
            return Reply(413, {}, b"too large")
        return serve(request)

    with model_server(one_at_a_time) as server:
        config = endpoint(server.url, limits={"images": 2})
        with text_oracle(config, tmp_path / "run") as oracle, ThreadPoolExecutor(2) as pool:

            def embedded(files: tuple[bytes, ...]) -> FloatArray:
                return oracle.embed_images(oracle.register_images(files))

            sets = (FILES[:2], FILES[2:4] + FILES[:2])
            results = list(pool.map(embedded, sets))
    for files, features in zip(sets, results, strict=True):
        expected = unit(np.stack([feature(file) for file in files]))
        np.testing.assert_allclose(features, expected, atol=1e-6)


def test_what_is_declared(tmp_path: Path) -> None:
    config = endpoint("http://127.0.0.1:9", logit_scale=20.0)
    with text_oracle(config, tmp_path / "run") as oracle:
        described = oracle.describe()
        assert described.serves_features
        assert described.scale_is_known
        assert described.logit_scale == 20.0
        assert described.takes_files
    with text_oracle(endpoint("http://127.0.0.1:9"), tmp_path / "run") as oracle:
        assert not oracle.describe().scale_is_known
    with text_oracle(endpoint("http://127.0.0.1:9", "hf_zero_shot"), tmp_path / "run") as oracle:
        assert not oracle.describe().serves_features
        assert oracle.describe().scale_is_known
        with pytest.raises(OracleError, match=r"oracle.features: must be true"):
            oracle.embed_texts(["a cat"])


def test_another_scale_is_another_oracle_that_pays_for_nothing_again(tmp_path: Path) -> None:
    """Else answers and classifiers of one scale would be taken for those of the other."""
    described, scores = [], []
    with model_server(speaking("infinity")) as server:
        for scale in (20.0, 100.0, None):
            with text_oracle(endpoint(server.url, logit_scale=scale), tmp_path / "run") as oracle:
                described.append(oracle.describe())
                scores.append(asked(oracle) / (scale or 1.0))
        num_requests = len(server.requests)
    assert num_requests == len(set(server.bodies)) == 2
    np.testing.assert_allclose(scores[1:], scores[:1] * 2, rtol=1e-6)
    assert len({each.oracle_id for each in described}) == 3
    assert len({each.weights_id for each in described}) == 3


@pytest.mark.parametrize("dialect", ["hf_zero_shot", "hf_sagemaker", "hf_vertex"])
@pytest.mark.parametrize("labels", [None, 2, 3])
def test_probabilities_over_chunks_of_labels_are_joined_by_the_anchor(
    dialect: str, labels: int | None, tmp_path: Path
) -> None:
    with model_server(speaking(dialect)) as server:
        config = endpoint(server.url, dialect, limits={"labels": labels, "images": 1})
        with text_oracle(config, tmp_path / "run") as oracle:
            scores = asked(oracle)
            # The last ones are known, the others are new: the same numbers as all at once.
        with text_oracle(config, tmp_path / "other", None) as oracle:
            once = len(server.requests)
            assert (asked(oracle) == scores).all()
            assert len(server.requests) == once
    np.testing.assert_allclose(scores, log_softmax(), atol=1e-4)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, rtol=1e-5)
    assert len(set(server.bodies)) == len(server.bodies)


def test_a_part_of_the_images_may_be_known(tmp_path: Path) -> None:
    with model_server(speaking("hf_vertex")) as server:
        config = endpoint(server.url, "hf_vertex", limits={"labels": 3, "images": 3})
        with text_oracle(config, tmp_path / "one") as oracle:
            whole = asked(oracle)
        apart = config.model_copy(update={"answers_folder": str(tmp_path / "elsewhere")})
        with text_oracle(apart, tmp_path / "two") as oracle:
            some = asked(oracle, (FILES[5], FILES[1]))
            before = oracle.bill.answered
            rest = asked(oracle)
            after = oracle.bill.answered
    np.testing.assert_array_equal(rest, whole)
    np.testing.assert_array_equal(some, whole[[5, 1]])
    chunks = 2  # four labels beside the anchor, two in each
    assert before.images == 2 * chunks
    assert after.images == len(FILES) * chunks


def test_rows_parts_and_equal_images(tmp_path: Path) -> None:
    files = (*FILES, FILES[2], FILES[0])
    for dialect in ("infinity", "hf_zero_shot"):
        with model_server(speaking(dialect)) as server:
            config = endpoint(server.url, dialect)
            with text_oracle(config, tmp_path / dialect) as oracle:
                task, images = oracle.register_task(TASK), oracle.register_images(files)
                part = images.part([8, 3, 3, 7]).part([0, 2, 3])
                scores = oracle.predict(task, part, np.zeros((2, 0, 0), dtype=np.float32))
                assert oracle.num_images_encoded == 3
                whole = oracle.predict(task, images, NOTHING)
                assert oracle.num_images_encoded == len(FILES)
            assert scores.shape == (2, 3, 5)
            np.testing.assert_array_equal(scores[0], scores[1])
            np.testing.assert_array_equal(scores[0], whole[0][[8, 3, 7]])
            np.testing.assert_array_equal(whole[0][[2, 0]], whole[0][[7, 8]])


def test_equal_texts_are_asked_once(tmp_path: Path) -> None:
    with (
        model_server(speaking("infinity")) as server,
        text_oracle(endpoint(server.url), tmp_path / "run") as oracle,
    ):
        features = oracle.embed_texts(["an owl", "a hen", "an owl"])
        assert oracle.bill.answered.texts == 2
        np.testing.assert_array_equal(features[0], features[2])


def ask_of_another_task(oracle: TextEndpointOracle) -> None:
    images = oracle.register_images(FILES)
    oracle.predict(TaskHandle("0" * 64, 5, NOTHING[0]), images, NOTHING)


def ask_of_other_images(oracle: TextEndpointOracle) -> None:
    oracle.predict(oracle.register_task(TASK), ImageHandle("0" * 64, 1), NOTHING)


def ask_by_contexts(oracle: TextEndpointOracle) -> None:
    images, contexts = oracle.register_images(FILES), np.zeros((1, 2, 3), dtype=np.float32)
    oracle.predict(oracle.register_task(TASK), images, contexts)


def ask_unnormalized(oracle: TextEndpointOracle) -> None:
    images = oracle.register_images(FILES)
    oracle.predict(oracle.register_task(TASK), images, NOTHING, "unnormalized_logits")


def ask_of_other_rows(oracle: TextEndpointOracle) -> None:
    images = oracle.register_images(FILES)
    oracle.embed_images(ImageHandle(images.digest, 1, (7,)))


def register(*names: str) -> Callable[[TextEndpointOracle], object]:
    return lambda oracle: oracle.register_task(ClassificationTask(names))


def register_pixels(oracle: TextEndpointOracle) -> None:
    oracle.register_images(np.zeros((1, 3, 224, 224), dtype=np.uint8))


REFUSED: list[tuple[str, Callable[[TextEndpointOracle], object]]] = [
    (r"task: .* must be registered first", ask_of_another_task),
    (r"images: .* must be registered first", ask_of_other_images),
    (r"contexts: must be float32", ask_by_contexts),
    (r"answer: must be logits", ask_unnormalized),
    (r"images: rows must be of 0 to 6", ask_of_other_rows),
    (r"images: must be files", register_pixels),
    (r"images: must be files", lambda oracle: oracle.register_images(())),
    (r"must be different, but 'a photo of a o x.' is there twice", register("o_x", "ox", "o x")),
    (r"texts\[0\]: must have at most 30 characters", register("a name that is long", "ox")),
]


@pytest.mark.parametrize(("message", "ask"), REFUSED)
def test_what_cannot_be_asked_is_refused_and_sends_nothing(
    message: str, ask: Callable[[TextEndpointOracle], object], tmp_path: Path
) -> None:
    with model_server(speaking("infinity")) as server:
        config = endpoint(server.url, limits={"text_characters": 30})
        with (
            text_oracle(config, tmp_path / "run") as oracle,
            pytest.raises(OracleError, match=message),
        ):
            ask(oracle)
    assert not server.requests


def test_a_forgotten_set_must_be_registered_again(tmp_path: Path) -> None:
    with (
        model_server(speaking("infinity")) as server,
        text_oracle(endpoint(server.url), tmp_path / "run") as oracle,
    ):
        oracle._files._max_bytes = 20
        first = oracle.register_images(FILES, keep=False)
        second = oracle.register_images(FILES[:1])
        assert not oracle.knows(first.digest)
        assert oracle.knows(second.digest)
        with pytest.raises(OracleError, match="must be registered first"):
            oracle.embed_images(first)
        again = oracle.register_images(FILES)
        assert again == first
        assert len(oracle.embed_images(again)) == len(FILES)


def test_answers_are_shared_by_runs_and_processes(tmp_path: Path) -> None:
    with model_server(speaking("infinity")) as server:
        config = endpoint(server.url)
        with text_oracle(config, tmp_path / "runs" / "one") as oracle:
            scores = asked(oracle)
        once = len(server.requests)
        program = (
            "import sys\n"
            "from pathlib import Path\n"
            "import numpy as np\n"
            "from tests.oracle.remote.test_text_oracle import asked\n"
            "from tests.support.asked_endpoint import endpoint, text_oracle\n"
            "with text_oracle(endpoint(sys.argv[1]), Path(sys.argv[2])) as oracle:\n"
            "    np.save(sys.argv[3], asked(oracle))\n"
            "    print(oracle.bill.words())\n"
        )
        folder, found = tmp_path / "runs" / "two", tmp_path / "found.npy"
        done = subprocess.run(
            [sys.executable, "-c", program, server.url, str(folder), str(found)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        np.testing.assert_array_equal(np.load(found), scores)
        assert len(server.requests) == once
        assert done.stdout.strip() == "nothing: all answers were there"


@pytest.mark.parametrize("setting", [{"revision": "2"}, {"keep_answers": False}])
def test_another_revision_asks_anew_and_answers_need_not_be_kept(
    setting: dict[str, Any], tmp_path: Path
) -> None:
    with model_server(speaking("infinity")) as server:
        with text_oracle(endpoint(server.url, **setting), tmp_path / "runs" / "one") as oracle:
            scores = asked(oracle)
        once = len(server.requests)
        config = endpoint(server.url, keep_answers=setting.get("keep_answers", True))
        with text_oracle(config, tmp_path / "runs" / "two") as oracle:
            np.testing.assert_array_equal(asked(oracle), scores)
        assert len(server.requests) == 2 * once
    assert (tmp_path / "runs" / "answers").exists() == ("revision" in setting)


def test_an_adapter_of_ones_own(tmp_path: Path) -> None:
    def compare(request: Request) -> Reply:
        assert request.path == "/api/compare"
        document = json.loads(request.body)
        names = [float(feature(text.encode())[0]) for text in document["prompt"]]
        return json_reply({"similarity": names})

    with model_server(compare) as server:
        config = endpoint(
            f"{server.url}/api",
            "tests.oracle.endpoints.own_adapter:OwnAdapter",
            options={"labels": 2},
            prices={"request": 0.5},
            logit_scale=2.0,
        )
        with text_oracle(config, tmp_path / "run") as oracle:
            scores = asked(oracle, FILES[:2])
            assert oracle.bill.cost == 0.5 * len(server.requests) == 0.5 * 2 * 3
    expected = [2 * feature(text.encode())[0] for text in PROMPTS]
    np.testing.assert_allclose(scores, [expected] * 2, rtol=1e-6)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("output", ["scores", "features"])
def test_kserve_with_names_of_tensors(binary: bool, output: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"binary": binary, "images": "images", "texts": "texts"}
    if output == "scores":
        options |= {"scores": "out", "scores_are": "logits"}
    else:
        options |= {"image_features": "i", "text_features": "t"}
    with model_server(speaking("kserve_v2")) as server:
        config = endpoint(server.url, "kserve_v2", options=options, limits={"images": 4})
        with text_oracle(config, tmp_path / "run") as oracle:
            scores = asked(oracle)
            paths = {request.path for request in server.requests}
    assert paths == {"/v2/models/clip/infer"}
    expected = np.stack([logits(file, PROMPTS) for file in FILES])
    np.testing.assert_allclose(scores, expected if output == "scores" else cosines(), atol=1e-5)


def test_limits_of_bytes_are_kept(tmp_path: Path) -> None:
    files = tuple(image(f"{name}{'x' * 3000}").data for name in "abcdef")
    with model_server(speaking("infinity")) as server:
        config = endpoint(server.url, limits={"bytes": 14_000})
        with text_oracle(config, tmp_path / "run") as oracle:
            asked(oracle, files)
        assert max(len(body) for body in server.bodies) <= 14_000
        assert len(server.requests) > 2
        too_large = image("y" * 9000).data
        config = endpoint(server.url, limits={"bytes": 9_000})
        with (
            text_oracle(config, tmp_path / "run") as oracle,
            pytest.raises(OracleError, match=r"oracle.limits.bytes = 9000"),
        ):
            asked(oracle, (too_large,))


def test_money_bounds_what_is_sent_and_more_continues(tmp_path: Path) -> None:
    with model_server(speaking("infinity")) as server:
        config = endpoint(
            server.url, limits={"images": 1, "concurrency": 1}, prices={"image": 0.25}
        )
        with text_oracle(config, tmp_path / "run", max_cost=1.0) as oracle:
            with pytest.raises(MoneySpentError, match="continue with --resume and a larger"):
                asked(oracle)
            assert oracle.bill.cost == 1.0
        sent = len(server.requests)
        assert sent == 4
        with text_oracle(config, tmp_path / "run", max_cost=2.0) as oracle:
            np.testing.assert_allclose(asked(oracle), cosines(), atol=1e-6)
            assert oracle.bill.cost == 0.25 * len(FILES)
        assert len(set(server.bodies)) == len(server.requests) == len(FILES) + 1


def test_a_refusal_ends_the_question_with_the_servers_words(tmp_path: Path) -> None:
    def refuse(request: Request) -> Reply:
        said = f"no key {request.headers.get('Authorization')}"
        return Reply(401, {}, json.dumps({"error": said}).encode())

    with (
        model_server(refuse) as server,
        text_oracle(endpoint(server.url), tmp_path / "run") as oracle,
    ):
        with pytest.raises(OracleError, match=r"status 401: no key.*api_key_env"):
            asked(oracle)
        assert oracle.bill.refused >= 1
        assert oracle.bill.answered.requests == 0
