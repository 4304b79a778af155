"""Textbook systems whose exponents are known: quadratic descent, Hénon, Lorenz, the cat map, a solvable cubic map."""

import jax
import jax.numpy as jnp
import numpy as np

import thetadot as td

CURVATURES = np.array([3.0, 1.5, 0.9, 0.1, 0.0])
TURN = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
"""Columns are the eigenvectors of the turned quadratic."""

HENON_FIXED = np.array([(-0.7 + np.sqrt(0.49 + 5.6)) / 2.8] * 2) * np.array([1.0, 0.3])
LORENZ = {"sum": -41 / 3, "exponents": (0.9056, 0.0, -14.5723), "dimension": 2.062}


def _quadratic(matrix, theta):
    return 0.5 * theta @ matrix @ theta


def quadratic() -> td.FunctionRisk:
    """½θᵀHθ, H with eigenvalues `CURVATURES` in the frame `TURN`."""
    matrix = jnp.asarray(TURN @ np.diag(CURVATURES) @ TURN.T)
    return td.FunctionRisk(jax.tree_util.Partial(_quadratic, matrix), jnp.zeros(5))


def _henon(s, n, aux):
    return jnp.stack([1 - 1.4 * s[0] ** 2 + s[1], 0.3 * s[0]])


HENON = td.StepMap(_henon)


def _cat(s, n, aux):
    return jnp.array([[2.0, 1.0], [1.0, 1.0]]) @ s


CAT = td.StepMap(_cat)


def _cubic(x, n, rate):
    return x - rate * (x**3 - x)


def cubic(rate) -> td.StepMap:
    """x → x − η(x³ − x), descent on (x² − 1)²/4."""
    return td.StepMap(_cubic, jnp.reshape(jnp.asarray(rate, float), (1, 1)))


def lorenz_field(x, args):
    """Lorenz-63, (10, 28, 8/3)."""
    return jnp.stack([10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]])


LORENZ_FLOW = td.Flow(lorenz_field)


def _lorenz_step(x, n, dt):
    h = dt[0]
    a = lorenz_field(x, None)
    b = lorenz_field(x + 0.5 * h * a, None)
    c = lorenz_field(x + 0.5 * h * b, None)
    d = lorenz_field(x + h * c, None)
    return x + h / 6 * (a + 2 * b + 2 * c + d)


LORENZ_MAP = td.StepMap(_lorenz_step, jnp.array([[0.01]]))


def _hyperbola(theta):
    return 0.5 * (theta[0] * theta[1] - 1) ** 2


HYPERBOLA = td.FunctionRisk(_hyperbola, jnp.ones(2))
"""½(ab − 1)²."""
