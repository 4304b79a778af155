"""CVODE, the variable-order BDF integrator of SUNDIALS, by name and interpolant; a host-driven loop runs it."""

import importlib.util
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from thetadot.errors import ThetadotError
from thetadot.numerics.solvers.stepping import RightSide, Step, Stepper

LINEAR = ("dense", "gmres")
DEGREE = 5  # of CVODE's interpolant at its highest order


class MissingSundialsError(ThetadotError):
    """The extra that CVODE needs is not installed."""


class Memory(NamedTuple):
    """Where CVODE last started afresh, how many steps ago, and the states inside its last step.

    CVODE's own history can neither be read nor written. It is made again, to the bit, by taking the same steps from
    the same start.
    """

    y: Float[Any, " n"]
    time: Float[Any, ""]
    time_low: Float[Any, ""]
    squared_speed: Float[Any, ""]
    h: Float[Any, ""]
    steps: Int[Any, ""]  # since then; −1: the start is still to be taken from the run
    values: Float[Any, "m _"]  # with ∫|F|² as the last component


class CVODE(Stepper):
    """SUNDIALS' CVODE (BDF of orders 1–5) through scikit-sundae: `pip install thetadot[sundials]`.

    An independent oracle, and a fallback. It runs on the host: each gradient is a call of a compiled function. The
    Newton matrix comes from our Hessian (`linear="dense"`), or its products from our Hessian–vector products
    (`linear="gmres"`, up to 30 Krylov vectors, no preconditioner). ∫|F|² is integrated as one more state.

    CVODE's history cannot be saved. It is therefore started afresh every 500 steps, and a resumed run repeats the
    steps since the last such place, so that it is equal to the bit to an uninterrupted one. Counts (gradients,
    Hessians, products, steps) are those of the uninterrupted run. Rejected steps are seen as returns to an earlier
    time; those within the first step after a start are not. Unlike our own methods it does not reject a step that
    raises the loss, and knows no `error_norm`.

    Arguments:
        linear: "dense" or "gmres".

    Raises:
        MissingSundialsError: scikit-sundae is not installed.

    Source: Hindmarsh et al. (2005), ACM Trans. Math. Softw. 31, 363–396.

    Example:
        >>> CVODE("gmres").name
        'CVODE-GMRES'
    """

    linear: str = eqx.field(static=True, default="dense")

    def __check_init__(self):
        if self.linear not in LINEAR:
            raise ThetadotError(f'linear = {self.linear!r}: expected "dense" or "gmres"')
        if importlib.util.find_spec("sksundae") is None:
            raise MissingSundialsError("CVODE needs the extra: pip install 'thetadot[sundials]'")

    @property
    def name(self) -> str:
        return "CVODE" if self.linear == "dense" else "CVODE-GMRES"

    @property
    def error_order(self) -> int:
        return 2

    @property
    def interpolates(self) -> bool:
        return True

    @property
    def multistep(self) -> bool:
        return True

    def start(
        self,
        right_side: RightSide,
        args: Any,
        y: Float[Array, " n"],
        field: Float[Array, " n"],
        h: Float[Array, ""],
    ) -> Memory:
        """A memory that begins where the run is."""
        del right_side, args, field
        zero = jnp.zeros_like(h)
        values = jnp.zeros((DEGREE + 1, y.size + 1), y.dtype)
        return Memory(y, zero, zero, zero, h, jnp.asarray(-1, jnp.int64), values)

    def step(
        self,
        right_side: RightSide,
        args: Any,
        y: Float[Array, " n"],
        field: Float[Array, " n"],
        h: Float[Array, ""],
        tolerance: Float[Array, " n"],
        memory: Any,
    ) -> Step:
        """Not available: CVODE chooses its steps itself."""
        raise ThetadotError("CVODE takes no single steps: use it in flow or integrate")

    def interpolant(self, memory: Memory) -> Float[Array, "m _"]:
        """States at six even positions of the last step: they determine CVODE's polynomial."""
        return jnp.asarray(memory.values)

    def basis(self, position: Float[Array, ""]) -> Float[Array, " m"]:
        """Lagrange's polynomials of the six positions."""
        return lagrange(position)


def lagrange(position: Float[Array, ""]) -> Float[Array, " m"]:
    """Lagrange's polynomials of degree 5 on even nodes of [0, 1], at a position."""
    nodes = np.arange(DEGREE + 1) / DEGREE
    weights = []
    for own in range(DEGREE + 1):
        others = np.delete(nodes, own)
        weights.append(jnp.prod((position - others) / (nodes[own] - others)))
    return jnp.stack(weights)
