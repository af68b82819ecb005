"""Two class names that are one to the model: one of the classes could never be right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from open_clip import SimpleTokenizer

from craft_ray.commands.data import main
from craft_ray.data.dataset import Dataset, Item, class_name_problems, normalized_name
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.oracle.text.prompts import alike_classes, tokenize_task
from tests.support.images import write_tree

ALIKE = {
    "a curly apostrophe": ("judge's chair", "judge\N{RIGHT SINGLE QUOTATION MARK}s chair"),
    "curly quotes": (
        '"A" road',
        "\N{LEFT DOUBLE QUOTATION MARK}A\N{RIGHT DOUBLE QUOTATION MARK} road",
    ),
    "an HTML entity": ("salt & pepper", "salt &amp; pepper"),
    "an HTML entity twice": ("salt & pepper", "salt &amp;amp; pepper"),
    "a numeric entity": ("judge's chair", "judge&#39;s chair"),
    "a broken encoding": ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", "caf\u00c3\u00a9"),
    "a ligature": ("fish", "\N{LATIN SMALL LIGATURE FI}sh"),
    "an accent of its own": ("caf\u00e9", "cafe\u0301"),
    "wide letters": ("cat", "\uff43\uff41\uff54"),
    "a hard space": ("ankle boot", "ankle\u00a0boot"),
    "case": ("cat", "Cat"),
    "spaces": ("ankle boot", "ankle_  boot"),
}
DIFFERENT = [("C", "C++"), ("cat", "cats"), ("café", "cafe"), ("T-shirt", "T shirt"), ("R&B", "R")]


@pytest.fixture(scope="module")
def tokenizer() -> SimpleTokenizer:
    return SimpleTokenizer()


@pytest.mark.parametrize("names", ALIKE.values(), ids=ALIKE)
def test_names_alike_are_refused_and_the_tokenizer_of_clip_agrees(
    names: tuple[str, str], tokenizer: SimpleTokenizer
) -> None:
    dataset = Dataset("x", names, {"test": [Item(b"", 0, "0")]})
    (problem,) = class_name_problems(dataset)
    assert problem.startswith(f"class names must differ, but got {names[0]!r} and {names[1]!r}")
    tokens = tokenize_task(ClassificationTask(names), tokenizer, 77)
    assert alike_classes(tokens) == ((0, 1),)
    with_ids = Dataset("x", names, {"test": [Item(b"", 0, "0")]}, class_ids=("n1", "n2"))
    assert class_name_problems(with_ids) == []


@pytest.mark.parametrize("names", DIFFERENT)
def test_names_that_clip_tells_apart_are_taken(
    names: tuple[str, str], tokenizer: SimpleTokenizer
) -> None:
    assert class_name_problems(Dataset("x", names, {"test": [Item(b"", 0, "0")]})) == []
    assert alike_classes(tokenize_task(ClassificationTask(names), tokenizer, 77)) == ()


def test_check_names_both_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curly = "dog\N{RIGHT SINGLE QUOTATION MARK}s toy"
    write_tree(tmp_path, ("dog's toy", curly))
    assert main(["check", str(tmp_path)]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert f'class names must differ, but got "dog\'s toy" and {curly!r}' in shown


def test_plain_names_need_no_library() -> None:
    program = (
        "import sys\n"
        "from craft_ray.data.dataset import normalized_name\n"
        "assert normalized_name('Ankle_boot ') == 'ankle boot'\n"
        "assert 'ftfy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert normalized_name("judge\N{RIGHT SINGLE QUOTATION MARK}s") == "judge's"
