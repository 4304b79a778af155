"""Integrability as a lens of studies: options, analysis, and one line of result."""

import dataclasses
import functools
from typing import Any, Literal

import numpy as np
import sympy
from pydantic import BaseModel, ConfigDict, Field

from thetadot.dynamics import Path
from thetadot.integrability.errors import IntegrabilityError, UnsupportedFlowError
from thetadot.integrability.kovacic import GaloisGroup, decide, normal_quotient
from thetadot.integrability.loops import plan_loops, polynomial_system, singularities
from thetadot.integrability.manifolds import invariant_manifolds
from thetadot.integrability.orbits import Orbit, leaves
from thetadot.integrability.outcome import Verdict
from thetadot.integrability.symbolic import SymbolicFlow, flow_of_problem, network_flow
from thetadot.integrability.variational import VariationalBlock, normal_blocks
from thetadot.integrability.verdict import analyse as decide_flow
from thetadot.problems import Problem

_MOST_POINTS = 400


class NetworkSpec(BaseModel):
    """A narrow network with exact data, named in the study file."""

    model_config = ConfigDict(extra="forbid")

    widths: list[int] = Field(min_length=2, max_length=6, description="[inputs, hidden…, outputs]")
    activation: str = Field("tanh", description="activation of the hidden layers, by name")
    bias: bool | Literal["hidden"] = Field(
        True, description="biases in all layers, none, or hidden ones only"
    )
    data: list[tuple[Any, Any]] = Field(
        min_length=1, max_length=20, description='pairs (x, y) of exact numbers, such as ["1", "1/2"]'
    )


class MapSpec(BaseModel):
    """A map over targets and leaves of a network with one hidden neuron and data (1, y), (−1, −y)."""

    model_config = ConfigDict(extra="forbid")

    targets: list[str] = Field(min_length=1, max_length=100, description="targets y, exact")
    levels: list[str] = Field(["0", "1"], min_length=1, max_length=10, description="levels C, exact")


class Options(BaseModel):
    """Options of the lens `integrability` in a study file."""

    model_config = ConfigDict(extra="forbid")

    network: Literal["problem"] | NetworkSpec = Field(
        "problem",
        description="problem: the study's own, if it is narrow; or a narrow network with exact data",
    )
    levels: list[str] = Field(
        ["0", "1", "1/2", "-1", "2"], max_length=20, description="levels of planar integrals"
    )
    integral_degree: int = Field(2, ge=1, le=4, description="largest degree of polynomial first integrals")
    numeric: bool = Field(True, description="look at the monodromy of the deciding block too")
    rigorous: bool = Field(False, description="monodromy in ball arithmetic: a proof, but slower")
    exhaustive: bool = Field(False, description="go on with all leaves after a proof was found")
    time_limit: float = Field(120.0, gt=0, le=86400, description="seconds after which the scan stops")
    map: MapSpec | None = Field(None, description="groups over targets and levels, for networks of width one")


@dataclasses.dataclass(frozen=True)
class IntegrabilityResult:
    """What the lens found.

    Attributes:
        flow: what was analysed. verdict: see `Verdict`. groups: names over (target, level), if a map was asked for.
    """

    flow: SymbolicFlow
    verdict: Verdict
    groups: Any = None

    @property
    def name(self) -> str:
        """The network in words."""
        network = self.flow.network
        return network.description if network else f"a flow of {self.flow.size} parameters"

    def summary(self) -> str:
        """Network and verdict in one line."""
        return f"{self.name}: {self.verdict}"

    def to_xarray(self):
        """The findings (dimension finding), poles and loops of the deciding block (pole, corner), and the map.

        The map has dimensions map_target and map_level, if one was asked for; the proof stands in the attributes.
        """
        data = self.verdict.to_xarray()
        if self.verdict.block is not None:
            data = data.assign(_loops(self.verdict.block))
        if self.groups is not None:
            data["map_group"] = self.groups.rename({"target": "map_target", "level": "map_level"})
        return data.assign_attrs(summary=self.summary(), network=self.name, loss=str(self.flow.loss))


