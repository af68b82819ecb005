"""What `--dry-run` shows: what differs from the defaults, what it costs, how long it may take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from craft_ray.config.base import Settings
from craft_ray.config.documents import flatten
from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.money import money
from craft_ray.config.suggestions import kinds_at

if TYPE_CHECKING:
    from craft_ray.commands.planned_bill import PlannedBill
    from craft_ray.config.run import RunConfig
    from craft_ray.jobs.run_list import Kind
    from craft_ray.metering.ledger import Spending

NOT_COMPARED = ("name", "first_trials")
OF_A_SEARCH = ("variants", "parameters")
MANY_QUERIES = 10_000


def print_plan(
    model: type[Settings],
    settings: Mapping[str, Any],
    spending: Spending,
    requests: Sequence[str],
    price_per_thousand_predictions: float | None,
    time: str | None = None,
    max_cost: float | None = None,
    bill: PlannedBill | None = None,
) -> None:
    """Print the plan.

    Args:
        model: of the settings.
        settings: of the run.
        spending: at most.
        requests: what will be asked of Ray, in words.
        price_per_thousand_predictions: if there is one.
        time: how long it may take, in words.
        max_cost: that a search keeps to, whatever all of its trials may cost.
        bill: what an endpoint may be asked for.
    """
    print("Settings that differ from the defaults (all of them: --print-config)")
    for line in differences(model, settings):
        print(f"  {line}")
    print("\nWill spend at most")
    for label, amount in (
        ("candidate queries", spending.candidate_queries),
        ("image predictions", spending.image_predictions),
        ("  to score candidates", spending.search_predictions),
        ("  to train the head", spending.head_predictions),
        ("  to validate and test", spending.evaluation_predictions),
        ("prompts encoded", spending.text_encodes),
        ("images sent", spending.images_sent),
    ):
        print(f"  {label:<24}{amount:>16,}")
    for label, number in () if bill is None else bill.rows():
        print(f"  {label:<24}{number:>16}")
    if price_per_thousand_predictions is not None:
        cost = spending.cost(price_per_thousand_predictions)
        print(f"  {'cost':<24}{money(cost):>16}")
        if max_cost is not None and cost > max_cost:
            print(f"  {'  kept below max_cost':<24}{money(max_cost):>16}  by fewer trials")
    if time is not None:
        print(f"  {'time':<24}  {time}")
    print("\nWill ask of Ray")
    for request in requests:
        print(f"  {request}")
    print("\nDry run: nothing was started.")


def differences(model: type[Settings], settings: Mapping[str, Any]) -> Iterator[str]:
    """`key: value (default)` of every setting that has another value than its default; of a section
    of another kind than the default one, what differs from that kind's own; and of what is searched
    the names."""
    values = flatten({key: value for key, value in settings.items() if key not in OF_A_SEARCH})
    defaults = _defaults(model)
    defaults |= _defaults_of_kinds(model, values, defaults)
    for key, value in values.items():
        if key in NOT_COMPARED or (key in defaults and defaults[key] == value):
            continue
        was = f" (default: {_shown(defaults[key])})" if key in defaults else ""
        yield f"{key}: {_shown(value)}{was}"
    for key in OF_A_SEARCH:
        if settings.get(key):
            yield f"{key}: {', '.join(settings[key])}"
    if points := settings.get("first_trials"):
        yield f"first_trials: {len(points)} given"


def _defaults_of_kinds(
    model: type[Settings], values: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """Of the sections that are of another kind than the default one."""
    found: dict[str, Any] = {}
    for key, kind in values.items():
        section, _, name = key.rpartition(".")
        if name != "kind" or defaults.get(key) == kind:
            continue
        own = kinds_at(model, section.split(".")).get(kind)
        if own is not None and issubclass(own, Settings):
            found |= {f"{section}.{name}": value for name, value in _defaults(own).items()}
            found.pop(key, None)
    return found


def _defaults(model: type[Settings]) -> dict[str, Any]:
    """Of what has a default; of a search also below `base`."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if not field.is_required():
            found[name] = field.get_default(call_default_factory=True, validated_data={})
    document = model.model_construct(**found).model_dump(mode="json", exclude={"name"})
    return flatten({key: value for key, value in document.items() if key in found})


def _shown(value: Any) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else value
    return str(text)


def pool_request(config: RunConfig) -> str:
    """The pool in words; `auto` is resolved only when the cluster is known."""
    pool = config.pool
    if isinstance(config.oracle, EndpointConfig):
        return f"one gate to {config.oracle.url}: {pool.cpus_per_replica:g} CPU"
    return (
        f"oracle replicas: {pool.replicas}, each {pool.cpus_per_replica:g} CPU and "
        f"{pool.gpus_per_replica} GPU"
    )


def planned_time(config: RunConfig, kind: Kind, spending: Spending) -> str:
    """How long it may take, in words, from runs on this disk."""
    from pathlib import Path

    from craft_ray.files.remote import locate
    from craft_ray.jobs.time_estimate import NOT_KNOWN, time_in_words

    place = locate(config.output_dir)
    if not isinstance(place, Path):  # a dry run asks no object store
        return NOT_KNOWN
    return time_in_words(place, kind, config.oracle, spending)


def spending_line(spending: Spending, config: RunConfig) -> str:
    """What will be spent at most, in a line."""
    price, max_cost = config.price_per_thousand_predictions, config.max_cost
    cost = "" if price is None else f", which cost {money(spending.cost(price))}"
    if max_cost is not None and price is not None and spending.cost(price) > max_cost:
        cost += f"; no trial is begun that max_cost={money(max_cost)} may not pay for"
    queries = "query" if spending.candidate_queries == 1 else "queries"
    return (
        f"At most {spending.candidate_queries:,} candidate {queries} and "
        f"{spending.image_predictions:,} image predictions{cost}."
    )
