"""craft-ray as a scikit-learn classifier."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from craft_ray import CraftClassifier
from craft_ray.config.given import given_run
from craft_ray.config.oracle import OracleConfig
from craft_ray.config.run import RunConfig
from craft_ray.data.dataset import Item
from craft_ray.data.decoding import AS_SEEN
from craft_ray.errors import ArtifactError, ConfigError, DataError, OracleError
from craft_ray.oracle.contract import OracleDescription
from craft_ray.task.preparation import load_data
from tests.support.fake_oracle import FakeOracle
from tests.support.feature_oracle import FakeFeatureOracle
from tests.support.images import noise
from tests.support.known import known
from tests.support.world import CLASS_NAMES, world_data

DATASET = world_data(shots=12, num_validation=1, num_test=6).dataset
SMALL = {"head.names": 5, "data.views": 1, "head.folds": 2}


def pictures(items: Any) -> list[Image.Image]:
    return [Image.open(io.BytesIO(item.read())).convert("RGB") for item in items]


def names(items: Any) -> list[str]:
    return [CLASS_NAMES[item.label] for item in items]


TRAIN: list[Item] = list(DATASET.splits["train"])
TEST: list[Item] = list(DATASET.splits["test"])


def fitted(**options: Any) -> CraftClassifier:
    classifier = CraftClassifier(oracle=FakeOracle(), settings=SMALL, **options)
    return classifier.fit(pictures(TRAIN), names(TRAIN))


@pytest.fixture(scope="module")
def classifier() -> CraftClassifier:
    return fitted()


def test_what_it_is_fitted_on_is_turned_and_that_is_remembered(
    classifier: CraftClassifier,
) -> None:
    assert classifier.artifact_.decoding == AS_SEEN


def test_it_learns_and_keeps_to_the_conventions(classifier: CraftClassifier) -> None:
    assert classifier.classes_.tolist() == sorted(CLASS_NAMES)
    images, labels = pictures(TEST), names(TEST)
    probabilities = classifier.predict_proba(images)
    assert probabilities.shape == (len(images), len(CLASS_NAMES))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    predicted = classifier.predict(images)
    assert (classifier.classes_[probabilities.argmax(axis=1)] == predicted).all()
    assert classifier.score(images, labels) > classifier.zero_shot_score_
    assert known(classifier.validation_score_) >= known(classifier.zero_shot_score_)
    assert classifier.spent_.candidate_queries == 1
    again = clone(classifier)
    assert again.get_params()["settings"] == SMALL
    with pytest.raises(NotFittedError):
        again.predict(images)


@pytest.mark.parametrize("cosines", [False, True])
def test_an_oracle_of_ones_own_may_give_features_and_have_no_temperature(
    tmp_path: Path, cosines: bool
) -> None:
    oracle = FakeFeatureOracle(cosines=cosines)
    settings = {"head.kind": "features", "oracle.features": True, "data.views": 1}
    classifier = CraftClassifier(oracle=oracle, settings=settings)
    classifier.fit(pictures(TRAIN), names(TRAIN))
    images = pictures(TEST)
    assert classifier.score(images, names(TEST)) > classifier.zero_shot_score_
    artifact = classifier.artifact_
    assert artifact.classifier.kind == "features"
    assert (artifact.logit_scale == 1.0) == (not cosines)
    assert classifier.spent_.candidate_queries == 1
    classifier.save(tmp_path / "best")
    oracle.images_embedded = oracle.texts_embedded = 0
    loaded = CraftClassifier.load(tmp_path / "best", oracle=oracle)
    np.testing.assert_array_equal(loaded.predict(images), classifier.predict(images))
    assert (oracle.images_embedded, oracle.texts_embedded) == (2 * len(images), 0)


def test_where_nothing_can_be_saved_is_the_users_to_mend(
    classifier: CraftClassifier, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=r"folder: must be a folder .*file"):
            classifier.save(folder)


def test_whatever_images_are_given_as_they_are_the_same(
    classifier: CraftClassifier, tmp_path: Path
) -> None:
    paths = []
    for number, item in enumerate(TEST):
        path = tmp_path / f"{number:03}.png"
        path.write_bytes(item.read())
        paths.append(path)
    array = np.stack([np.asarray(image) for image in pictures(TEST)])
    expected = classifier.predict_proba(pictures(TEST))
    for images in (array, paths, [str(path) for path in paths], tmp_path, str(tmp_path)):
        np.testing.assert_allclose(classifier.predict_proba(images), expected, atol=1e-6)


def test_a_folder_of_class_folders_needs_no_labels(
    classifier: CraftClassifier, tmp_path: Path
) -> None:
    for number, item in enumerate(sorted(TRAIN, key=lambda each: CLASS_NAMES[each.label])):
        path = tmp_path / CLASS_NAMES[item.label] / f"{number:03}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(item.read())
    other = CraftClassifier(oracle=FakeOracle(), settings=SMALL).fit(tmp_path)
    np.testing.assert_allclose(
        other.predict_proba(pictures(TEST)), classifier.predict_proba(pictures(TEST)), atol=1e-5
    )


def test_labels_may_be_numbers_and_a_seed_fixes_the_fit() -> None:
    labels = np.array([item.label for item in TRAIN])
    fits = [
        CraftClassifier(oracle=FakeOracle(), settings=SMALL, seed=seed).fit(pictures(TRAIN), labels)
        for seed in (1, 1, 2)
    ]
    first, same, other = (fit.predict_proba(pictures(TEST)) for fit in fits)
    assert fits[0].predict(pictures(TEST)).dtype == labels.dtype
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_what_was_saved_predicts_the_same(classifier: CraftClassifier, tmp_path: Path) -> None:
    classifier.save(tmp_path / "best")
    loaded = CraftClassifier.load(tmp_path / "best", oracle=FakeOracle())
    np.testing.assert_allclose(
        loaded.predict_proba(pictures(TEST)), classifier.predict_proba(pictures(TEST)), atol=1e-6
    )
    with pytest.raises(ArtifactError, match="oracle_id"):
        CraftClassifier.load(tmp_path / "best", oracle=FakeOracle(seed=1))
    with pytest.raises(ConfigError, match=r"oracle\.model"):  # an object has no name to load it by
        CraftClassifier.load(tmp_path / "best")


def test_mistakes_are_named(tmp_path: Path) -> None:
    images, labels = pictures(TRAIN), names(TRAIN)
    for X, y, message in (
        (images, labels[:-1], "y: must have a label an image"),
        (images, None, "y: must be given"),
        (images, ["cat"] * len(images), "at least 2 classes"),
        (np.zeros((4, 8, 8), np.uint8), labels[:4], r"X: must be uint8 \[N, H, W, 3\]"),
        (np.zeros((4, 8, 8, 3)), labels[:4], "but got float64"),
        ([1, 2], ["cat", "dog"], r"X\[0\]: must be a path or an image"),
        ([], [], "at least one image"),
        (np.zeros((2, 0, 8, 3), np.uint8), ["cat", "dog"], r"X\[0\]: .* it has no pixels"),
        ([Image.new("F", (8, 8))] * 2, ["cat", "dog"], r"X\[0\]: .* its mode is F"),
        (None, ["cat", "dog"], "X: must be images or paths, but is NoneType"),
        (7, ["cat", "dog"], "X: must be images or paths, but is int"),
        ([*images[:3]], ["cat", "cat", "dog"], "each class must have at least two images"),
    ):
        with pytest.raises(DataError, match=message):
            CraftClassifier(oracle=FakeOracle(), settings=SMALL).fit(X, y)
    for options, message in (
        ({"validation_share": 1.0}, "validation_share: 0 <= share < 1"),
        ({"validation_share": "half"}, "validation_share: 0 <= share < 1"),
        ({"seed": -1}, "seed: must be a whole number of at least 0, but got -1"),
        ({"seed": 1.5}, "seed: must be a whole number"),
        ({"seed": None}, "seed: must be a whole number"),
        ({"settings": ["head.names=3"]}, "settings: must be a mapping such as .*, but is list"),
        ({"settings": {"head.nmes": 3}}, "did you mean names"),
    ):
        with pytest.raises(ConfigError, match=message):
            CraftClassifier(oracle=FakeOracle(), **options).fit(images, labels)
    with pytest.raises(ConfigError, match="oracle: must be a model's name or a client of one"):
        CraftClassifier(oracle=5).fit(images, labels)  # type: ignore[arg-type]
    for number in range(4):
        path = tmp_path / "tree" / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        images[number].save(path)
    (tmp_path / "tree" / "empty").mkdir()
    with pytest.raises(DataError, match="class 'empty' must have at least two images, but has no"):
        CraftClassifier(oracle=FakeOracle(), settings=SMALL).fit(tmp_path / "tree")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken\.png"):
        fitted().predict([broken])


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"data.shots": 0}, "data.shots must not be 0: X has the images"),
        ({"data.shots": "all", "data.more_classes": ["hat"]}, "data.more_classes must not be"),
        ({"data.classes": "base"}, "data.classes must not be 'base': y has the classes"),
        ({"data.validation": "few_shot"}, "validation_share says which images are for validation"),
        ({"data.unlabelled": "rest"}, "data.unlabelled must not be 'rest': name a folder"),
        ({"data.source.kind": "folder", "data.source.root": "x"}, "data.source must not be"),
    ],
)
def test_settings_of_other_images_are_refused_and_not_passed_over(
    settings: dict[str, Any], problem: str
) -> None:
    classifier = CraftClassifier(FakeOracle(), settings={**SMALL, **settings})
    with pytest.raises(ConfigError, match=problem):
        classifier.fit(pictures(TRAIN), names(TRAIN))


def test_a_search_refuses_them_before_ray_is_started() -> None:
    classifier = CraftClassifier(search=2, settings={"data.classes": "base"})
    with pytest.raises(ConfigError, match="must not be 'base': y has the classes"):
        classifier.fit(pictures(TRAIN), names(TRAIN))


def test_it_learns_from_a_folder_of_images_without_labels(tmp_path: Path) -> None:
    for number, picture in enumerate(pictures([*TEST, *TRAIN])):
        picture.save(tmp_path / f"{number}.png")
    settings = {**SMALL, "data.unlabelled": str(tmp_path)}
    classifier = CraftClassifier(FakeOracle(), settings=settings)
    classifier.fit(pictures(TRAIN), names(TRAIN))
    asked = fitted().spent_.head_predictions + len(TEST) + len(TRAIN)
    assert classifier.spent_.head_predictions == asked


def test_paths_may_be_an_array(classifier: CraftClassifier, tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{number}.png") for number in range(3)]
    for path, item in zip(paths, TEST, strict=False):
        Path(path).write_bytes(item.read())
    for array in (np.array(paths), np.array(paths, object)):
        assert classifier.predict(array).tolist() == classifier.predict(paths).tolist()


def test_an_image_of_pillow_is_read_as_its_file_is(
    classifier: CraftClassifier, tmp_path: Path
) -> None:
    grey = np.random.default_rng(0).integers(0, 2**16, (64, 64), dtype=np.uint16)
    path = tmp_path / "16bit.png"
    Image.fromarray(grey).save(path)
    from_path = classifier.predict_proba([path])
    np.testing.assert_array_equal(classifier.predict_proba([Image.open(path)]), from_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.png"
    noise(64, 32).save(path, exif=exif)
    from_path = classifier.predict_proba([path])
    np.testing.assert_array_equal(classifier.predict_proba([Image.open(path)]), from_path)
    cut = tmp_path / "cut.png"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with Image.open(cut) as image, pytest.raises(DataError, match=r"X\[0\]: must be a readable"):
        classifier.predict([image])


@pytest.mark.parametrize(
    "words", ["from craft_ray import CraftClassifier", "import craft_ray.estimator.mlflow_loader"]
)
def test_threads_of_torch_sleep_while_they_wait(words: str) -> None:
    """On a machine with other work a fit took seven times as long while they span."""
    code = f"{words}; import os; print(os.environ['OMP_WAIT_POLICY'])"
    environment = {name: each for name, each in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.stdout == "PASSIVE\n", done.stderr


def test_importing_the_package_loads_nothing() -> None:
    code = "import sys, craft_ray; print('torch' in sys.modules, 'sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False False\n"


def test_a_model_is_named_with_its_weights() -> None:
    cases: tuple[tuple[dict[str, Any], tuple[str, str | None]], ...] = (
        ({}, ("embedded", None)),
        ({"oracle": "ViT-B-32/openai"}, ("ViT-B-32", "openai")),
        ({"oracle": "ViT-B-32//data/w.pt"}, ("ViT-B-32", "/data/w.pt")),
        ({"oracle": "ViT-B-32", "pretrained": "openai"}, ("ViT-B-32", "openai")),
        ({"oracle": "local-dir:/data/mine"}, ("local-dir:/data/mine", None)),
    )
    for arguments, expected in cases:
        settings = CraftClassifier(**arguments)._settings()
        assert (settings["oracle.model"], settings["oracle.pretrained"]) == expected
    with pytest.raises(ConfigError, match="pretrained: must be None when oracle names the weights"):
        CraftClassifier("ViT-B-32/openai", pretrained="openai").fit(pictures(TRAIN), names(TRAIN))
    with pytest.raises(ConfigError, match="search: must be None when oracle is an object"):
        CraftClassifier(FakeOracle(), search=2).fit(pictures(TRAIN), names(TRAIN))
    with pytest.raises(OracleError, match=r"^oracle\.pretrained: must be .* 'no-such-tag'$"):
        CraftClassifier("ViT-B-32/no-such-tag").fit(pictures(TRAIN), names(TRAIN))


def test_a_copy_travels_without_the_model(classifier: CraftClassifier) -> None:
    expected = classifier.predict_proba(pictures(TEST))
    before = pickle.dumps(classifier)
    assert "_predictor" not in classifier.__getstate__()
    copied = pickle.loads(before)
    np.testing.assert_allclose(copied.predict_proba(pictures(TEST)), expected, atol=1e-6)
    assert copied.validation_score_ == classifier.validation_score_


def test_what_was_saved_says_how_good_it_is(classifier: CraftClassifier, tmp_path: Path) -> None:
    classifier.save(tmp_path / "best")
    loaded = CraftClassifier.load(tmp_path, oracle=FakeOracle())
    assert loaded.validation_score_ == classifier.validation_score_
    assert loaded.zero_shot_score_ == classifier.zero_shot_score_
    about = loaded.artifact_.about
    assert about is not None
    assert about.test is None, "nobody gave test images"
    assert about.source == "", "an object has no name"
    assert about.candidate_queries == 1


def test_another_precision_is_told_and_another_place_of_the_weights_named(
    classifier: CraftClassifier, tmp_path: Path
) -> None:
    class InAnotherPrecision(FakeOracle):
        def describe(self) -> OracleDescription:
            return replace(super().describe(), oracle_id="other", weights_id="same")

    replace(classifier.artifact_, weights_id="same").save(tmp_path)
    with pytest.warns(UserWarning, match="another precision"):
        CraftClassifier.load(tmp_path, oracle=InAnotherPrecision())
    gone = OracleConfig(model="ViT-B-32", pretrained="/moved/weights.pt")
    replace(classifier.artifact_, oracle=gone).save(tmp_path)
    with pytest.raises(OracleError, match=r"another place of the same weights.*oracle_settings"):
        CraftClassifier.load(tmp_path)
    with pytest.raises(OracleError, match=r"/elsewhere/weights\.pt"):
        CraftClassifier.load(tmp_path, oracle_settings={"pretrained": "/elsewhere/weights.pt"})


def test_labels_are_classes() -> None:
    images = pictures(TRAIN)
    for labels, message in (
        (np.linspace(0, 1, len(images)), "y: must be a class for each image, .*continuous"),
        ([[1, 2]] * len(images), "y: must be a class for each image"),
        ([float("nan")] * len(images), "y: must be a class for each image, .*NaN"),
    ):
        with pytest.raises(DataError, match=message):
            CraftClassifier(FakeOracle(), settings=SMALL).fit(images, labels)


@pytest.mark.slow
def test_a_search_keeps_the_best_trial_and_needs_no_test_split(
    on_shared_ray: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = load_data(given_run(None, {"data.shots": 4}))
    labels = [data.dataset.class_names[item.label] for item in data.train]
    settings = {
        "pool.replicas": 1,
        "pool.threads_per_replica": 1,
        "max_queries": 20,
        "optimizer.population": 10,
        "optimizer.batches": 2,
        "evaluate_every_generations": 1,
        "variants.class_contexts": None,
        "variants.searched_probes": None,
    }
    classifier = CraftClassifier(search=2, settings=settings).fit(pictures(data.train), labels)
    assert known(classifier.validation_score_) >= known(classifier.zero_shot_score_)
    assert 1 < classifier.spent_.candidate_queries <= 21
    assert classifier.artifact_.about is not None
    assert classifier.artifact_.about.test is None
    assert set(classifier.predict(pictures(data.train[:3]))) <= set(classifier.classes_)
    assert not list(tmp_path.iterdir()), "no run is left"


THREE = {**SMALL, "head.folds": 3}


def test_with_no_share_all_images_are_learned_from() -> None:
    classifier = CraftClassifier(oracle=FakeOracle(), validation_share=0, settings=THREE)
    classifier.fit(pictures(TRAIN), names(TRAIN))
    about = known(classifier.artifact_.about)
    assert about.num_train == len(TRAIN)
    assert classifier.validation_score_ is None
    assert known(classifier.held_out_score_) >= known(classifier.zero_shot_score_)
    assert f"Of the {len(TRAIN)} training images the head has" in classifier.verdict_
    assert classifier.spent_.evaluation_predictions == 0
    settings = {**THREE, "data.validation": "none"}
    same = CraftClassifier(oracle=FakeOracle(), settings=settings)
    same.fit(pictures(TRAIN), names(TRAIN))
    assert same.held_out_score_ == classifier.held_out_score_


def test_one_image_a_class_is_enough_and_what_comes_of_it_is_not_judged() -> None:
    ones = [next(item for item in TRAIN if item.label == label) for label in range(4)]
    classifier = CraftClassifier(oracle=FakeOracle(), validation_share=0, settings=SMALL)
    classifier.fit(pictures(ones), names(ones))
    assert classifier.verdict_.startswith("One image a class cannot tell")
    assert (classifier.validation_score_, classifier.held_out_score_) == (None, None)
    assert len(classifier.predict(pictures(TEST))) == len(TEST)


def test_what_was_answered_before_is_not_asked_again(tmp_path: Path) -> None:
    settings = {**SMALL, "answer_cache.folder": str(tmp_path)}
    images, labels = pictures(TRAIN), names(TRAIN)
    first = CraftClassifier(FakeOracle(), settings=settings).fit(images, labels).spent_
    again = CraftClassifier(FakeOracle(), settings=settings).fit(images, labels).spent_
    assert (again.image_predictions, again.cached_predictions) == (0, first.image_predictions)


def test_after_the_time_limit_what_was_found_is_the_result() -> None:
    settings: dict[str, Any] = {"method": "both", "head.kind": "linear", "max_queries": 4000}
    settings |= {"evaluate_every_generations": 1, "time_limit_s": 1e-6}
    classifier = CraftClassifier(FakeOracle(), settings=settings)
    assert classifier.fit(pictures(TRAIN), names(TRAIN)).spent_.candidate_queries < 4000


def test_what_may_cost_more_than_allowed_is_not_asked() -> None:
    settings = {**SMALL, "max_cost": 0.0001, "price_per_thousand_predictions": 1.0}
    oracle = CountingOracle()
    with pytest.raises(ConfigError, match="max_cost"):
        CraftClassifier(oracle, settings=settings).fit(pictures(TRAIN), names(TRAIN))
    assert oracle.num_asked == 0


class CountingOracle(FakeOracle):
    num_asked = 0

    def predict(self, *args: Any, **options: Any) -> Any:
        self.num_asked += 1
        return super().predict(*args, **options)


def test_one_that_cannot_be_read_is_found_before_others_are_paid_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("craft_ray.inference.predictor.IMAGES_AT_A_TIME", 2)
    oracle = CountingOracle()
    classifier = CraftClassifier(oracle, settings=SMALL).fit(pictures(TRAIN), names(TRAIN))
    oracle.num_asked = 0
    with pytest.raises(DataError, match=r"missing\.png"):
        classifier.predict([*pictures(TEST)[:4], "missing.png"])
    assert oracle.num_asked == 0


@pytest.mark.parametrize("is_endpoint", [False, True])
def test_of_a_search_on_an_endpoint_what_was_paid_for_stays(
    is_endpoint: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OpenedError(Exception):
        pass

    def opened(config: RunConfig, *_: object) -> None:
        raise OpenedError(config.output_dir)

    monkeypatch.setattr("craft_ray.jobs.session.open_session", opened)
    served = {"oracle.url": "http://127.0.0.1:9", "oracle.dialect": "infinity"}
    served |= {"oracle.model": "m"}
    classifier = CraftClassifier("embedded", search=1)
    if is_endpoint:
        classifier = CraftClassifier("http", search=1, settings=served)
    with pytest.raises(OpenedError) as raised:
        classifier.fit(pictures(TRAIN), names(TRAIN))
    assert (str(raised.value) == "runs") == is_endpoint
