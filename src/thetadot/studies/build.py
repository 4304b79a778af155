"""From a study to what runs: the problem, the starts, the learning rules. Everything is checked before
anything is written, and every error points at a key of the study file."""

import contextlib
import importlib.util
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from thetadot import problems
from thetadot.errors import ThetadotError
from thetadot.problems import EmpiricalRisk, Problem
from thetadot.studies import problem_schema as shapes
from thetadot.studies.errors import StudyError
from thetadot.studies.population_build import make_population
from thetadot.studies.population_schema import Population
from thetadot.studies.schema import StudySpec
from thetadot.studies.source import Key, Origin

_MOST_MEMBERS = 10_000


@contextlib.contextmanager
def _pointing(origin: Origin, *key: str | int) -> Iterator[None]:
    """Errors inside become one-line errors at a key."""
    try:
        yield
    except StudyError:
        raise
    except ThetadotError as error:
        raise origin.error(key, " ".join(str(error).split())) from error


def make_problem(spec: StudySpec, origin: Origin) -> Problem:
    """The problem of a study, after a dry trace of its loss and gradient.

    Raises:
        StudyError: one line that names the key.
    """
    if isinstance(spec.problem, shapes.Python):
        problem = _from_code(spec.problem, origin)
    elif isinstance(spec.problem, Population):
        with _pointing(origin, "problem"):
            problem = make_population(spec.problem)
    else:
        problem = _empirical(spec.problem, origin)
    theta = jax.ShapeDtypeStruct((problem.size,), np.float64)
    with _pointing(origin, "problem"):
        try:
            loss, gradient = jax.eval_shape(type(problem).value_and_grad, problem, theta)
        except ThetadotError:
            raise
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise origin.error(("problem",), f"cannot be traced: {reason}") from error
    if loss.shape != () or gradient.shape != (problem.size,) or loss.dtype != np.float64:
        raise origin.error(
            ("problem",),
            f"the loss is {loss.dtype}{loss.shape} and its gradient {gradient.shape}, "
            f"expected float64() and ({problem.size},)",
        )
    return problem


def _empirical(spec: shapes.Empirical, origin: Origin) -> Problem:
    with _pointing(origin, "problem", "data"):
        data = load_data(spec, origin)
        held_out = (
            load_data(spec, origin, split="test") if getattr(spec.data, "split", "") == "train" else None
        )
    with _pointing(origin, "problem", "network"):
        network = _network(spec.network)
    classes = int(np.max(data[1])) + 1 if _whole(data[1]) else None
    x, y = _fitting(spec, data, classes)
    _check_shapes(spec, x, y, origin)
    with _pointing(origin, "problem"):
        test = None if held_out is None else _fitting(spec, held_out, classes)
        return EmpiricalRisk(network, spec.loss, x, y, name=str(getattr(data, "name", "")) or None, test=test)


def _fitting(spec: shapes.Empirical, data: Any, classes: int | None) -> tuple[Any, Any]:
    """Flat samples as images for a convolutional network; classes as ±1 for the logistic loss, one-hot for the
    squared one."""
    x, y = data
    if isinstance(spec.network, shapes.Conv) and x.ndim == 2 and x.shape[1] == np.prod(spec.network.image):
        x = x.reshape(-1, *spec.network.image)
    if spec.loss == "logistic" and classes == 2:
        return x, 2.0 * np.asarray(y, np.float64) - 1.0
    if spec.loss == "squared" and classes is not None and y.ndim == 1:
        return x, np.eye(classes)[np.asarray(y)]
    return x, y


def load_data(spec: shapes.Empirical, origin: Origin, **instead: Any) -> Any:
    """The data set of a study, a tuple (x, y), with other options instead of its own where they are given."""
    data = spec.data
    options: dict[str, Any] = data.model_dump(exclude={"kind", "path"}, exclude_none=True) | instead
    if isinstance(data, (shapes.Csv, shapes.Parquet, shapes.Npz)):
        file = resolved(data.path, origin)
        if file.suffix.lower() not in (f".{data.kind}", ".tsv" if data.kind == "csv" else ""):
            raise origin.error(
                ("problem", "data", "path"), f"{file} is not a .{data.kind} file: correct path or kind"
            )
        found = problems.data.from_file(file, **options)
        numbers = all(_is_number(label) for label in found.details.get("classes", ()))
        if spec.loss == "squared" and data.task == "auto" and numbers:
            options["task"] = "regression"
            return problems.data.from_file(file, **options)
        return found
    if hasattr(data, "dimension"):
        options.setdefault("dimension", _inputs(spec.network))
    if hasattr(data, "seed"):
        options["key"] = jax.random.key(options.pop("seed"))
    return getattr(problems.data, data.kind)(**options)


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def _inputs(network: Any) -> int:
    """Number of inputs that a network takes."""
    if isinstance(network, (shapes.Mlp, shapes.Linear)):
        return network.widths[0]
    return math.prod(network.image) if isinstance(network, shapes.Conv) else network.dimension