def _loops(block: VariationalBlock) -> dict[str, Any]:
    """Finite poles of a block, and the loops around them that `monodromy` takes."""
    poles = singularities(polynomial_system(block.entries))
    if not poles:
        return {}
    _, loops = plan_loops(poles)
    corners = [(k, float(x), float(y)) for k, loop in enumerate(loops) for x, y in loop]
    parameter = {"long_name": f"plane of {block.parameter.name}"}
    return {
        "pole": ("pole", np.arange(len(poles))),
        "part": ("part", ["re", "im"]),
        "pole_place": (("pole", "part"), np.array([[s.place.real, s.place.imag] for s in poles]), parameter),
        "pole_irregular": ("pole", np.array([s.order > 1 for s in poles]).astype(np.int64)),
        "corner_loop": ("corner", np.array([c[0] for c in corners], np.int64)),
        "corner_place": (("corner", "part"), np.array([c[1:] for c in corners]), parameter),
    }


def analyse(problem: Problem, path: Path, options: Options) -> IntegrabilityResult:
    """Decide about the flow of the study's own problem, or of the narrow network that the options name.

    Arguments:
        problem: what was trained. path: the run (the answer does not depend on it). options: see `Options`.

    Raises:
        UnsupportedFlowError: the problem is not narrow, or its network or loss has no exact flow; the message says
            which `network:` entry to write. NotAnalyticError: relu and its family.
        InexactDataError: data that are no small rationals.
    """
    if isinstance(options.network, NetworkSpec):
        return _named(options.model_dump_json())
    return _analysed(flow_of_problem(problem), options)


@functools.lru_cache(maxsize=8)
def _named(options_json: str) -> IntegrabilityResult:
    """The same for every path of a study: decided once."""
    options = Options.model_validate_json(options_json)
    spec = options.network
    assert isinstance(spec, NetworkSpec)
    pairs = [tuple(pair) for pair in spec.data]
    return _analysed(network_flow(spec.widths, spec.activation, pairs, bias=spec.bias), options)


def _analysed(flow: SymbolicFlow, options: Options) -> IntegrabilityResult:
    verdict = decide_flow(
        flow,
        levels=options.levels,
        integral_degree=options.integral_degree,
        numeric=options.numeric,
        rigorous=options.rigorous,
        exhaustive=options.exhaustive,
        time_limit=options.time_limit,
    )
    groups = None if options.map is None else target_map(flow, options.map.targets, options.map.levels)
    return IntegrabilityResult(flow, verdict, groups)


def target_map(flow: SymbolicFlow, targets: list[str], levels: list[str]):
    """Groups of the first block of order 2 for data (1, y), (−1, −y): names over (target, level).

    Arguments:
        flow: of a network with one hidden neuron, whose activation and biases are taken. targets: y. levels: C.

    Raises:
        UnsupportedFlowError: more neurons, or too many points.
    """
    import xarray

    network = flow.network
    if network is None or network.widths != (1, 1, 1):
        raise UnsupportedFlowError("a map over targets needs a network of widths [1, 1, 1]")
    if len(targets) * len(levels) > _MOST_POINTS:
        raise UnsupportedFlowError(f"{len(targets) * len(levels)} points: a map has at most {_MOST_POINTS}")
    names = np.full((len(targets), len(levels)), "", dtype=object)
    bias: Any = "hidden" if network.biases == (True, False) else all(network.biases)
    for i, target in enumerate(targets):
        y = sympy.Rational(target)
        activation = network.activation.expression
        mirrored = network_flow([1, 1, 1], activation, [(1, y), (-1, -y)], bias=bias)
        for j, level in enumerate(levels):
            names[i, j] = _group_on(mirrored, sympy.Rational(level))
    coordinates = {"target": np.array(targets, dtype=object), "level": np.array(levels, dtype=object)}
    return xarray.DataArray(names, coords=coordinates, dims=("target", "level"), name="group")


def _group_on(flow: SymbolicFlow, level: sympy.Rational) -> str:
    for manifold in invariant_manifolds(flow):
        if manifold.dimension != 2:
            continue
        for found, leaf in leaves(flow, manifold, (level,)):
            if found != level or not isinstance(leaf, Orbit):
                continue
            for block in normal_blocks(flow, leaf):
                if block.order != 2:
                    continue
                try:
                    return decide(
                        normal_quotient([list(row) for row in block.entries]), leaf.parameter
                    ).group.name
                except IntegrabilityError:
                    return GaloisGroup.UNDECIDED.name
    return GaloisGroup.UNDECIDED.name
