"""A model card in Markdown, from what is stored: for people, and for hubs that read its head."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from craft_ray.classifiers.about import About, Measured
from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.money import run_cost
from craft_ray.config.oracle import AnyOracleConfig, OracleConfig
from craft_ray.data.decoding import Decoding

CLASSES_SHOWN = 50


def model_card(
    folder: str,
    class_names: Sequence[str],
    template: str,
    kind: str,
    predictions_per_image: int,
    weights_id: str,
    oracle: AnyOracleConfig | None,
    about: About | None,
    decoding: Decoding,
    prompts: Sequence[str] = (),
) -> str:
    """The text of `README.md`.

    Args:
        folder: name of the folder that the card lies in.
        class_names: of the task.
        template: around a class name.
        kind: of the classifier.
        predictions_per_image: that the model is asked for.
        weights_id: content address of the weights; empty if not known.
        oracle: how the model is loaded; None if the classifier was made for an object.
        about: how it was made; None if that is not known.
        decoding: of image files.
        prompts: texts that are asked beside names under the template.
    """
    about = about or About()
    head = yaml.safe_dump(_front_matter(oracle, about), sort_keys=False, allow_unicode=True)
    title = f"A craft-ray classifier of {len(class_names):,} classes"
    parts = [
        f"---\n{head}# license: the owner's choice\n---\n",
        f"# {title}\n",
        *_what_it_is(kind, predictions_per_image, oracle, about),
        _how_to_use_it(folder, oracle),
        *_scores(about),
        _model(oracle, about, template, weights_id, decoding, prompts),
        _classes(class_names),
        *_how_it_was_made(about),
        _limits(oracle, about),
    ]
    return "\n".join(parts).encode("utf-8", "replace").decode()  # a folder's name may be any bytes


def _front_matter(oracle: AnyOracleConfig | None, about: About) -> dict[str, Any]:
    head: dict[str, Any] = {
        "library_name": "craft-ray",
        "pipeline_tag": "image-classification",
        "tags": ["craft-ray", "black-box-tuning", "few-shot", "image-classification"],
    }
    if about.source.startswith("hf-hub:"):
        head["base_model"] = about.source.removeprefix("hf-hub:")
    elif oracle is not None:
        head["tags"].append(oracle.model.rpartition("/")[2])
    head["metrics"] = ["accuracy"]
    if about.test is not None:
        task = {"type": "image-classification"}
        metric = {"type": "accuracy", "value": round(about.test.accuracy, 6)}
        head["model-index"] = [
            {
                "name": about.run or "craft-ray",
                "results": [
                    {
                        "task": task,
                        "dataset": {"name": about.data, "type": about.data, "split": "test"},
                        "metrics": [metric],
                    }
                ],
            }
        ]
    return head


def _what_it_is(
    kind: str, predictions: int, oracle: AnyOracleConfig | None, about: About
) -> Iterator[str]:
    what = {
        "prompt": "A tuned prompt",
        "text_prompt": "A prompt in words that was searched for",
        "refined_prompt": "A tuned prompt, and a small head on the answers",
        "probes": "A linear head on the answers about several class names",
        "features": "A linear head on image features",
    }.get(kind, "A classifier")
    model = "a model that is not named here" if oracle is None else _plain(model_name(oracle))
    made = f" ({_plain(about.method)})" if about.method else ""
    closed = "no gradients" if kind == "features" else "no gradients, no features"
    yield (
        f"{what} for {model}, found{made} by asking the model only: {closed}. It "
        f"needs the model to answer: {predictions} prediction(s) an image.\n"
    )


def model_name(oracle: AnyOracleConfig) -> str:
    """Of a model with its weights, in few words; without the folders of the machine."""
    if isinstance(oracle, EndpointConfig):
        return oracle.model or oracle.dialect
    if oracle.pretrained is None:
        return oracle.model.rpartition("/")[2]
    return f"{oracle.model}/{oracle.pretrained.rpartition('/')[2]}"


def _how_to_use_it(folder: str, oracle: AnyOracleConfig | None) -> str:
    given = ", oracle=client" if oracle is None else ""
    # In code nothing can be escaped: a name that a shell or Python would not take as it stands is
    # left to the reader.
    name = folder if re.fullmatch(r"[\w.][\w.-]*", folder) else "FOLDER"
    return (
        "## Use it\n\n"
        f"```python\nfrom craft_ray import CraftClassifier\n\n"
        f'classifier = CraftClassifier.load("{name}"{given})\n'
        'labels = classifier.predict(["a.jpg", "b.jpg"])\n```\n\n'
        f"```bash\ncraft-ray predict {name} photos/ --top 3 --out labels.csv\n```\n\n"
        f"The folder may lie anywhere. {_where_the_model_is(oracle)}\n"
    )


def _where_the_model_is(oracle: AnyOracleConfig | None) -> str:
    if isinstance(oracle, EndpointConfig):
        key = "It needs no key."
        if oracle.api_key_env is not None:
            # Not in a sentence of Markdown's own: a variable's name has letters that it would take.
            key = f"The environment variable `{oracle.api_key_env}` must have its key."
        elif oracle.api_key_file is not None:
            key = "Its key is read from the file that `oracle.api_key_file` names."
        return (
            f"The endpoint below is asked, which may cost money. {key} `--set oracle.url=URL` "
            "(Python: `oracle_settings={'url': 'URL'}`) names another address of the same model."
        )
    return (
        "Weights that are a file or folder are looked for where they were; `--set "
        "oracle.pretrained=FILE` (Python: `oracle_settings={'pretrained': 'FILE'}`) names another "
        "place. Other weights are refused."
    )


def _scores(about: About) -> Iterator[str]:
    rows = [
        ("tuned, test", about.test),
        ("zero-shot, test", about.zero_shot_test),
        ("tuned, validation (it was chosen on these)", about.validation),
        ("zero-shot, validation", about.zero_shot_validation),
        ("tuned, held-out training images (it was chosen on these)", about.held_out),
        ("zero-shot, the same training images", about.zero_shot_held_out),
    ]
    known = [_row(name, score) for name, score in rows if score is not None]
    if known:
        yield "## Scores\n\n| | accuracy | 95 % interval | images | calibration error |"
        yield "|---|---|---|---|---|"
        yield from known
        yield ""
    if about.verdict:
        yield f"{_plain(about.verdict)}\n"
    if about.findings:
        yield f"{_plain(' '.join(about.findings))}\n"


def _row(name: str, score: Measured) -> str:
    error = "" if score.calibration_error is None else f"{score.calibration_error:.3f}"
    return (
        f"| {name} | {score.accuracy:.1%} | {score.low:.1%} to {score.high:.1%} | "
        f"{score.images:,} | {error} |"
    )


def _model(
    oracle: AnyOracleConfig | None,
    about: About,
    template: str,
    weights_id: str,
    decoding: Decoding,
    prompts: Sequence[str],
) -> str:
    mean = ", ".join(f"{each:g}" for each in about.image_mean)
    std = ", ".join(f"{each:g}" for each in about.image_std)
    endpoint = oracle if isinstance(oracle, EndpointConfig) else None
    is_here = endpoint is None
    lines = [
        ("model", "" if oracle is None else model_name(oracle)),
        ("weights from" if is_here else "endpoint", about.source),
        ("dialect", "" if endpoint is None else endpoint.dialect),
        ("revision", about.revision or ""),
        ("weights' content address", weights_id if is_here else ""),
        ("precision", oracle.precision if isinstance(oracle, OracleConfig) else ""),
        ("computed by", about.computed_by),
        # Of an endpoint the side of views that were cropped here, not what the model takes.
        ("image size", f"{about.image_size}" if is_here and about.image_size else ""),
        ("an image file", decoding.in_words()),
        ("view of an image", about.view),
        ("normalisation", f"mean {mean}; standard deviation {std}" if mean else ""),
        ("template", template),
        ("asked beside", f"{len(prompts):,} texts, such as: {prompts[0]}" if prompts else ""),
    ]
    return "## Model\n\n" + _list(lines)


def _classes(class_names: Sequence[str]) -> str:
    shown = ", ".join(_plain(name) for name in class_names[:CLASSES_SHOWN])
    others = len(class_names) - CLASSES_SHOWN
    more = f", and {others:,} more in the description" if others > 0 else ""
    return f"## Classes\n\n{shown}{more}\n"


def _how_it_was_made(about: About) -> Iterator[str]:
    cost = "" if about.cost is None else run_cost(about.cost, about.currency)
    if about.price_per_thousand_predictions is not None and cost:
        cost += f" (at {about.price_per_thousand_predictions:g} for 1,000 predictions)"
    lines = [
        ("run", about.run),
        ("made", about.created),
        ("seed", "" if about.seed is None else str(about.seed)),
        ("data", f"{about.data}, {about.num_train:,} training images" if about.data else ""),
        ("training images' content address", about.manifest if about.num_train else ""),
        (
            "candidate queries",
            "" if about.candidate_queries is None else f"{about.candidate_queries:,}",
        ),
        (
            "image predictions",
            "" if about.image_predictions is None else f"{about.image_predictions:,}",
        ),
        ("cost", cost),
        ("versions", ", ".join(f"{name} {value}" for name, value in about.versions.items())),
        ("commit of craft-ray", about.commit or ""),
    ]
    if any(value for _, value in lines):
        yield "## How it was made\n\n" + _list(lines)


def _list(lines: Sequence[tuple[str, str]]) -> str:
    return "".join(f"- {name}: {_plain(value)}\n" for name, value in lines if value)


def _limits(oracle: AnyOracleConfig | None, about: About) -> str:
    if about.test is not None:
        measured = (
            "The test score is of images like those it was tuned on; elsewhere it may be lower."
        )
    elif about.validation is None and about.held_out is None:
        measured = "It was not tested on any image that it was not tuned on."
    else:
        on = "validation images" if about.validation is not None else "held-out training images"
        measured = (
            "It was not tested on images that nothing was chosen on: on others it is somewhat "
            f"worse than on the {on}."
        )
    changed = (
        "Whoever owns the endpoint may change the model behind it, and need not say so"
        if isinstance(oracle, EndpointConfig)
        else "In another precision than the one above labels can differ a little"
    )
    return (
        "## Limits\n\n"
        f"{measured} It knows the classes above only: an image of anything else gets one of them. "
        f"{changed}: `craft-ray evaluate` measures it on labelled images. What the model has "
        "learnt, with its biases, stays in its answers.\n"
    )


def _plain(text: str) -> str:
    """In a line, without what Markdown or HTML would take for its own: a class name may be
    anybody's."""
    line = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>|#$~&" else letter for letter in line)