def resolved(name: str, origin: Origin) -> Path:
    """A file that a study names; relative names are relative to the study file."""
    return (origin.directory / Path(name).expanduser()).absolute()


def _network(spec: Any) -> Any:
    return getattr(problems, spec.kind)(**spec.model_dump(exclude={"kind"}, exclude_none=True))


def _check_shapes(spec: shapes.Empirical, x: Any, y: Any, origin: Origin) -> None:
    """Sizes in the network agree with the data; the message names both keys."""
    network, data = spec.network, spec.data
    here: Key = ("problem", "network")
    classes = int(np.max(np.asarray(y))) + 1 if spec.loss == "cross_entropy" and _whole(y) else None
    outputs = classes or (1 if y.ndim == 1 else int(np.prod(y.shape[1:])))
    meaning = f"{outputs} classes" if classes else f"{outputs} label{'s' if outputs > 1 else ''} per sample"
    inputs = int(np.prod(x.shape[1:]))
    if spec.loss == "logistic" and not np.all(np.abs(np.asarray(y)) == 1):
        raise origin.error(
            ("problem", "loss"),
            f"logistic takes two classes, or labels ±1; problem.data ({data.kind}) has others: "
            + ("take cross_entropy" if _whole(y) else "take squared"),
        )

    def disagree(key: Key, given: int, wanted: int, what: str) -> StudyError:
        name = ".".join(str(part) for part in key if isinstance(part, str))
        return origin.error(
            key, f"given {given}, but problem.data ({data.kind}) has {what}: make {name} agree ({wanted})"
        )

    wanted = _inputs(network)
    if isinstance(network, (shapes.Mlp, shapes.Linear)):
        last = network.widths[-1]
        if wanted != inputs:
            raise disagree((*here, "widths", 0), wanted, inputs, f"{inputs} inputs")
        if (classes and last < outputs) or (not classes and last != outputs):
            raise disagree((*here, "widths", len(network.widths) - 1), last, outputs, meaning)
    elif wanted != inputs:
        key = "image" if isinstance(network, shapes.Conv) else "dimension"
        raise disagree((*here, key), wanted, inputs, f"{inputs} inputs")


def _whole(y: Any) -> bool:
    return np.issubdtype(np.asarray(y).dtype, np.integer) and np.asarray(y).size > 0


def _from_code(spec: shapes.Python, origin: Origin) -> Problem:
    """The problem that a user's own function makes: this runs the user's code."""
    file = resolved(spec.file, origin)
    if not file.is_file():
        raise origin.error(
            ("problem", "file"), f"{file} does not exist: relative names are relative to the study file"
        )
    module_spec = importlib.util.spec_from_file_location(f"thetadot_study_{file.stem}", file)
    if module_spec is None or module_spec.loader is None:
        raise origin.error(("problem", "file"), f"{file} is not a Python file: its name must end in .py")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise origin.error(
            ("problem", "file"), f"{file} fails: {type(error).__name__}: {_first_line(error)}"
        ) from error
    function = getattr(module, spec.function, None)
    if not callable(function):
        raise origin.error(("problem", "function"), f"{file} has no function {spec.function}")
    try:
        problem = function(**spec.arguments)
    except Exception as error:
        key = ("problem", "function")
        raise origin.error(
            key, f"{spec.function} fails: {type(error).__name__}: {_first_line(error)}"
        ) from error
    if not isinstance(problem, Problem):
        name = type(problem).__name__
        raise origin.error(
            ("problem", "function"), f"{spec.function} returned a {name}, expected a thetadot Problem"
        )
    return problem


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else "no message"


