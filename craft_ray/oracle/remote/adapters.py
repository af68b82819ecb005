"""From the settings of an endpoint to its adapter, and to what it is known by."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from craft_ray.config.endpoint import NAMES_A_MODEL, EndpointConfig
from craft_ray.errors import OracleError
from craft_ray.oracle.contract import FEATURES
from craft_ray.oracle.endpoints.adapter import Adapter
from craft_ray.oracle.endpoints.capabilities import Capabilities, Limits, Price, Served, Unit
from craft_ray.oracle.endpoints.failures import Verdict
from craft_ray.oracle.endpoints.registry import make_adapter
from craft_ray.oracle.endpoints.wire import Answer, Part, Question, Reply, Request

SOFT = "craft_ray"
"""The dialect that is no `Adapter`: it has soft prompts."""
SCORES: tuple[Served, ...] = ("logits", "cosine", "sigmoid", "probabilities", "top_k")
"""From the best to the least, where an endpoint answers with several."""
_CHARGED_FOR_FEATURES = ("request", "image", "text", "token")


class Declared:
    """An adapter with what the settings declare of its endpoint; implements `Adapter`.

    Args:
        adapter: speaks the dialect.
        capabilities: of the endpoint.
    """

    def __init__(self, adapter: Adapter, capabilities: Capabilities) -> None:
        self._adapter = adapter
        self._capabilities = capabilities

    def capabilities(self) -> Capabilities:
        return self._capabilities

    def encode(self, question: Question, part: Part) -> Request:
        return self._adapter.encode(question, part)

    def decode(self, question: Question, request: Request, reply: Reply) -> Answer:
        return self._adapter.decode(question, request, reply)

    def classify(self, request: Request, reply: Reply, now: float) -> Verdict | None:
        return self._adapter.classify(request, reply, now)


def adapter_of(config: EndpointConfig) -> Declared:
    """What speaks the endpoint's dialect; not of `craft_ray`.

    Raises:
        OracleError: a dialect, option or module that is not there; or limits and prices that do
            not fit.
    """
    options = dict(config.options)
    if config.dialect in NAMES_A_MODEL and "model" not in options:
        options["model"] = config.model
    for name in ("limits", "prices"):
        if name in options:
            raise OracleError(f"oracle.options.{name}: must be given as oracle.{name}")
    # The dialect's own limits know best which of the user's can hold: vLLM takes one image.
    if ":" not in config.dialect:
        options["limits"] = limits_of(config)
    adapter = make_adapter(config.dialect, options)
    declared = adapter.capabilities()
    limits = declared.limits
    if ":" in config.dialect:
        limits = limits_of(config).or_else(limits)
    prices = prices_of(config) or declared.prices
    served = served_scores(declared)
    if config.logit_scale is not None and not is_unscaled(declared):
        raise OracleError(
            f"oracle.logit_scale: must be null for an endpoint that answers with {served}, which "
            f"have their scale, but got {config.logit_scale:g}"
        )
    if served is None and any(price.unit not in _CHARGED_FOR_FEATURES for price in prices):
        raise OracleError(
            "oracle.prices.pair: must be null for an endpoint that answers with features, because "
            "images and texts are sent apart: give oracle.prices.image and oracle.prices.text"
        )
    scale = declared.logit_scale if config.logit_scale is None else config.logit_scale
    return Declared(adapter, replace(declared, limits=limits, prices=prices, logit_scale=scale))


def served_scores(capabilities: Capabilities) -> Served | None:
    """The scores that images are compared with texts by. None: they are computed here, from
    features.

    Raises:
        OracleError: the endpoint gives neither.
    """
    answers = capabilities.answers
    if answers >= FEATURES:
        return None
    found = next((each for each in SCORES if each in answers), None)
    if found is None:
        raise OracleError(
            "oracle: must answer with scores, or with features of images and of texts, but answers "
            f"with {', '.join(sorted(answers))} only"
        )
    return found


def is_unscaled(capabilities: Capabilities) -> bool:
    """Whether its scores are cosines."""
    return served_scores(capabilities) in (None, "cosine")


def fits_scale(config: EndpointConfig) -> bool:
    """Whether the factor that makes logits of its cosines must be fitted, because nobody says it.

    Raises:
        OracleError: the settings do not fit the dialect.
    """
    if config.dialect == SOFT:  # its declaration says it
        return False
    capabilities = adapter_of(config).capabilities()
    return is_unscaled(capabilities) and capabilities.logit_scale is None


def limits_of(config: EndpointConfig) -> Limits:
    """As the settings declare them."""
    return Limits(**config.limits.model_dump())


def prices_of(config: EndpointConfig) -> tuple[Price, ...]:
    """As the settings declare them; free units are left out."""
    prices = config.prices
    amounts: dict[Unit, float | None] = {
        "request": prices.request,
        "image": prices.image,
        "text": prices.text,
        "pair": prices.pair,
        "token": prices.token,
    }
    return tuple(Price(u, amount, prices.currency) for u, amount in amounts.items() if amount)


def model_id(config: EndpointConfig) -> str:
    """Names the model, how it is asked and what its answers are multiplied by, wherever it is
    served: classifiers fit it by this."""
    return _with_scale(_model(config), config)


def oracle_id(config: EndpointConfig) -> str:
    """Names the endpoint too."""
    return _with_scale(endpoint_id(config), config)


def endpoint_id(config: EndpointConfig) -> str:
    """Names what answers, without what becomes of its answers: paid ones are kept under it."""
    return _digest([_model(config), config.url.rstrip("/")])


def _model(config: EndpointConfig) -> str:
    decisive: list[object] = [config.dialect, config.model, config.revision, config.options]
    if not config.model and not config.options.get("model"):
        decisive.append(config.url.rstrip("/"))  # nothing else tells which model answers
    return _digest(decisive)


def _with_scale(name: str, config: EndpointConfig) -> str:
    return name if config.logit_scale is None else _digest([name, config.logit_scale])


def _digest(values: list[object]) -> str:
    document = json.dumps(values, sort_keys=True, ensure_ascii=True, default=repr)
    return hashlib.sha256(document.encode()).hexdigest()
