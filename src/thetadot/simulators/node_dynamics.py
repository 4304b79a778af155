"""Dynamics on graphs: dx_i/dt = own(x_i) + Σ_j A_ji pair(x_i, x_j), node i listening to its in-neighbours j.

The equations and their parameters are those of the code of V. Vasiliauskaite and N. Antulov-Fantulin
(arXiv 2301.04900), FitzHugh–Nagumo with textbook parameters of ours.
"""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from thetadot.problems.checks import Numbers, as_float64, is_concrete
from thetadot.simulators.errors import DomainError, MatrixError
from thetadot.simulators.graph import Graph


class NodeDynamics(eqx.Module):
    """A vector field on the nodes of any graph: dynamics(states (n, d), graph) → (n, d).

    Arguments:
        own: x_i (d,) → (d,), what a node does alone. pair: (x_i (d,), x_j (d,)) → (d,), what it hears of an
            in-neighbour j, to be weighted by the edge. Functions, or `jax.tree_util.Partial` with parameters.
        components: d.
        domain: why states must not be negative; empty if they may. Negative states then raise `DomainError` on
            concrete input; while JAX traces they give NaN.

    Raises (when called):
        MatrixError: states of another shape than (n, d).
        DomainError: see `domain`.

    Example:
        >>> from thetadot.simulators import Graph
        >>> dynamics = NodeDynamics(lambda x: -x, lambda x, other: other - x)
        >>> dynamics(np.array([[1.0], [0.0]]), Graph([0], [1], size=2)).tolist()
        [[-1.0], [1.0]]
    """

    own: Callable
    pair: Callable
    components: int = eqx.field(static=True, default=1)
    domain: str = eqx.field(static=True, default="")

    def __call__(self, states: Numbers, graph: Graph) -> Float[Array, "n d"]:
        """dx/dt of every node."""
        x = as_float64(states, "states")
        if x.shape != (graph.size, self.components):
            raise MatrixError(
                f"states have shape {x.shape}, expected ({graph.size}, {self.components}): nodes × components"
            )
        self.require_domain(x)
        heard = jax.vmap(self.pair)(x[graph.targets], x[graph.sources])
        summed = jax.ops.segment_sum(
            graph.weights[:, None] * heard, graph.targets, graph.size, indices_are_sorted=True
        )
        return jax.vmap(self.own)(x) + summed

    def require_domain(self, states: Array) -> None:
        """Raise `DomainError` if concrete states, of any shape, lie outside of the domain."""
        if self.domain and is_concrete(states) and np.any(np.asarray(states) < 0):
            raise DomainError(f"a state is {float(np.asarray(states).min()):.3g} < 0: {self.domain}")


def _power(x: Array, exponent: float) -> Array:
    whole = float(exponent).is_integer() and exponent >= 0
    return jax.lax.integer_pow(x, int(exponent)) if whole else jnp.power(x, exponent)


def _domain(**exponents: float) -> str:
    for name, value in exponents.items():
        if not float(value).is_integer() or value < 0:
            return f"{name} = {value:g} is no whole number, whose power of a negative state is not real"
    return ""


Terms = tuple[Callable, Callable]


def _made(terms: Terms, *numbers: float, components: int = 1, domain: str = "") -> NodeDynamics:
    arrays = tuple(jnp.asarray(float(number)) for number in numbers)
    return NodeDynamics(Partial(terms[0], *arrays), Partial(terms[1], *arrays), components, domain)


# Terms are made once for each exponent: parameters are arguments, so that other values compile nothing.
@functools.cache
def _mass_action(exponent: float) -> Terms:
    return (
        lambda inflow, decay, coupling, x: inflow - decay * _power(x, exponent),
        lambda inflow, decay, coupling, x, other: -coupling * x * other,
    )


def mass_action(
    *, inflow: float = 0.5, decay: float = 0.1, decay_exponent: float = 3.0, coupling: float = 1.0
) -> NodeDynamics:
    """inflow − decay·x^decay_exponent − coupling·x_i Σ_j A_ji x_j.

    Example:
        >>> from thetadot.simulators import Graph
        >>> np.asarray(mass_action()(np.array([[1.0], [2.0]]), Graph([0], [1], size=2))).round(12).tolist()
        [[0.4], [-2.3]]
    """
    domain = _domain(decay_exponent=decay_exponent)
    return _made(_mass_action(float(decay_exponent)), inflow, decay, coupling, domain=domain)


