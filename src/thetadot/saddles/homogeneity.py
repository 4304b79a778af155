"""Whether a network is homogeneous in its parameters, of which degree, and whether its gradient is Lipschitz."""

import dataclasses
import enum
import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from thetadot.problems import EmpiricalRisk, Problem
from thetadot.saddles.derivatives import require_float64, value_and_gradient
from thetadot.saddles.errors import DegreeBelowTwoError, NonLipschitzGradientWarning, NotHomogeneousError
from thetadot.saddles.sparsity import _seed

_BISECTIONS = 40
_PIECES = 64


class HomogeneityStatus(enum.Enum):
    """What was found."""

    HOMOGENEOUS = "f(x; cθ) = c^L f(x; θ) for c > 0"
    NOT_HOMOGENEOUS = "no power law in the size of the parameters"
    UNDETERMINED = "the output is zero at every probe"


@dataclasses.dataclass(frozen=True)
class Homogeneity:
    """How outputs grow with the parameters.

    Attributes:
        degree: L, or None. A whole number of the loss's leading part for problems without a network.
        slice_degrees: {slice name: degree in this slice alone, or None}.
        defect: ‖⟨θ,∇f⟩ − L f‖ / ‖⟨θ,∇f⟩‖, or the violation of f(cθ) = c^L f(θ) if that is larger.
        gradient_is_lipschitz: whether ∇f has no jump on random segments (False for ReLU).
        culprit: what stands against homogeneity: a slice or the activation.
        status: HOMOGENEOUS, NOT_HOMOGENEOUS or UNDETERMINED.
    """

    degree: float | None
    slice_degrees: dict[str, float | None]
    defect: float
    gradient_is_lipschitz: bool
    culprit: str | None
    status: HomogeneityStatus

    def __str__(self) -> str:
        if self.degree is None:
            against = f", against it {self.culprit}" if self.culprit else ""
            return f"{self.status.name} (defect {self.defect:.2g}{against})"
        lipschitz = (
            "gradient Lipschitz" if self.gradient_is_lipschitz else "gradient jumps: theory does not cover it"
        )
        return f"degree {self.degree:g} (defect {self.defect:.1g}), {lipschitz}"


@jax.jit
def _outputs(problem: EmpiricalRisk, theta: Array, tangent: Array):
    return jax.jvp(lambda point: problem.predict(point, problem.x), (theta,), (tangent,))


@jax.jit
def _slope(problem: EmpiricalRisk, theta: Array, weights: Array):
    return jax.grad(lambda point: jnp.sum(weights * problem.predict(point, problem.x)))(theta)


def homogeneity(
    problem: Problem, *, key: PRNGKeyArray | None = None, probes: int = 4, tolerance: float = 1e-8
) -> Homogeneity:
    """Whether f(x; cθ) = c^L f(x; θ), of which degree L, and whether ∇f is Lipschitz.

    Euler's identity ⟨θ, ∇f⟩ = L f at random θ, one forward derivative each, checked against f(cθ) at c = ½, 2, 3.

    Arguments:
        problem: what is trained. Problems without a network are examined by the gradient of their loss near 0.
        key: of the random probes.
        probes: number of random θ.
        tolerance: largest defect of a homogeneous network.

    Source: Euler's theorem; re-derived for slices.

    Example:
        >>> import numpy as np, thetadot as td
        >>> x, y = np.eye(3), np.ones(3)
        >>> round(homogeneity(td.EmpiricalRisk(td.two_layer(3, 4, "squared_relu"), td.squared, x, y)).degree, 12)
        3.0
        >>> homogeneity(td.EmpiricalRisk(td.mlp([3, 4, 1], "tanh", bias=False), td.squared, x, y)).culprit
        'activation tanh'
    """
    require_float64()
    rng = np.random.default_rng(_seed(key))
    if not isinstance(problem, EmpiricalRisk):
        return _of_loss(problem, rng, probes)
    points = rng.normal(size=(probes, problem.size))
    degree, defect = _degree(problem, points, np.ones(problem.size), tolerance)
    if not np.isfinite(defect):
        return Homogeneity(
            None, dict.fromkeys(problem.layout.slices), 0.0, True, None, HomogeneityStatus.UNDETERMINED
        )
    slices: dict[str, float | None] = {}
    for name, part in problem.layout.slices.items():
        mask = np.zeros(problem.size)
        mask[part] = 1.0
        slices[name] = _degree(problem, points, mask, tolerance)[0]
    lipschitz = all(_is_lipschitz(problem, rng) for _ in range(2))
    if degree is None:
        culprit = _culprit(problem, points, tolerance)
        return Homogeneity(None, slices, defect, lipschitz, culprit, HomogeneityStatus.NOT_HOMOGENEOUS)
    return Homogeneity(degree, slices, defect, lipschitz, None, HomogeneityStatus.HOMOGENEOUS)


