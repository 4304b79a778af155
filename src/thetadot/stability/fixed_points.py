"""Exponents where a system stands still: logarithms of eigenvalues."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse.linalg
from jaxtyping import Float

from thetadot.dynamics import Flow
from thetadot.dynamics.flows import training_field
from thetadot.stability.errors import NotAFixedPointError, SizeError, StabilityError
from thetadot.stability.tangent import LARGEST_MATRIX, System, checked_state, tangent, tangent_matrix
from thetadot.stability.visible import check_visible


@jax.jit
def _hvp(problem, theta, v):
    return problem.hvp(theta, v)


def fixed_point_exponents(
    system: System, state: Any, *, count: int | None = None, tolerance: float = 1e-8
) -> Float[np.ndarray, " k"]:
    """Lyapunov exponents at a fixed point, descending: log|eig T| of a map per step, Re eig Df of a flow per time.

    For gradient flow these are −time_scale × the eigenvalues of the Hessian, for descent log|1 − ηh|.

    Arguments:
        system: a `StepMap` without aux, or a `Flow`.
        state: (d,), the fixed point.
        count: number of leading exponents; all by default, needed beyond d = 2000.
        tolerance: largest ‖F(x) − x‖ (or ‖f(x)‖), relative to 1 + ‖x‖.

    Raises:
        NotAFixedPointError: the state moves; the message has the residual.
        StabilityError: a map that depends on the step's number, or a count that does not fit.
        SizeError: all exponents of more than 2000 variables.
        HiddenDependenceError: as in `tangent`.

    Example:
        >>> halve = td.StepMap(lambda s, n, aux: jnp.array([0.5, 0.25]) * s)
        >>> fixed_point_exponents(halve, np.zeros(2)).tolist()
        [-0.6931471805599453, -1.3862943611198906]
    """
    vector = checked_state(system, state)
    check_visible(system, vector)
    flow = isinstance(system, Flow)
    if not flow and system.aux is not None:
        raise StabilityError(
            "the map depends on the step's number (aux), so one step has no fixed-point exponents: use lyapunov "
            "over whole passes"
        )
    moved = system.field(vector, system.args) if flow else system(vector, 0) - vector
    residual = float(jnp.linalg.norm(moved) / (1 + jnp.linalg.norm(vector)))
    if not residual <= tolerance:
        raise NotAFixedPointError(
            f"the state is no fixed point: it moves by {residual:.2e} relative to its size, more than the tolerance "
            f"{tolerance:.0e}; train on, or use lyapunov"
        )
    if count is not None and not 1 <= count <= vector.size:
        raise StabilityError(f"count = {count}: expected between 1 and {vector.size}")
    if vector.size > LARGEST_MATRIX:
        exponents = _leading(system, vector, count)
    elif flow and system.problem is not None and system.field is training_field:
        hessian = np.asarray(system.problem.hessian(vector))
        exponents = -system.problem.time_scale * np.linalg.eigvalsh(hessian)
    elif flow:
        exponents = np.linalg.eigvals(np.asarray(_jacobian(system, vector))).real
    else:
        with np.errstate(divide="ignore"):
            exponents = np.log(np.abs(_eigenvalues(np.asarray(tangent_matrix(system, vector)))))
    return np.sort(exponents)[::-1][:count].copy()


def _jacobian(system: Flow, vector: Any) -> np.ndarray:
    return np.asarray(jax.jacfwd(lambda x: system.field(x, system.args))(vector))


def _eigenvalues(matrix: np.ndarray) -> np.ndarray:
    """Eigenvalues; of a matrix that is symmetric to rounding as of a symmetric one, whose errors are smaller."""
    if np.max(np.abs(matrix - matrix.T)) <= 1e-14 * np.max(np.abs(matrix)):
        return np.linalg.eigvalsh(0.5 * (matrix + matrix.T))
    return np.linalg.eigvals(matrix)


def _leading(system: System, vector: Any, count: int | None) -> np.ndarray:
    if count is None or count > vector.size // 4:
        raise SizeError(
            f"all exponents of {vector.size} state variables were asked for, a matrix is formed up to "
            f"{LARGEST_MATRIX}: give count= (at most a quarter of them)"
        )

    make: Any = scipy.sparse.linalg.LinearOperator

    def operator(product: Callable) -> Any:
        def flat(v: np.ndarray) -> np.ndarray:
            return np.asarray(product(jnp.asarray(v.ravel()))).ravel()

        return make((vector.size, vector.size), matvec=flat, dtype=np.dtype(float))

    problem = system.problem
    if isinstance(system, Flow) and problem is not None and system.field is training_field:
        hessian = operator(lambda v: _hvp(problem, vector, v))
        return -problem.time_scale * scipy.sparse.linalg.eigsh(hessian, count, which="SA")[0]
    if isinstance(system, Flow):
        jvp = jax.jit(lambda v: jax.jvp(lambda x: system.field(x, system.args), (vector,), (v,))[1])
        return np.asarray(scipy.sparse.linalg.eigs(operator(jvp), count, which="LR")[0]).real
    step = operator(lambda v: tangent(system, vector, v[:, None])[1])
    return np.log(np.abs(np.asarray(scipy.sparse.linalg.eigs(step, count, which="LM")[0])))
