"""Gradient flow as exact expressions: from a loss, from a narrow network and exact data, or from a problem."""

import dataclasses
import itertools
from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import sympy

from thetadot.integrability.activations import KINKED, ExactActivation, exact_activation
from thetadot.integrability.errors import InexactDataError, NotAnalyticError, UnsupportedFlowError
from thetadot.problems import EmpiricalRisk, FunctionRisk
from thetadot.problems.losses import loss_name, squared

LARGEST = 16
"""Most parameters of a flow that is made from a problem."""
_DENOMINATOR = 1000


@dataclasses.dataclass(frozen=True)
class ExactNetwork:
    """A narrow network with exact data.

    Attributes:
        widths: (inputs, hidden…, outputs). activation: of the hidden layers. biases: one flag for each layer.
        data: pairs (inputs, outputs) of exact numbers. scale: factor of the output.
    """

    widths: tuple[int, ...]
    activation: ExactActivation
    biases: tuple[bool, ...]
    data: tuple[tuple[tuple[sympy.Expr, ...], tuple[sympy.Expr, ...]], ...]
    scale: sympy.Expr = sympy.S.One

    @property
    def description(self) -> str:
        """Widths, activation, biases and data in a few words."""
        shape = "-".join(map(str, self.widths))
        with_biases = "with biases" if all(self.biases) else "without biases"
        if any(self.biases) and not all(self.biases):
            with_biases = "with hidden biases"
        return f"{shape} {self.activation.name} {with_biases}, {len(self.data)} samples"


@dataclasses.dataclass(frozen=True)
class SymbolicFlow:
    """θ̇ = −∇L(θ) with exact L.

    Attributes:
        parameters: θ, P symbols. loss: L. field: −∇L, P expressions. network: where the flow came from, or None.
        adopted: rationals that were read from floats, {entry: rational}.
    """

    parameters: tuple[sympy.Symbol, ...]
    loss: sympy.Expr
    field: tuple[sympy.Expr, ...]
    network: ExactNetwork | None = None
    adopted: tuple[tuple[str, str], ...] = ()

    @property
    def size(self) -> int:
        """P."""
        return len(self.parameters)

    def jacobian(self) -> sympy.ImmutableMatrix:
        """DV = −∇²L, (P, P)."""
        return self._jacobian

    @cached_property
    def _jacobian(self) -> sympy.ImmutableMatrix:
        rows = [[sympy.Integer(0)] * self.size for _ in self.parameters]
        for i, j in itertools.combinations_with_replacement(range(self.size), 2):
            rows[i][j] = rows[j][i] = sympy.diff(self.field[i], self.parameters[j])
        return sympy.ImmutableMatrix(rows)

    def problem(self) -> FunctionRisk:
        """The same loss as a float64 problem for `thetadot.flow`; θ in the same order."""
        import jax.numpy as jnp

        exact = self.loss.replace(
            lambda e: e.is_number and not e.is_Rational and not e.is_Atom, lambda e: e.evalf(17)
        )
        function = sympy.lambdify(self.parameters, exact, modules="jax")

        def loss(theta):
            return function(*theta)

        return FunctionRisk(loss, jnp.full(self.size, 0.5))


def exact_number(value: Any, entry: str) -> sympy.Expr:
    """An int, Fraction, string "n/d" or exact number of sympy.

    Raises:
        InexactDataError: a float; the message names the rational it may mean.
    """
    if isinstance(value, (float, np.floating)):
        guess = Fraction(float(value)).limit_denominator(_DENOMINATOR)
        raise InexactDataError(
            f"{entry} is the float {value!r}: give an exact number, perhaps {str(guess)!r}"
        )
    try:
        exact = sympy.Rational(value) if isinstance(value, (str, Fraction)) else sympy.sympify(value)
    except (TypeError, ValueError, sympy.SympifyError) as error:
        raise InexactDataError(f"{entry} is {value!r}: expected an exact number such as '1/2'") from error
    if exact.has(sympy.Float) or not exact.is_number:
        raise InexactDataError(f"{entry} is {value}: expected an exact number such as '1/2'")
    return exact


