"""From configuration files to data sets, pipelines, systems and tasks. The format of `[bench]`:

[data]
path = "films"             # a name, a stored folder, or raw files with the options of `hexarec data import`

[bench]
task = "ranking"           # or labels: score labelled pairs; text: explain given lists
pairs = "pairs.csv"        # labels: the pairs to be scored; without it the newest share of the data's exposures
share = 0.1                # labels: that share
split = "global"           # global, last, cold-items, cold-users, system-cold
part = "test"              # or valid, for tuning
max_users = 500            # a seeded sample of the questions; all without it
candidates = 99            # that many sampled items beside the truth; the full catalog without it
k = 20                     # length of the lists; of text 5
seeds = [0]                # one fit each
metrics = ["ndcg@10"]      # the default set without it
baseline = "ease"          # the best floor without it
systems = ["pipeline", "sasrec", "other.toml"]       # names, or tables when they have options:

[bench.systems.neighbours]
use = "itemknn"            # a method with its options; "@name" takes an entry of [use]
neighbours = 20

[bench.systems.llm-order]
use = "llmrank"            # a method that finds nothing itself: over a retriever, a ranker sees its first `window`
lm = "@lm"
over = "ease"              # a method, a table, or "@name"
window = 20                # of a method that picks (control) its own option of that name, where it has one

[bench.systems.without-model]
use = "pipeline"           # the pipeline of this file, or another .toml file
without = ["rank"]         # slots left out
models = { lm = "fake:overlap" }                     # other models for entries of [use]

Without systems, the pipeline of the file is measured. The floor ladder stands in every table. Stages do not degrade
here: a stage that fails stops the bench.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from hexarec.core import Dataset
    from hexarec.eval.experiment import Experiment
    from hexarec.eval.tasks import SplitName, Task

DATA_OPTIONS = ("path", "format", "map", "like", "name", "strict", "items", "users", "encoding")
SLOT_NAMES = ("enrich", "retrieve", "rank", "control", "explain", "converse")
TaskName = Literal["ranking", "labels", "text"]
ASKED: dict[str, tuple[str, ...]] = {
    "ranking": ("enrich", "retrieve", "rank", "control"),
    "labels": ("enrich", "retrieve", "rank"),
    "text": ("enrich", "retrieve", "explain"),
}  # the slots of a pipeline that a task asks; the others are not even fitted
NEEDED = {"labels": "rank", "text": "explain"}
FOREIGN = {"ranking": ("pairs",), "labels": ("candidates",), "text": ("candidates", "pairs")}


def open_configured(config: Mapping[str, Any], folder: Path, given: str | None = None) -> Dataset:
    """The data set of `[data]`, or the given one. Raises OptionError, DataError."""
    from hexarec.core import OptionError
    from hexarec.data.store import is_dataset, open_data

    section = config.get("data", {})
    if not isinstance(section, Mapping):
        raise OptionError("[data] is not a table", hint='write path = "..." under [data]')
    section = dict(section)
    types: dict[str, type] = {"map": dict, "strict": bool}
    for name, value in section.items():
        if name in DATA_OPTIONS and not isinstance(value, types.get(name, str)):
            wanted = types.get(name, str).__name__
            hint = 'map = { user = "column", item = "column" }' if name == "map" else ""
            raise OptionError(f"[data] {name} = {value!r} is not {wanted}", hint=hint)
    for name in section:
        if name not in DATA_OPTIONS:
            raise OptionError(f"[data] has no {name!r}", hint=f"it has {', '.join(DATA_OPTIONS)}")
    if given is not None:
        return open_data(given)
    if "path" not in section:
        raise OptionError("no data set is named", hint='write path = "..." under [data], or give --data')
    path = located(str(section.pop("path")), folder)
    if "map" in section:
        section["mapping"] = section.pop("map")
    for name in ("items", "users"):
        if name in section:
            section[name] = located(section[name], folder)
    if section and (path == "films" or path.startswith("world:")):
        raise OptionError(f"[data] {', '.join(section)}: {path} is made here and takes no options of an import")
    return open_data(path, **({} if is_dataset(path) else section))


def located(path: str, folder: Path) -> str:
    """A path of a configuration file: beside the file when it is there, else as it stands."""
    beside = folder / path
    return str(beside) if beside.exists() else path


@dataclass(frozen=True)
class Bench:
    """The section [bench]."""

    task: TaskName = "ranking"
    split: SplitName = "global"
    part: Literal["valid", "test"] = "test"
    max_users: int | None = None
    candidates: int | None = None
    pairs: str | None = None
    share: float = 0.1
    seed: int = 0
    k: int | None = None
    seeds: tuple[int, ...] = (0,)
    metrics: tuple[str, ...] = ()
    baseline: str | None = None
    systems: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, section: Mapping[str, Any], more: Mapping[str, Any]) -> Bench:
        """From the file and the command line, checked. Raises OptionError naming the field."""
        import typing

        from hexarec.core import OptionError
        from hexarec.core.options import check_options
        from hexarec.eval.tasks import SplitName
        from hexarec.metrics import parse
        from hexarec.pipeline.build import checked

        if not isinstance(section, Mapping):
            raise OptionError(f"bench = {section!r} is no table", hint='write [bench], and below it split = "last"')
        given = {**section, **{name: value for name, value in more.items() if value is not None}}
        check_options(cls, list(given))
        listed = given.get("systems", {})
        if isinstance(listed, list):
            given["systems"] = _named(list(map(str, listed)))
        types = typing.get_type_hints(cls, {**globals(), "SplitName": SplitName})
        made = cls(**{name: checked(f"[bench] {name}", value, types[name]) for name, value in given.items()})
        for name in made.metrics:
            parse(name)
        for name in FOREIGN[made.task]:
            if getattr(made, name) is not None:
                raise OptionError(f"[bench] {name} means nothing for the task {made.task}", hint="leave it out")
        for name, least in (("max_users", 1), ("candidates", 1), ("k", 1)):
            value = getattr(made, name)
            if value is not None and value < least:
                raise OptionError(f"[bench] {name} is {value}, not at least {least}")
        return made


def _named(listed: Sequence[str]) -> dict[str, dict[str, str]]:
    """A table for each system of a list, by what it is called; a file of another folder by its last name."""
    from hexarec.core import OptionError

    made: dict[str, dict[str, str]] = {}
    for use in listed:
        name = Path(use).name if Path(use).is_absolute() else use
        if made.setdefault(name, {"use": use})["use"] != use:
            raise OptionError(
                f"[bench] systems: two are called {name!r}", hint=f'name one: [bench.systems.other], use = "{use}"'
            )
    return made


def experiment_of(
    config: Mapping[str, Any], folder: Path, data: Dataset, more: Mapping[str, Any], only: Sequence[str] = ()
) -> Experiment:
    """The experiment of a parsed file. more: options of [bench] from the command line. Raises OptionError."""
    from hexarec.core import OptionError
    from hexarec.eval.experiment import Experiment

    bench = Bench.of(config.get("bench", {}), more)
    for section in ("pipeline", "use"):
        if not isinstance(config.get(section, {}), Mapping):
            raise OptionError(f"{section} = {config[section]!r} is no table", hint=f"write [{section}]")
    tables = dict(bench.systems) or {config.get("pipeline", {}).get("name", "pipeline"): {"use": "pipeline"}}
    for name in only:
        if name not in tables:
            raise OptionError(f"the bench has no system {name!r}", hint=f"systems: {', '.join(tables)}")
    tables = {name: table for name, table in tables.items() if not only or name in only}
    task, floors = task_of(bench, data, folder)
    systems = {name: system_of(name, table, config, folder, bench) for name, table in tables.items()}
    if bench.baseline is not None and bench.baseline not in (*floors, *tables):
        raise OptionError(f"the baseline {bench.baseline!r} is not measured", hint=f"take {', '.join(floors)}")
    return Experiment(task, systems, bench.seeds, bench.baseline, bench.metrics, bench.k or 20)


def task_of(bench: Bench, data: Dataset, folder: Path) -> tuple[Task, Mapping[str, Any]]:
    """The task and its floors. Raises CapabilityError where the data lacks what the task needs."""
    from hexarec.core import CapabilityError
    from hexarec.eval.floors import FLOORS, LABEL_FLOORS, TEXT_FLOORS

    if bench.task == "ranking":
        from hexarec.eval.tasks import Ranking

        return Ranking(data, bench.split, bench.part, bench.candidates, bench.max_users, bench.seed), FLOORS
    if bench.task == "text":
        from hexarec.eval.wording import Text

        return Text(data, bench.split, bench.part, bench.k or 5, bench.max_users, bench.seed), TEXT_FLOORS
    from hexarec.data.pairs import exposures_from
    from hexarec.eval.labels import Labels

    if bench.pairs is None and data.exposures is None:
        raise CapabilityError(
            f"{data.name} has no labelled pairs",
            hint="give a file of user, history, item, label: --pairs FILE, or import data with impressions",
        )
    asked = None if bench.pairs is None else exposures_from(located(bench.pairs, folder), data)
    return Labels(data, asked, bench.share, bench.max_users, bench.seed), LABEL_FLOORS


def system_of(name: str, table: Mapping[str, Any], config: Mapping[str, Any], folder: Path, bench: Bench) -> Any:
    """One system of a bench as a strict pipeline of the slots that its task asks."""
    from hexarec.core import OptionError, variant
    from hexarec.eval.opening import pipeline_of
    from hexarec.pipeline.config import read_toml

    if "use" not in table:
        raise OptionError(f'[bench.systems.{name}] needs use = "..."', hint="pipeline, a method, or a .toml file")
    rest = dict(table)
    use, without, models = rest.pop("use"), rest.pop("without", []), rest.pop("models", {})
    _shaped(name, use, without, models)
    if use != "pipeline" and not use.endswith(".toml"):
        whole = _over(name, use, rest, config) if "over" in rest else _around(name, use, rest, config, bench)
    elif rest:
        raise OptionError(f"[bench.systems.{name}] has no {next(iter(rest))!r}", hint="it has without and models")
    else:
        whole = dict(config) if use == "pipeline" else read_toml(located(use, folder))
    if wrong := [slot for slot in without if slot not in SLOT_NAMES]:
        raise OptionError(f"[bench.systems.{name}] without: no slot {wrong[0]!r}", hint=", ".join(SLOT_NAMES))
    slots = [slot for slot in ASKED[bench.task] if slot not in without]
    kept = {key: part for key, part in whole.items() if key in slots or key not in SLOT_NAMES}
    wanted = NEEDED.get(bench.task)
    if wanted is not None and not kept.get(wanted):
        raise OptionError(
            f"[bench.systems.{name}] has no [{wanted}], which the task {bench.task} asks",
            hint=f"fill the slot, or leave the system out with --only; tasks: {', '.join(ASKED)}",
        )
    return variant(pipeline_of(kept, models), strict=True)


def _shaped(name: str, use: Any, without: Any, models: Any) -> None:
    """Raise OptionError for a value of a system's table that has another shape than it must."""
    from hexarec.core import OptionError

    def strings(values: Any) -> bool:
        return all(isinstance(one, str) for one in values)

    named = isinstance(models, Mapping) and strings(models.values())
    for option, value, right, example in (
        ("use", use, isinstance(use, str), 'use = "pipeline"'),
        ("without", without, isinstance(without, list) and strings(without), 'without = ["rank"]'),
        ("models", models, named, 'models = { lm = "gguf:smollm2" }'),
    ):
        if not right:
            raise OptionError(f"[bench.systems.{name}] {option} = {value!r} has another shape", hint=f"write {example}")


