"""Laws that the loss alone gives, whatever the network computes below its output layer."""

import numpy as np

from thetadot.conservation.laws import Laws
from thetadot.conservation.polynomials import Polynomials
from thetadot.problems import EmpiricalRisk, Problem, cross_entropy
from thetadot.problems.chain import Chain
from thetadot.problems.conv import Conv
from thetadot.problems.residual import Residual


def output_sums(problem: Problem) -> Laws | None:
    """Σ_o W_ok of each column k of the output weights, and the sum of the output biases, under softmax cross-entropy.

    The gradients ∂loss/∂output of a sample sum to zero over the outputs, so those of W sum to zero over each column,
    with any activation below. Known for our own networks that end in a dense layer (MLP, two-layer, convolutional,
    residual with a readout); None for others and for other losses.

    Example:
        >>> import numpy as np, thetadot as td
        >>> x, y = np.ones((4, 2)), np.array([0, 1, 1, 0])
        >>> laws = output_sums(td.EmpiricalRisk(td.mlp([2, 3, 2], "tanh"), td.cross_entropy, x, y))
        >>> laws.names
        ('sum of weights from 1.0', 'sum of weights from 1.1', 'sum of weights from 1.2', 'sum of biases')
    """
    if not isinstance(problem, EmpiricalRisk) or problem.sample_loss is not cross_entropy:
        return None
    network, layout = problem.network, problem.layout
    if isinstance(network, Residual):
        last, below = "readout", "stream"
        if network.outputs is None:
            return None
    elif isinstance(network, Conv) or isinstance(getattr(network, "chain", None), Chain):
        depth = max(int(name[5:].partition(".")[0]) for name in layout.slices if name.startswith("layer"))
        last, below = f"layer{depth}", str(depth - 1)
    else:
        return None
    weight = np.asarray(layout.indices(f"{last}.weight"))
    if weight.ndim != 2 or len(weight) < 2:
        return None
    columns = [(f"sum of weights from {below}.{k}", column) for k, column in enumerate(weight.T)]
    if f"{last}.bias" in layout.slices:
        columns.append(("sum of biases", np.asarray(layout.indices(f"{last}.bias"))))
    components = [[(1, ((int(k), 1),)) for k in column] for _, column in columns]
    table = Polynomials.from_terms(problem.size, components)
    return Laws(table, [name for name, _ in columns], proof="theorem")
