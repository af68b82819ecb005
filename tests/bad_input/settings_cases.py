"""Run configs, space files and grids of a reproduction."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from craft_ray.config.loading import load_run_config
from tests.bad_input.case import Attempt, Case, grid_file, run_file, space_file

HUGE_LISTS = ", ".join(f"&a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))
HUGE_LIST = f"[&a0 [x], {HUGE_LISTS}]"
"""A kilobyte that means 9^29 words."""
ONE_PARAMETER = "parameters: {head.learning_rate: {kind: uniform, low: 0.1, high: 0.2}}\n"
EMBEDDED_GRID = "datasets: [embedded]\nbackbones: [embedded]\n"


def run_bytes(content: bytes) -> Callable[[Path], Attempt]:
    """A file of settings that is no text."""

    def prepare(folder: Path) -> Attempt:
        path = folder / "run.yaml"
        path.write_bytes(content)
        return lambda: load_run_config(path)

    return prepare


def folder_as_file(folder: Path) -> Attempt:
    """A folder where the settings should be."""
    (folder / "run.yaml").mkdir()
    return lambda: load_run_config(folder / "run.yaml")


def endless_file(folder: Path) -> Attempt:
    """A file whose size says 0 and which has no end."""
    (folder / "run.yaml").symlink_to("/dev/zero")
    return lambda: load_run_config(folder / "run.yaml")


RUN_CONFIGS = [
    Case("no mapping", run_file("[1, 2]"), r"run\.yaml: must be a mapping, but is a list"),
    Case("no YAML", run_file("head: {hidden: 3"), r"run\.yaml: is not valid YAML: .*line 1"),
    Case("no text", run_bytes(b"\xff\xfe\x00"), r"run\.yaml: cannot be read: .*codec"),
    Case("too large", run_bytes(b"#" * 1_000_001), r"run\.yaml: must be at most 1000000 bytes"),
    Case("a folder", folder_as_file, r"run\.yaml: must be a file of settings, but is a folder"),
    Case("endless", endless_file, r"run\.yaml: must be at most 1000000 bytes"),
    Case("deep nesting", run_file("[" * 5000), r"run\.yaml: is not valid YAML: "),
    Case(
        "an autoscaler beside a fixed number",
        run_file("pool: {replicas: 2, max_replicas: 4, gpus_per_replica: 1}"),
        r"pool: max_replicas must be null when replicas is a number, but got 4 and 2",
    ),
    Case(
        "an autoscaler and a device that it decides",
        run_file("pool: {max_replicas: 4}"),
        r"pool: gpus_per_replica must be a number > 0 with max_replicas, but got 'auto'",
    ),
    Case(
        "an autoscaler for CPUs",
        run_file("pool: {max_replicas: 4, gpus_per_replica: 0}"),
        r"pool: gpus_per_replica must be a number > 0 with max_replicas, but got 0",
    ),
    Case(
        "more than the most",
        run_file("pool: {min_replicas: 5, max_replicas: 4, gpus_per_replica: 1}"),
        r"pool: min_replicas <= max_replicas must hold, but got 5 and 4",
    ),
    Case(
        "a tag that makes a Python object",
        run_file("seed: !!python/object/apply:os.system ['touch executed']"),
        r"run\.yaml: is not valid YAML: .*could not determine a constructor",
    ),
    Case(
        "a key twice", run_file("seed: 1\nseed: 2"), r"is not valid YAML: .*'seed' is there twice"
    ),
    Case(
        "a key twice in a section",
        run_file("head:\n  hidden: 1\n  hidden: 2"),
        r"is not valid YAML: .*'hidden' is there twice.*line 3",
    ),
    Case("unknown key", run_file("head: {hiden: 3}"), r"head\.hiden: is not a known setting"),
    Case("a number as key", run_file("3: 4"), r"run\.yaml: .*3: .*"),
    Case("wrong type", run_file("seed: one"), r"seed: .*whole number, but got 'one'"),
    Case(
        "not finite", run_file("head: {learning_rate: .inf}"), r"head\.learning_rate: .*finite.*inf"
    ),
    Case("NaN", run_file("loss: {prompt_consistency: .nan}"), r"loss\.prompt_consistency: .*nan"),
    Case(
        "an offset that is no file",
        run_file("method: head\nhead: {kind: probes, offset: ensembel}"),
        r"head\.offset: must be template, ensemble, waffle, or a file .*but got 'ensembel'",
    ),
    Case("below its range", run_file("data: {shots: -1}"), r"data\.shots: .*equal to 0, or all"),
    Case(
        "neither a number nor the word",
        run_file("data: {shots: al}"),
        r"data\.shots: must be a whole number, or all, but got 'al': did you mean all\?",
    ),
    Case(
        "a section is a value",
        run_file("data: 3"),
        r"data: must be a section of settings, but got 3",
    ),
    Case("a section is null", run_file("head:"), r"head: .*but got None"),
    Case(
        "name leads out", run_file("name: ../x"), r"name: .*begin with a letter.*but got '\.\./x'"
    ),
    Case(
        "name ends in a newline",
        run_file('name: "x\\n"'),
        r"name: .*begin with a letter.*but got 'x\\n'",
    ),
    Case(
        "null character in a path",
        run_file('output_dir: "a\\0b"'),
        r"output_dir: must not have a null character, but got 'a\\x00b'",
    ),
    Case(
        "no budget for the shots",
        run_file("max_queries: {1: 100}\ndata: {shots: 2}"),
        r"max_queries must .* entry for data\.shots=2, but has entries for 1 only",
    ),
    Case(
        "budget below a population",
        run_file("max_queries: 10"),
        r"max_queries >= optimizer\.population must hold, but got max_queries=10",
    ),
    Case(
        "no placeholder",
        run_file("data: {template: a photo}"),
        r"data\.template: must contain \{\} exactly once, but got 'a photo'",
    ),
    Case(
        "control character in the template",
        run_file('data: {template: "a photo\\e of a {}."}'),
        r"data\.template: must have printable characters only, .*U\+001B",
    ),
    Case("huge list", run_file(f"seed: {HUGE_LIST}"), r"seed: .*whole number"),
    Case("unknown source", run_file("data: {source: {kind: zip}}"), r"data\.source\.kind: .*'zip'"),
    Case("a seed of too many digits", run_file("seed: " + "9" * 5000), r"run\.yaml: .*digits"),
    Case("a word that sets nothing", run_file("", "=3"), r"must read key=value, but got '=3'"),
    Case(
        "a word below a value",
        run_file("seed: 1", "seed.x=3"),
        r"command line: seed\.x: seed must be a section, but is 1",
    ),
]

SPACES = [
    Case(
        "no parameters",
        space_file("trials: 3"),
        r"space\.yaml: parameters: must have at least one, or",
    ),
    Case(
        "the settings of a run",
        space_file("seed: 3"),
        r"must be a search space with parameters, but holds the settings of one run",
    ),
    Case(
        "an empty range",
        space_file("parameters: {head.learning_rate: {kind: uniform, low: 2, high: 1}}"),
        r"parameters\.head\.learning_rate: low < high must hold, but got low=2\.0 and high=1\.0",
    ),
    Case(
        "zero in logarithms",
        space_file("parameters: {head.learning_rate: {kind: log_uniform, low: 0, high: 1}}"),
        r"parameters\.head\.learning_rate\.low: .*greater than 0, but got 0",
    ),
    Case(
        "unknown distribution",
        space_file("parameters: {head.learning_rate: {kind: normal}}"),
        r"parameters\.head\.learning_rate\.kind: .*'normal'",
    ),
    Case(
        "a single choice",
        space_file("parameters: {head.hidden: {kind: choice, values: [3]}}"),
        r"parameters\.head\.hidden\.values: .*at least 2 items",
    ),
    Case(
        "no setting of a run",
        space_file("parameters: {head.hiden: {kind: int_uniform, low: 1, high: 3}}"),
        r"parameters\.head\.hiden: is not a setting of a run",
    ),
    Case(
        "a setting of the pool",
        space_file("parameters: {pool.replicas: {kind: int_uniform, low: 1, high: 3}}"),
        r"parameters\.pool\.replicas: must belong to one of fidelity, head",
    ),
    Case(
        "a range that leaves a setting's own",
        space_file("parameters: {head.hidden: {kind: int_uniform, low: 0, high: 3}}"),
        r"parameters\.head\.hidden: head\.hidden: .*equal to 1, but got 0",
    ),
    Case(
        "a first trial outside the range",
        space_file(ONE_PARAMETER + "first_trials: [{head.learning_rate: 3}]"),
        r"first_trials\.0\.head\.learning_rate: must lie in 0\.1\.\.0\.2, but got 3",
    ),
    Case(
        "a first trial that misses a parameter",
        space_file(ONE_PARAMETER + "first_trials: [{}]"),
        r"first_trials\.0: must give exactly the searched parameters that apply, but misses \['h",
    ),
    Case(
        "a condition on nothing",
        space_file("parameters: {head.hidden: {kind: choice, values: [3, 4], when: {x: 1}}}"),
        r"parameters\.head\.hidden\.when\.x: must be variant, a searched parameter or a setting",
    ),
    Case(
        "a condition that is a number",
        space_file("parameters: {head.hidden: {kind: choice, values: [3, 4], when: 1}}"),
        r"parameters\.head\.hidden\.when: .*valid dictionary, but got 1",
    ),
    Case(
        "a parameter without effect",
        space_file(ONE_PARAMETER + "base: {method: prompt}"),
        r"parameters\.head\.learning_rate: must have an effect, but has none: it needs \{method",
    ),
    Case(
        "a variant that is a number",
        space_file(ONE_PARAMETER + "variants: {a: 1, b: {}}"),
        r"variants.*valid dictionary, but got 1",
    ),
    Case(
        "a variant that is a number beside one that is taken out",
        space_file(ONE_PARAMETER + "variants: {a: 1, b: {}, c: null}"),
        r"variants.*valid dictionary, but got 1",
    ),
    Case(
        "a variant of another kind than is searched",
        space_file(
            "parameters: {head.kind: {kind: choice, values: [residual_mlp, linear]}}\n"
            "variants: {a: {head: {names: best}}, b: {}}"
        ),
        r"variants\.a: head\.names: is not a known setting, but one of head\.kind probes",
    ),
    Case(
        "a variant without a head",
        space_file(
            "parameters: {head.kind: {kind: choice, values: [residual_mlp, linear]}}\n"
            "variants: {a: {head: null}, b: {}}"
        ),
        r"variants\.a: head: .*but got None",
    ),
    Case(
        "a variant of the images",
        space_file(ONE_PARAMETER + "variants: {a: {}, b: {data: {shots: 4}}}"),
        r"variants\.b\.data: must belong to one of fidelity, head",
    ),
    Case(
        "a base that is missing",
        space_file(ONE_PARAMETER + "base: absent.yaml"),
        r"absent\.yaml: cannot be read: .*no such file",
    ),
    Case(
        "a base that is a list", space_file(ONE_PARAMETER + "base: [3]"), r"base: .*but got \[3\]"
    ),
    Case(
        "a parameter twice",
        space_file("parameters:\n  head.hidden: {}\n  head.hidden: {}"),
        r"space\.yaml: is not valid YAML: .*'head\.hidden' is there twice",
    ),
]

GRIDS = [
    Case("unknown data set", grid_file("datasets: [mnist]"), r"datasets\.0: .*but got 'mnist'"),
    Case("no root", grid_file("datasets: [dtd]"), r"root must be the folder of the data sets dtd"),
    Case(
        "shots twice",
        grid_file(EMBEDDED_GRID + "shots: [1, 1]"),
        r"shots: values must differ, but got \[1, 1\]",
    ),
    Case("no shots", grid_file(EMBEDDED_GRID + "shots: []"), r"shots: .*at least 1 item"),
    Case("a null", grid_file(EMBEDDED_GRID + "run:", "head.hidden=3"), r"run: must be a section"),
    Case(
        "a huge list as section",
        grid_file(EMBEDDED_GRID + f"run: {HUGE_LIST}", "head.hidden=3"),
        r"run: must be a section, but is \[\[.x",
    ),
    Case(
        "a section that holds itself",
        grid_file(EMBEDDED_GRID + "run: {head: &head {hidden: *head}}"),
        r"shots-seed1: head\.hidden: .*whole number",
    ),
    Case(
        "shots for all cells",
        grid_file(EMBEDDED_GRID + "run: {data.shots: 3}"),
        r"run\.data\.shots: cannot be set for all cells: say shots",
    ),
    Case(
        "shots for all cells, in a section",
        grid_file(EMBEDDED_GRID + "run: {data: {shots: 3}}"),
        r"run\.data\.shots: cannot be set for all cells: say shots",
    ),
    Case(
        "another data set for all cells",
        grid_file("root: x\ndatasets: [dtd]\nrun: {data.source.dataset: eurosat}"),
        r"run\.data\.source\.dataset: cannot be set for all cells: say datasets",
    ),
    Case(
        "a setting that no run has",
        grid_file(EMBEDDED_GRID + "run: {head.hiden: 3}"),
        r"embedded-embedded-probes-1shots-seed1: head\.hiden: is not a known setting",
    ),
    Case(
        "a budget without the shots",
        grid_file(EMBEDDED_GRID + "shots: [1, 4]\nrun: {max_queries: {1: 200}}"),
        r"4shots-seed1: max_queries must .* data\.shots=4, but has entries for 1 only",
    ),
    Case(
        "a backbone with a null character",
        grid_file('datasets: [embedded]\nbackbones: ["local-dir:a\\0b"]'),
        r"backbones: must not have a null character",
    ),
]