def _class_of(name: str, use: str, config: Mapping[str, Any]) -> tuple[type, str]:
    """The class of a method or of an entry of [use], and the method's name."""
    from hexarec.core import OptionError
    from hexarec.pipeline.build import card

    method = use
    if use.startswith("@"):
        if use[1:] not in config.get("use", {}):
            raise OptionError(f"[bench.systems.{name}]: [use] names no {use!r}")
        table = config["use"][use[1:]]
        method = str(table.get("use", "")) if isinstance(table, Mapping) else ""
        if not method:
            raise OptionError(f"[bench.systems.{name}]: {use!r} is no stage", hint="name a stage of [use], or a method")
    return card(method).load(), method


def _over(name: str, use: str, table: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """A pipeline of a retriever and a method that orders, or picks from, what it finds."""
    from hexarec.core import OptionError, stages_of
    from hexarec.eval.alone import over

    cls, method = _class_of(name, use, config)
    options, window = _windowed(name, method, cls, {key: value for key, value in table.items() if key != "over"})
    given = table["over"]
    found = {"use": given} if isinstance(given, str) else dict(given) if isinstance(given, Mapping) else {}
    slots = over(cls, {"use": use, **options}, found, window)
    if not slots or not found:
        raise OptionError(
            f"[bench.systems.{name}] over: {method!r} can {', '.join(stages_of(cls)) or 'nothing'}",
            hint='over = "ease" stands with a method that can rank, control or react',
        )
    return {"pipeline": {"name": name}, "use": config.get("use", {}), **slots}


def _windowed(name: str, method: str, cls: type, options: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
    """The method's own options, and how many candidates it sees: `window` of a ranker is that, else the method's own.

    Raises OptionError for a window that means nothing, or is no whole number.
    """
    from hexarec.core import OptionError, option_names
    from hexarec.eval.alone import slot_of

    window = options.get("window")
    if window is None:
        return options, None
    if slot_of(cls) not in ("rank", "react"):
        if "window" not in option_names(cls):
            raise OptionError(
                f"[bench.systems.{name}] window: {method!r} ranks nothing and has no option of that name",
                hint="leave window out; the method picks from all that the retriever finds",
            )
        return options, None
    if not isinstance(window, int) or isinstance(window, bool) or window < 1:
        raise OptionError(
            f"[bench.systems.{name}] window = {window!r} is not a whole number of at least 1",
            hint="window = 20 lets the ranker see the first 20 candidates",
        )
    return {key: value for key, value in options.items() if key != "window"}, window


def _around(name: str, use: str, options: Mapping[str, Any], config: Mapping[str, Any], bench: Bench) -> dict[str, Any]:
    """A one-stage pipeline around a method: its retriever, its ranker where items are given, or its explainer."""
    from hexarec.core import OptionError, stages_of

    cls, method = _class_of(name, use, config)
    stage = {"use": use, **options}
    whole: dict[str, Any] = {"pipeline": {"name": name}, "use": config.get("use", {})}
    slot = NEEDED.get(bench.task) or ("rank" if bench.candidates is not None else "")
    if slot and callable(getattr(cls, slot, None)):
        return {**whole, "retrieve": [{"use": "random"}], slot: stage}
    if bench.task in NEEDED:
        raise OptionError(
            f"[bench.systems.{name}] {method!r} cannot {slot}; it can {', '.join(stages_of(cls)) or 'nothing'}",
            hint=f"the task {bench.task} asks for {slot}",
        )
    if not callable(getattr(cls, "retrieve", None)):
        raise OptionError(
            f"[bench.systems.{name}] {method!r} finds no candidates; it can {', '.join(stages_of(cls)) or 'nothing'}",
            hint='say over = "ease" to rank what a retriever finds, or candidates = 99 under [bench]',
        )
    return {**whole, "retrieve": [stage]}
