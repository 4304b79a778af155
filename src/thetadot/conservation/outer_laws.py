"""Laws of networks without a lift: of the last layer under softmax, and of neurons with homogeneous activations."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from thetadot.conservation.errors import UnsupportedArchitectureError
from thetadot.conservation.laws import Laws
from thetadot.conservation.lift import FunctionLift
from thetadot.conservation.polynomials import Polynomials, Term
from thetadot.problems import EmpiricalRisk, Problem, cross_entropy
from thetadot.problems.chain import Chain
from thetadot.problems.conv import Conv
from thetadot.problems.residual import Residual

_DEGREES = {"relu": 1, "leaky_relu": 1, "squared_relu": 2, "square": 2, "cube": 3}


def outer_laws(problem: Problem, loss: str = "own") -> Laws:
    """The laws that a network keeps whatever its hidden layers compute; often there are none.

    Softmax cross-entropy does not see a shift of all outputs: for every node that feeds a dense last layer the sum of
    its weights is conserved, and so is the sum of the output biases. Where the activation of a chain of dense layers
    is homogeneous of degree k, σ(αz) = α^k σ(z), each hidden neuron keeps Σ_in θ² − k Σ_out θ². They need not be all
    laws.

    Arguments:
        problem: what is trained.
        loss: "own" or "any", as for `lift_of`.

    Example:
        >>> import numpy as np, thetadot as td
        >>> x, y = np.ones((4, 2)), np.array([0, 1, 1, 0])
        >>> outer_laws(td.EmpiricalRisk(td.mlp([2, 3, 2], "tanh"), td.cross_entropy, x, y)).names
        ('sum of weights from 1.0', 'sum of weights from 1.1', 'sum of weights from 1.2', 'sum of weights from one')
    """
    components: list[list[Term]] = []
    names: list[str] = []
    if not isinstance(problem, EmpiricalRisk):
        return _laws(problem.size, components, names)
    chain = getattr(problem.network, "chain", None)
    degree = _DEGREES.get(chain.activation.name) if isinstance(chain, Chain) else None
    if degree is not None:
        for neuron in problem.layout.neurons:
            before = np.concatenate([neuron.incoming, neuron.bias])
            terms = [(1, ((int(k), 2),)) for k in before]
            components.append(terms + [(-degree, ((int(k), 2),)) for k in neuron.outgoing])
            names.append(f"neuron {neuron.layer}.{neuron.index}")
    last = _last_layer(problem.network, chain)
    if loss == "own" and problem.sample_loss is cross_entropy and last is not None:
        layer, place = last
        weights = problem.layout.indices(f"{layer}.weight")
        if weights.shape[0] > 1:
            columns = [(f"{place}.{k}", column) for k, column in enumerate(weights.T)]
            if f"{layer}.bias" in problem.layout.shapes:
                columns.append(("one", problem.layout.indices(f"{layer}.bias")))
            components += [[(1, ((int(k), 1),)) for k in column] for _, column in columns]
            names += [f"sum of weights from {name}" for name, _ in columns]
    return _laws(problem.size, components, names)


def _laws(size: int, components: list[list[Term]], names: list[str]) -> Laws:
    return Laws(Polynomials.from_terms(size, components), names, proof="theorem")


def _last_layer(network: Any, chain: Any) -> tuple[str, str] | None:
    """Names of the dense last layer and of the nodes that feed it."""
    if isinstance(chain, Chain):
        return f"layer{len(chain.biases)}", str(len(chain.biases) - 1)
    if isinstance(network, Conv):
        return f"layer{len(network.channels) + 1}", "pool" if network.pooling == "mean" else "pixel"
    if isinstance(network, Residual) and network.outputs is not None:
        return "readout", "stream"
    own = getattr(network, "readout", None)  # of an imported module
    return None if own is None else (own, f"input of {own}")


def output_lift(problem: Problem, loss: str = "own", seed: int = 0) -> FunctionLift:
    """A network's outputs at random inputs, enough of them to move every parameter that any data can move.

    It has at least P + 20 components; what they leave alone at a generic point, every data set leaves alone (softmax
    cross-entropy: their differences over the outputs). Its known laws are the `outer_laws`; it is counted in float64.

    Arguments:
        problem, loss: as for `outer_laws`. seed: of the inputs.

    Raises:
        UnsupportedArchitectureError: a problem without a network.

    Example:
        >>> import numpy as np, thetadot as td
        >>> from thetadot.conservation import count_laws
        >>> x, y = np.ones((4, 2)), np.array([0, 1, 1, 0])
        >>> problem = td.EmpiricalRisk(td.mlp([2, 3, 2], "tanh"), td.cross_entropy, x, y)
        >>> print(count_laws(output_lift(problem), arithmetic="float64"))
        17 parameters, 4 independent laws, CLOSED by float64, all known
    """
    if not isinstance(problem, EmpiricalRisk):
        raise UnsupportedArchitectureError(
            f"{problem.description} has no network whose outputs could be a lift"
        )
    evaluate = problem.network.evaluate
    sample = problem.x.shape[1:]
    outputs = jax.eval_shape(evaluate, jnp.zeros(problem.size), jnp.zeros(sample))
    softmax = loss == "own" and problem.sample_loss is cross_entropy
    count = -(-(problem.size + 20) // (outputs.size - softmax))
    inputs = jax.random.normal(jax.random.key(seed), (count, *sample))

    def seen(theta: jax.Array) -> jax.Array:
        rows = jax.vmap(lambda x: evaluate(theta, x))(inputs).reshape(count, -1)
        return (rows[:, :-1] - rows[:, -1:] if softmax else rows).ravel()

    return FunctionLift(seen, problem.size, outer_laws(problem, loss))