def symbolic_flow(loss: Any, parameters: Sequence[sympy.Symbol]) -> SymbolicFlow:
    """The gradient flow of a loss given as an expression.

    Arguments:
        loss: L(θ), exact. parameters: θ.

    Raises:
        NotAnalyticError: L has a kink. InexactDataError: L contains floats.
        UnsupportedFlowError: free symbols that are no parameters.

    Example:
        >>> a, w = sympy.symbols("a w")
        >>> symbolic_flow((a * w - 1) ** 2 / 2, [a, w]).field
        (-w*(a*w - 1), -a*(a*w - 1))
    """
    return _flow(sympy.sympify(loss), tuple(parameters), None)


def _flow(loss, parameters, network, adopted=()) -> SymbolicFlow:
    if loss.has(*KINKED):
        kinks = sorted({type(e).__name__ for e in loss.atoms(*KINKED)})
        raise NotAnalyticError(f"the loss contains {', '.join(kinks)}: the theory needs an analytic loss")
    floats = loss.atoms(sympy.Float)
    if floats:
        first = min(floats)
        guess = Fraction(float(first)).limit_denominator(_DENOMINATOR)
        raise InexactDataError(f"the loss contains the float {first}: give an exact number, perhaps {guess}")
    free = loss.free_symbols - set(parameters)
    if free:
        named = ", ".join(sorted(map(str, free)))
        raise UnsupportedFlowError(
            f"the loss has free symbols {named}: name them as parameters or give them values"
        )
    if not parameters or len(set(parameters)) != len(parameters):
        raise UnsupportedFlowError("parameters: expected at least one, each once")
    field = tuple(-sympy.diff(loss, symbol) for symbol in parameters)
    return SymbolicFlow(parameters, loss, field, network, tuple(adopted))


def network_flow(
    widths: Sequence[int],
    activation: str | sympy.Expr,
    data: Sequence[Sequence[Any]],
    *,
    bias: bool | str = True,
) -> SymbolicFlow:
    """The gradient flow of a fully connected network with L = 1/(2N) Σ ‖f(x) − y‖².

    Arguments:
        widths: [inputs, hidden…, outputs]. activation: a name, or an expression of sympy in one symbol.
        data: pairs (x, y) of exact numbers, or of sequences of them. bias: True, False, or "hidden".

    Returns:
        The flow; its parameters are w{layer}_{out}_{in} and b{layer}_{out}, in the order of `td.mlp`'s layout.

    Raises:
        NotAnalyticError: relu and its family. InexactDataError: floats among the data.
        UnsupportedFlowError: widths or data of the wrong shape.

    Example:
        >>> network_flow([1, 1, 1], "tanh", [("1", "1/2")], bias=False).loss
        (w2_1_1*tanh(w1_1_1) - 1/2)**2/2
    """
    widths = tuple(int(width) for width in widths)
    if len(widths) < 2 or min(widths) < 1:
        raise UnsupportedFlowError(
            f"widths is {list(widths)}: expected at least [inputs, outputs], all positive"
        )
    if bias not in (True, False, "hidden"):
        raise UnsupportedFlowError(f'bias is {bias!r}: expected True, False or "hidden"')
    layers = len(widths) - 1
    biases = tuple(bool(bias) and (bias is True or layer < layers - 1) for layer in range(layers))
    samples = []
    for i, pair in enumerate(data):
        if len(pair) != 2:
            raise UnsupportedFlowError(f"data[{i}] has {len(pair)} entries: expected a pair (x, y)")
        samples.append(
            (_vector(pair[0], widths[0], f"x of data[{i}]"), _vector(pair[1], widths[-1], f"y of data[{i}]"))
        )
    if not samples:
        raise UnsupportedFlowError("data is empty: give at least one pair (x, y)")
    return _of_network(ExactNetwork(widths, exact_activation(activation), biases, tuple(samples)))


def _vector(value: Any, size: int, entry: str) -> tuple[sympy.Expr, ...]:
    values = list(value) if isinstance(value, (list, tuple, np.ndarray)) else [value]
    if len(values) != size:
        raise UnsupportedFlowError(f"{entry} has {len(values)} entries: expected {size}")
    return tuple(exact_number(v, entry) for v in values)


