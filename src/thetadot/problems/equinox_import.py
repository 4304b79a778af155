"""Equinox modules as problems."""

from collections.abc import Callable

import equinox as eqx

from thetadot.problems.checks import Numbers
from thetadot.problems.empirical import EmpiricalRisk
from thetadot.problems.equinox_network import EquinoxNetwork


def from_equinox(
    module: eqx.Module, loss: str | Callable, x: Numbers, y: Numbers, *, name: str | None = None
) -> EmpiricalRisk:
    """The mean loss of an Equinox module over a data set, as a problem.

    Arguments:
        module: called with ONE sample. Every inexact array leaf is a parameter, in tree order; the rest is
            static. Build it after `import thetadot`, so that its parameters are float64.
        loss, x, y, name: as for `EmpiricalRisk`.

    Returns:
        A problem whose `init(key, scale)` is the module's own parameters × scale and whose
        `unravel(theta)` is the module with the parameters θ. `eqx.nn.MLP` has named layers, hidden neurons
        and the structured Hessian.

    Raises:
        NetworkError: the module cannot be called or has no parameters.
        PrecisionError, DataError, ShapeError, LabelError: as for `EmpiricalRisk`.

    Example:
        >>> import equinox as eqx
        >>> import jax
        >>> from thetadot.problems import data, squared
        >>> module = eqx.nn.MLP(10, 1, 5, depth=1, activation=jax.numpy.tanh, key=jax.random.key(0))
        >>> problem = from_equinox(module, squared, *data.diabetes())
        >>> problem.size, list(problem.layout.slices)[0]
        (61, 'layer1.weight')
    """
    return EmpiricalRisk(EquinoxNetwork.of(module), loss, x, y, name=name)
