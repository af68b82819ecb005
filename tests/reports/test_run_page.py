"""The page of a run and of a search, whatever came of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from craft_ray.oracle.gate.bill import Bill, BilledUnits
from craft_ray.reports.run_page import RunPageFacts, interval_of_gain, run_page
from craft_ray.reports.sections import Picture
from tests.reports.made_up import predictions, score, search, summary, trial
from tests.support.html_page import Page

EVIL = '<script>alert("1")</script>&'


def facts(document: dict[str, Any], **changes: Any) -> RunPageFacts:
    given = {
        "summary": document,
        "curves": {1: [(100, 0.6), (200, 0.7)], 2: [(100, 0.65), (200, 0.66)]},
        "class_names": ("cat", "dog", "cow", "hen"),
        "folder": "/runs/run",
        "is_address": False,
        "predictions": predictions([0, 1, 2, 3] * 12 + [0, 1], 0.8),
        "mistakes": [Picture("data:image/jpeg;base64,AA", "7.png", "dog", 0.9, "cat")],
        **changes,
    }
    return RunPageFacts(**given)


def shown(what: RunPageFacts) -> Page:
    text = run_page(what)
    assert len(text) < 1_000_000
    assert text == run_page(what), "of the same facts always the same"
    return Page(text)


@pytest.mark.parametrize(("shots", "draws"), [(4, True), ("all", False), (0, False)])
def test_another_seed_is_offered_where_it_draws_other_images(shots: Any, draws: bool) -> None:
    document = {**summary(), "tuned": {"test": score(0.8)}}
    document["settings"]["data"] = {"shots": shots}
    assert ("# with other training images" in shown(facts(document)).text) is draws


def test_what_fitting_the_head_found_out_is_said() -> None:
    said = "1 class has no labelled image and keeps zero-shot: hen."
    tuned = {"test": score(0.8), "head": {"sentences": [said]}}
    document = {**summary(), "tuned": tuned}
    assert said in shown(facts(document)).text


def test_a_search_says_what_came_of_it_and_why() -> None:
    page = shown(facts(search(trial(1, 0.75), trial(2, 0.7), trial(3, 0.6))))
    for words in (
        "80.0%",
        "+28.0 points",
        "accuracy on 50 test images (95 %: 67.0% to 88.8%)",
        "Trial 1 won with 75.0% on validation, 5.0 points before trial 2.",
        "246.00",
        "5 min 21 s",
        "1,200",
        "123,000",
        "6.00 cost of 1,000 new images",
        "zero-shot 50.0%",
        "craft-ray predict /runs/run photos/",
        "craft-ray tune /runs/run/settings.json seed=8",
        "price_per_thousand_predictions 2.0",
    ):
        assert words in page.text, words
    assert page.titles[:4] == [
        *("What it cost", "Accuracy for queries", "Trials", "What the trials tried"),
    ]
    assert page.pictures == 1


def test_the_bill_of_an_endpoint_is_there_to_be_compared_with_an_invoice() -> None:
    bill = Bill(BilledUnits(14, images=299, texts=3), cost_answered=0.0299, currency="EUR")
    document = {**summary(), "cost": 0.0299, "bill": bill.as_dict()}
    document["tuned"] = {"test": score(0.8), "validation": score(0.8)}
    page = shown(facts(document))
    assert "0.0299 EUR cost, at the prices of the endpoint" in page.text
    assert "The endpoint was asked for 299 images, 3 texts in 14 requests: 0.0299 EUR." in page.text
    free = Bill(BilledUnits(14, images=299))
    page = shown(facts({**document, "cost": None, "bill": free.as_dict()}))
    assert "The endpoint was asked for 299 images in 14 requests." in page.text


def test_which_images_have_changed_is_counted() -> None:
    page = shown(facts(search(trial(1, 0.75), trial(2, 0.7))))
    # Of 50 images the first 40 are right; of zero-shot, those of even labels: 20 of these.
    assert "were wrong and are right: 20; that were right and are wrong: 5." in page.text


def test_of_a_run_without_a_search() -> None:
    tuned = {"validation": score(0.7), "test": score(0.8), "predictions_per_image": 5}
    page = shown(facts({**summary(), "tuned": tuned, "cost": None}))
    assert "80.0%" in page.text
    assert "5 predictions for a new image" in page.text
    assert "craft-ray train /runs/run/settings.json" in page.text
    assert "Run of CraFT for pets" in page.text
    assert "Trials" not in page.titles


def test_names_of_users_are_shown_and_not_taken_for_the_pages_own() -> None:
    document = search(trial(1, 0.75, method=EVIL), trial(2, None, error=EVIL), name=EVIL)
    document["data"]["name"] = EVIL
    document["trials"][0]["params"] = {"a.b": EVIL}
    picture = Picture("", f'"{EVIL}', EVIL, 0.9, EVIL)
    names = (EVIL, f"'{EVIL}", '" onload="1', "hen")
    page = shown(facts(document, class_names=names, folder=f"/{EVIL}", mistakes=[picture]))
    assert page.text.count("alert") > 10


@pytest.mark.parametrize("num_classes", [2, 1000])
def test_of_few_and_of_many_classes(num_classes: int) -> None:
    names = [f"class number {label}" for label in range(num_classes)]
    labels = [label for label in range(num_classes) for _ in range(50)]
    what = facts(
        search(trial(1, 0.75)),
        class_names=names,
        predictions=predictions(labels, 0.8, num_classes),
    )
    page = shown(what)
    assert f"class number {num_classes - 1}" in page.text
    assert ("more classes" in page.text) == (num_classes == 1000)
    among_first = "The true class is among the first 5 for 80.0% of the images; for 50.0% with"
    assert (among_first in page.text) == (num_classes == 1000)


def test_zero_shot_that_was_kept_is_said() -> None:
    kept = predictions([0, 1, 2, 3], 0.5)
    kept = replace(kept, tuned=kept.zero_shot)
    page = shown(facts(search(trial(1, 0.5)), predictions=kept))
    assert "This is zero-shot itself" in page.text


def test_without_a_result_there_is_zero_shot() -> None:
    only = replace(predictions([0, 1, 2, 3], 0.5), tuned=None)
    document = search(trial(1, None, error="no memory"), best=None)
    page = shown(facts(document, predictions=only, curves={}))
    assert "No trial has a result" in page.text
    assert "trial 1 has failed: no memory" in page.text
    assert "craft-ray predict" not in page.text


def test_without_a_test_split_validation_is_told() -> None:
    document = search(trial(1, 0.75))
    del document["zero_shot"]["test"], document["best"]["test"], document["data"]["num_test"]
    page = shown(facts(document, predictions=None, mistakes=[]))
    assert "accuracy on 40 validation images" in page.text
    assert "somewhat worse than this on others" in page.text
    assert "The surest mistakes" not in page.titles


def test_what_decided_between_trials_has_its_columns() -> None:
    both = [trial(1, 0.7, held_out=score(0.9)), trial(2, 0.75, held_out=score(0.5))]
    page = shown(facts(search(*both)))
    assert "The best trial is the best on both together" in page.text
    # 28 of 40 and 58 of 64 images; 30 and 32.
    assert "Trial 1 won with 82.7% on both together, 23.1 points before trial 2." in page.text


def test_parameters_that_matter_have_errors_where_they_are_known() -> None:
    document = search(*(trial(n, 0.5 + 0.05 * n) for n in range(1, 5)))
    found = {"variant": None, "num_trials": 4, "spread": 0.15, "resolved": 0.1}
    document["importances"] = {**found, "shares": {"head.hidden": 0.7, "head.learning_rate": 0.3}}
    page = shown(facts(document))
    assert "Which parameter matters" in page.titles
    assert "70%" in page.text
    document["importances"]["shares"] = None
    assert "None is shown to matter" in shown(facts(document)).text


def test_settings_of_another_version_are_shown_all_the_same() -> None:
    document = search(trial(1, 0.75))
    document["settings"] = {"base": {"oracle": {}}, "of_another_version": 1}
    page = shown(facts(document))
    assert "of_another_version: 1" in page.text
    assert "differs from the defaults" not in page.text


def test_a_run_of_one_step_has_no_curve() -> None:
    tuned = {"validation": score(0.7), "test": score(0.8), "predictions_per_image": 1}
    document = {**summary(), "tuned": tuned}
    assert "Accuracy for queries" not in shown(facts(document, curves={1: [(1, 0.7)]})).titles
    assert "Accuracy for queries" in shown(facts(document, curves={1: [(1, 0.6), (2, 0.7)]})).titles


@pytest.mark.parametrize(("wins", "losses", "num_images"), [(0, 0, 40), (3, 0, 40), (0, 5, 5)])
def test_a_gain_is_never_beyond_doubt(wins: int, losses: int, num_images: int) -> None:
    low, high = interval_of_gain(wins, losses, num_images)
    assert -1 <= low < (wins - losses) / num_images + 1e-9
    assert (wins - losses) / num_images - 1e-9 < high <= 1
    assert high - low > 1 / num_images


def test_the_interval_of_a_gain_holds_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    for win, loss in ((0.05, 0.05), (0.1, 0.02), (0.3, 0.1), (0.02, 0.0)):
        counts = rng.multinomial(60, [win, loss, 1 - win - loss], size=2000)
        intervals = [interval_of_gain(int(wins), int(losses), 60) for wins, losses, _ in counts]
        held = np.mean([low <= win - loss <= high for low, high in intervals])
        assert held > 0.93, (win, loss, held)


def test_without_validation_the_trials_are_compared_by_held_out_images() -> None:
    trials = [trial(n, None, held_out=score(0.9 - n / 10), status="finished") for n in (1, 2)]
    document = search(*trials)
    document["data"]["num_validation"] = 0
    document["zero_shot"] |= {"validation": None, "held_out": score(0.4)}
    document["best"] |= {"judged_by": "held_out", "verdict": "No validation <images>."}
    page = shown(facts(document))
    assert "No validation <images>." in page.text
    assert "Trial 1 won with 80.0% on held-out images, 10.0 points before trial 2." in page.text
    assert "Held-out accuracy of the working state" in page.text
    assert "alidation accuracy" not in page.text
    for found in (document["zero_shot"], document["best"]):
        found["test"] = None
    page = shown(facts(document, predictions=None, mistakes=[]))
    assert "accuracy on 64 held-out training images" in page.text
    assert "chosen on the held-out training images" in page.text


def test_what_no_image_measured_has_no_accuracy() -> None:
    document = search(trial(1, None, status="finished"))
    document["zero_shot"] = {"validation": None, "held_out": None, "test": None}
    document["best"] |= {"test": None, "judged_by": "nothing", "verdict": "Unjudged."}
    page = shown(facts(document, predictions=None, mistakes=[], curves={}))
    assert "No image measured it" in page.text
    assert "Unjudged." in page.text