@functools.cache
def _population(exponent: float, coupling_exponent: float) -> Terms:
    return (
        lambda decay, coupling, x: -decay * _power(x, exponent),
        lambda decay, coupling, x, other: coupling * _power(other, coupling_exponent),
    )


def population(
    *, decay: float = 2.0, decay_exponent: float = 3.0, coupling: float = 0.3, coupling_exponent: float = 1.5
) -> NodeDynamics:
    """−decay·x^decay_exponent + coupling·Σ_j A_ji x_j^coupling_exponent.

    Example:
        >>> from thetadot.simulators import Graph
        >>> np.asarray(population()(np.array([[4.0], [1.0]]), Graph([0], [1], size=2))).round(12).tolist()
        [[-128.0], [0.4]]
    """
    domain = _domain(decay_exponent=decay_exponent, coupling_exponent=coupling_exponent)
    return _made(_population(float(decay_exponent), float(coupling_exponent)), decay, coupling, domain=domain)


@functools.cache
def _michaelis_menten(hill: float) -> Terms:
    return (
        lambda decay, coupling, x: -decay * x,
        lambda decay, coupling, x, other: coupling * _power(other, hill) / (1 + _power(other, hill)),
    )


def michaelis_menten(*, decay: float = 4.0, coupling: float = 0.5, hill: float = 3.0) -> NodeDynamics:
    """−decay·x + coupling·Σ_j A_ji x_j^hill/(1 + x_j^hill).

    Example:
        >>> from thetadot.simulators import Graph
        >>> michaelis_menten()(np.array([[1.0], [0.0]]), Graph([0], [1], size=2)).tolist()
        [[-4.0], [0.25]]
    """
    return _made(_michaelis_menten(float(hill)), decay, coupling, domain=_domain(hill=hill))


_EPIDEMIC: Terms = (
    lambda recovery, infection, x: -recovery * x,
    lambda recovery, infection, x, other: infection * (1 - x) * other,
)


def epidemic(*, recovery: float = 4.0, infection: float = 0.5) -> NodeDynamics:
    """−recovery·x + infection·(1 − x_i) Σ_j A_ji x_j.

    Example:
        >>> from thetadot.simulators import Graph
        >>> epidemic()(np.array([[1.0], [0.5]]), Graph([0], [1], size=2)).tolist()
        [[-4.0], [-1.75]]
    """
    return _made(_EPIDEMIC, recovery, infection)


_HEAT: Terms = (
    lambda conductivity, x: jnp.zeros_like(x),
    lambda conductivity, x, other: conductivity * (other - x),
)


def heat_diffusion(*, conductivity: float = 0.5) -> NodeDynamics:
    """conductivity·Σ_j A_ji (x_j − x_i).

    Example:
        >>> from thetadot.simulators import Graph
        >>> heat_diffusion()(np.array([[1.0], [0.0]]), Graph([0], [1], size=2)).tolist()
        [[0.0], [0.5]]
    """
    return _made(_HEAT, conductivity)


def _neuron(drive: Array, offset: Array, damping: Array, slowness: Array, coupling: Array, x: Array) -> Array:
    v, w = x
    return jnp.stack([v - v**3 / 3 - w + drive, (v + offset - damping * w) / slowness])


def _gap_junction(*numbers: Array) -> Array:
    coupling, x, other = numbers[-3:]
    return jnp.stack([coupling * (other[0] - x[0]), jnp.zeros_like(x[0])])


def fitzhugh_nagumo(
    *,
    drive: float = 0.5,
    offset: float = 0.7,
    damping: float = 0.8,
    slowness: float = 12.5,
    coupling: float = 0.1,
) -> NodeDynamics:
    """v̇ = v − v³/3 − w + drive + coupling·Σ_j A_ji (v_j − v_i), ẇ = (v + offset − damping·w)/slowness.

    Two components (v, w), textbook parameters; not among the dynamics of arXiv 2301.04900.

    Example:
        >>> from thetadot.simulators import Graph
        >>> np.asarray(fitzhugh_nagumo()(np.array([[0.0, 0.5]]), Graph([], [], size=1))).round(3).tolist()
        [[0.0, 0.024]]
    """
    return _made((_neuron, _gap_junction), drive, offset, damping, slowness, coupling, components=2)