def _degree(
    problem: EmpiricalRisk, points: np.ndarray, mask: np.ndarray, tolerance: float
) -> tuple[float | None, float]:
    """(degree or None, defect) in the masked parameters; the defect is infinite where all outputs vanish."""
    pairs = [_outputs(problem, theta, theta * mask) for theta in points]
    value = np.concatenate([np.ravel(pair[0]) for pair in pairs])
    change = np.concatenate([np.ravel(pair[1]) for pair in pairs])
    if not np.any(value):
        return None, np.inf
    # A ratio of sums, not a mean of ratios: single outputs may vanish.
    degree = float(value @ change / (value @ value))
    defect = float(np.linalg.norm(change - degree * value) / max(np.linalg.norm(change), 1e-300))
    for factor in (0.5, 2.0, 3.0):
        scaled = np.concatenate(
            [
                np.ravel(_outputs(problem, theta * (1 + (factor - 1) * mask), np.zeros_like(theta))[0])
                for theta in points
            ]
        )
        wanted = factor**degree * value
        defect = max(defect, float(np.linalg.norm(scaled - wanted) / max(np.linalg.norm(wanted), 1e-300)))
    return (degree if defect <= tolerance else None), defect


def _culprit(problem: EmpiricalRisk, points: np.ndarray, tolerance: float) -> str:
    """The slice without which the network would be homogeneous, else its activation."""
    everything = np.ones(problem.size)
    biases = [name for name, role in problem.layout.roles.items() if role == "bias"]
    for name in reversed(biases):
        keep = everything.copy()
        keep[problem.layout.slices[name]] = 0.0
        if _degree(problem, points * keep, everything, tolerance)[0] is not None:
            return name
    keep = everything.copy()
    for name in biases:
        keep[problem.layout.slices[name]] = 0.0
    if biases and _degree(problem, points * keep, everything, tolerance)[0] is not None:
        return ", ".join(biases[1:] or biases)
    activation = getattr(problem.network, "activation", None)
    name = getattr(activation, "name", None)
    if name is not None and not _is_power(activation, tolerance):
        return f"activation {name}"
    return f"sum of branches of different degree in {type(problem.network).__name__}"


def _is_power(activation, tolerance: float) -> bool:
    at = np.array([-1.3, -0.4, 0.7, 1.9])
    once, twice, four = (np.asarray(activation(jnp.asarray(c * at))) for c in (1.0, 2.0, 4.0))
    return bool(np.allclose(twice * twice, once * four, rtol=tolerance, atol=tolerance))


def _is_lipschitz(problem: EmpiricalRisk, rng: np.random.Generator) -> bool:
    """Bisect the largest jump of the gradient on a random segment: a jump that does not shrink is a kink."""
    first, last = rng.normal(size=(2, problem.size))
    shape = np.shape(_outputs(problem, first, first)[0])
    weights = rng.normal(size=shape)

    def gradient(place: float) -> np.ndarray:
        return np.asarray(_slope(problem, first + place * (last - first), weights))

    places = np.linspace(0.0, 1.0, _PIECES + 1)
    values = [gradient(place) for place in places]
    jumps = [np.linalg.norm(after - before) for before, after in itertools.pairwise(values)]
    widest = int(np.argmax(jumps))
    low, high, at_low, at_high = places[widest], places[widest + 1], values[widest], values[widest + 1]
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        at_middle = gradient(middle)
        if np.linalg.norm(at_middle - at_low) > np.linalg.norm(at_high - at_middle):
            high, at_high = middle, at_middle
        else:
            low, at_low = middle, at_middle
    return bool(np.linalg.norm(at_high - at_low) < 1e-6 * max(jumps[widest], 1e-300))


def _of_loss(problem: Problem, rng: np.random.Generator, probes: int) -> Homogeneity:
    """The degree of the leading part of L(θ) − L(0), from its gradient at two small sizes."""
    slopes, size = [], 1e-3
    for direction in rng.normal(size=(probes, problem.size)):
        unit = direction / np.linalg.norm(direction)
        large, small = (
            np.linalg.norm(value_and_gradient(problem, factor * size * unit)[1]) for factor in (1.0, 0.5)
        )
        if small > 0:
            slopes.append(np.log2(large / small) + 1.0)
    names = dict.fromkeys(problem.layout.slices)
    if not slopes:
        return Homogeneity(None, names, 0.0, True, None, HomogeneityStatus.UNDETERMINED)
    degree = float(np.round(np.median(slopes)))
    defect = float(np.max(np.abs(np.array(slopes) - degree)))
    good = degree >= 2 and defect < 1e-2
    status = HomogeneityStatus.HOMOGENEOUS if good else HomogeneityStatus.NOT_HOMOGENEOUS
    return Homogeneity(
        degree if good else None, names, defect, True, None if good else "the loss near 0", status
    )


def require_homogeneous(problem: Problem) -> Homogeneity:
    """The report of a problem that the theory covers; warns where the gradient jumps.

    Raises:
        NotHomogeneousError, DegreeBelowTwoError.
    """
    found = homogeneity(problem)
    if found.degree is None:
        raise NotHomogeneousError(found.defect, found.culprit)
    if found.degree < 2 - 1e-9:
        raise DegreeBelowTwoError(
            f"{problem.description} has degree {found.degree:g}: the origin is a critical point from degree 2 on; "
            "add a layer"
        )
    if not found.gradient_is_lipschitz:
        warnings.warn(
            "the gradient jumps (a ReLU-like activation): the theory of small initialisation does not cover this "
            "network, what follows is heuristic; squared_relu is covered",
            NonLipschitzGradientWarning,
            stacklevel=3,
        )
    return found