def network_parameters(widths: Sequence[int], biases: Sequence[bool]) -> list[dict[str, Any]]:
    """One record per layer: `weight` (out × in symbols) and `bias` (out symbols, or empty)."""
    records = []
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(widths), start=1):
        weight = [
            [sympy.Symbol(f"w{layer}_{o}_{i}") for i in range(1, inputs + 1)] for o in range(1, outputs + 1)
        ]
        bias = [sympy.Symbol(f"b{layer}_{o}") for o in range(1, outputs + 1)] if biases[layer - 1] else []
        records.append({"weight": weight, "bias": bias})
    return records


def _of_network(network: ExactNetwork, adopted=()) -> SymbolicFlow:
    records = network_parameters(network.widths, network.biases)
    parameters = [s for r in records for s in (*(w for row in r["weight"] for w in row), *r["bias"])]
    total = sympy.Integer(0)
    for inputs, outputs in network.data:
        values: list[sympy.Expr] = list(inputs)
        for depth, record in enumerate(records):
            shifts = record["bias"] or [sympy.Integer(0)] * len(record["weight"])
            values = [
                sympy.Add(*(w * v for w, v in zip(row, values, strict=True)), b)
                for row, b in zip(record["weight"], shifts, strict=True)
            ]
            if depth < len(records) - 1:
                values = [network.activation.at(value) for value in values]
        total += sum((network.scale * v - y) ** 2 for v, y in zip(values, outputs, strict=True))
    return _flow(total / (2 * len(network.data)), tuple(parameters), network, adopted)


def flow_of_problem(problem: Any) -> SymbolicFlow:
    """The exact flow of a narrow problem: `mlp`, `linear` or `two_layer` with squared loss, P ≤ 16.

    A float64 among the data is taken for a rational only if one with denominator ≤ 1000 rounds to exactly that
    float; what was adopted is recorded.

    Raises:
        UnsupportedFlowError: more parameters, another network or another loss.
        NotAnalyticError: relu and its family. InexactDataError: data that are no small rationals.

    Example:
        >>> import thetadot as td
        >>> narrow = td.EmpiricalRisk(td.mlp([1, 1, 1], "tanh"), td.squared, [[1.0], [-1.0]], [[0.5], [-0.5]])
        >>> flow_of_problem(narrow).size
        4
    """
    if not isinstance(problem, EmpiricalRisk):
        raise UnsupportedFlowError(f"{type(problem).__name__}: expected an EmpiricalRisk of a narrow network")
    if problem.size > LARGEST:
        raise UnsupportedFlowError(
            f"not narrow (P = {problem.size} > {LARGEST}): name a narrow one, such as "
            "network: {widths: [1, 1, 1], activation: tanh, data: [['1', '1'], ['-1', '-1']]}"
        )
    chain = getattr(problem.network, "chain", None)
    if chain is None:
        raise UnsupportedFlowError(
            f"{problem.network.description}: expected mlp, linear or two_layer (fully connected)"
        )
    named = loss_name(problem.sample_loss)
    if named != loss_name(squared):
        raise UnsupportedFlowError(f"{named}: expected the squared loss, whose flow is exact")
    activation = exact_activation(chain.activation.name)
    x = np.asarray(problem.x, float).reshape(problem.samples, -1)
    y = np.asarray(problem.y, float).reshape(problem.samples, -1)
    adopted: dict[str, str] = {}
    data = tuple(
        (
            tuple(_adopt(v, f"x[{i}]", adopted) for v in x[i]),
            tuple(_adopt(v, f"y[{i}]", adopted) for v in y[i]),
        )
        for i in range(len(x))
    )
    scale = _adopt(chain.output_scale, "output scale", {})
    network = ExactNetwork(tuple(chain.widths), activation, tuple(chain.biases), data, scale)
    return _of_network(network, tuple(adopted.items()))


def _adopt(value: float, entry: str, adopted: dict[str, str]) -> sympy.Rational:
    guess = Fraction(float(value)).limit_denominator(_DENOMINATOR)
    if float(guess) != float(value):
        raise InexactDataError(
            f"{entry} is {value!r}, no rational with denominator ≤ {_DENOMINATOR}: pose the flow with network_flow"
        )
    if guess.denominator != 1:
        adopted[f"{entry} = {float(value)!r}"] = str(guess)
    return sympy.Rational(guess.numerator, guess.denominator)