def starts(spec: StudySpec, problem: Problem, origin: Origin) -> np.ndarray:
    """Starts of the members of the run, (members, P)."""
    init = spec.init
    with _pointing(origin, "init"):
        if init.file is not None:
            stored = stored_starts(resolved(init.file, origin), problem.size, origin)
            if init.only is None:
                return stored
            if init.only >= len(stored):
                raise origin.error(
                    ("init", "only"), f"is {init.only}, {init.file} has members 0 … {len(stored) - 1}"
                )
            return stored[[init.only]]
        key = jax.random.key(init.seed)
        if init.only is None and (init.amount or 0) > _MOST_MEMBERS:
            raise origin.error(
                ("init", "members"),
                f"given {init.amount:,}; a run has at most {_MOST_MEMBERS:,}: give fewer, or spread them over "
                "processes with a key `sweep` and `thetadot sweep`",
            )
        members = range(init.amount or 0) if init.only is None else [init.only]
        if init.scales is not None:
            draw = jax.random.fold_in(key, 0)
            return np.stack([np.asarray(problem.init(draw, scale=init.scales[m])) for m in members])
        return np.stack(
            [np.asarray(problem.init(jax.random.fold_in(key, m), scale=init.scale)) for m in members]
        )


def stored_starts(file: Path, size: int, origin: Origin) -> np.ndarray:
    """Starts from an .npz file, (members, P)."""
    key = ("init", "file")
    try:
        with np.load(file, allow_pickle=False) as stored:
            names = list(stored.files)
            theta0 = np.asarray(stored["theta0"]) if "theta0" in names else None
    except OSError as error:
        raise origin.error(key, f"{file} cannot be read ({error.strerror or error})") from None
    except (ValueError, TypeError, AttributeError):
        raise origin.error(
            key, f"{file} is not an .npz file of plain arrays: write it with numpy.savez"
        ) from None
    if theta0 is None:
        raise origin.error(key, f"{file} has no array `theta0`; it has {', '.join(names) or 'none'}")
    theta0 = np.atleast_2d(theta0)
    if theta0.dtype != np.float64 or theta0.ndim != 2 or theta0.shape[1] != size or not len(theta0):
        given = f"{theta0.dtype}{theta0.shape}"
        raise origin.error(
            key, f"theta0 is {given}, problem has P = {size}: expected float64 (members, {size}) or ({size},)"
        )
    if not np.isfinite(theta0).all():
        raise origin.error(key, f"theta0 in {file} has entries that are not finite")
    return theta0


def make_rule(spec: Any, member: int) -> Any:
    """The learning rule of a member of the study, for `descend`."""
    from thetadot import dynamics

    rate = spec.learning_rate
    if spec.kind == "gradient_descent":
        return dynamics.GradientDescent(rate)
    if spec.kind == "heavy_ball":
        return dynamics.HeavyBall(rate, spec.momentum)
    if spec.kind == "nesterov":
        return dynamics.Nesterov(rate, spec.momentum)
    if spec.kind == "optax":
        import optax

        transformation = getattr(optax, spec.optimizer)(rate, **spec.arguments)
        return dynamics.Optax(transformation, learning_rate=rate, name=spec.optimizer)
    key = jax.random.fold_in(jax.random.key(spec.seed), member)
    if spec.kind == "minibatch":
        return dynamics.MiniBatch(rate, spec.batch_size, key, replace=spec.replace, epochs=spec.epochs)
    return dynamics.PerSample(rate, spec.order, None if spec.order == "fixed" else key)


def check_rules(spec: StudySpec, problem: Problem, origin: Origin) -> None:
    """Every rule can be made and fits the problem, and all that is observed can be."""
    from thetadot.dynamics.observables import resolve_observables

    rules: list[tuple[Key, Any]] = [(("rule",), spec.rule)]
    rules += [(("compare", index), rule) for index, rule in enumerate(spec.compare)]
    for key, rule in rules:
        with _pointing(origin, *key):
            if rule.kind == "flow":
                if rule.certify and rule.saves == "steps":
                    raise origin.error(
                        (*key, "saves"), "`certify` compares runs on a common time grid: not saves: steps"
                    )
                if rule.saves == "linear" and rule.until.time is None:
                    raise origin.error((*key, "saves"), "linear save times need an end: give until.time")
                _check_saves(rule.saves, (*key, "saves"), origin)
                continue
            _check_saves(rule.saves, (*key, "saves"), origin)
            try:
                made = make_rule(rule, 0)
                made.draw(problem)
                made.start(jax.numpy.zeros(problem.size))
            except TypeError as error:
                raise origin.error((*key, "arguments"), _first_line(error)) from error
    with _pointing(origin, "observe"):
        resolve_observables(spec.observed, problem)


def _check_saves(saves: Any, key: Key, origin: Origin) -> None:
    if isinstance(saves, list) and any(after <= before for before, after in itertools.pairwise(saves)):
        raise origin.error(key, "save times must ascend: sort them and drop duplicates")
