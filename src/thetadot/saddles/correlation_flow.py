"""The flow of the neural correlation function in log time: which direction wins, and when it blows up."""

import dataclasses
import enum

import numpy as np
from jaxtyping import Float
from scipy.integrate import DOP853, OdeSolution

from thetadot.saddles.correlation import NeuralCorrelation
from thetadot.saddles.correlation_points import CorrelationPoint, newton_direction, refine_point
from thetadot.saddles.errors import SaddlesError

_NEAR = 1e-6
_MOST_STEPS = 20_000
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


class FlowStatus(enum.Enum):
    """What becomes of small weights."""

    ESCAPES = "they grow without bound and converge in direction"
    VANISHES = "they shrink to zero or come to rest"
    STATIONARY = "they stand still: the gradient is zero"
    UNDECIDED = "neither within the allowed growth"


@dataclasses.dataclass(frozen=True)
class CorrelationFlow:
    """The flow u′ = ∇𝒩(u) from u(0), followed in log time.

    Attributes:
        correlation: the function.
        status: ESCAPES, VANISHES, STATIONARY or UNDECIDED.
        direction (F,): last direction u/‖u‖.
        point: the correlation point that it converges to, or None.
        blow_up_time: T* at which ‖u‖ is infinite (degree > 2, else nan).
        amplitude: κ = lim e^{−λt}‖u(t)‖ (degree 2, else nan).
        times (S,), log_norms (S,): t and ln‖u‖ at the steps.
        directions (S, F): u/‖u‖ at the steps.
        remaining (S,): time left until the blow-up, by quadrature and so without cancellation (degree > 2, else nan).
        steps: accepted steps.
    """

    correlation: NeuralCorrelation
    status: FlowStatus
    direction: Float[np.ndarray, " F"]
    point: CorrelationPoint | None
    blow_up_time: float
    amplitude: float
    times: Float[np.ndarray, " S"]
    log_norms: Float[np.ndarray, " S"]
    directions: Float[np.ndarray, "S F"]
    remaining: Float[np.ndarray, " S"]
    steps: int
    _dense: "LogFlow" = dataclasses.field(repr=False)


def correlation_flow(
    correlation: NeuralCorrelation,
    start: Float[np.ndarray, " F"],
    *,
    accuracy: float = 1e-10,
    log_growth: float = 60.0,
) -> CorrelationFlow:
    """Follow u′ = ∇𝒩(u) from u(0) = start until its direction has converged.

    In log time s, dt = ‖u‖^{−(D−2)} ds, so that the number of steps grows with the logarithm of the growth. Each
    neuron has its direction and its log norm, so that losers keep their digits however far behind they fall.

    Arguments:
        correlation: the function.
        start (F,): u(0), as it is (not normalised).
        accuracy: relative tolerance of a step.
        log_growth: largest growth or decay of ln‖u‖ to wait for.

    Source: A. Kumar, J. Haupt, arXiv:2402.09226, 2403.08121; clock re-derived.

    Example:
        >>> import numpy as np, thetadot as td
        >>> problem = td.EmpiricalRisk(td.linear([1, 1]), td.squared, np.ones((1, 1)), np.ones(1))
        >>> net = td.EmpiricalRisk(td.linear([1, 1, 1]), td.squared, np.ones((1, 1)), np.ones(1))
        >>> found = correlation_flow(td.saddles.neural_correlation(net), np.array([1.0, 1.0]) / np.sqrt(2))
        >>> found.status.name, round(found.amplitude, 9), round(found.point.multiplier, 9)
        ('ESCAPES', 1.0, 1.0)
    """
    start = np.asarray(start, float)
    if start.shape != correlation.free.shape or not np.linalg.norm(start) > 0:
        raise SaddlesError(
            f"start has shape {start.shape}: expected a nonzero vector of shape {correlation.free.shape}"
        )
    flow = LogFlow(correlation, start, accuracy)
    status, direction = flow.run(log_growth)
    point, blow_up, amplitude = None, float("nan"), float("nan")
    times, log_norms, directions = flow.rows()
    remaining = np.full(len(times), np.nan)
    if status is FlowStatus.ESCAPES:
        point = refine_point(correlation, direction)
        remaining = flow.remaining_at(flow.nodes, point.multiplier)
        if correlation.degree > 2:
            blow_up = float(remaining[0])
        else:
            amplitude = float(np.exp(log_norms[-1] - point.multiplier * times[-1]))
    return CorrelationFlow(
        correlation, status, directions[-1], point, blow_up, amplitude, times, log_norms, directions, remaining,
        len(times) - 1, flow,
    )  # fmt: skip


class LogFlow:
    """The NCF flow in log time with a dense record; the state is (unit vector and log norm of each group, ln t part).

    z_g = e^{ℓ_g} ẑ_g and R = ‖z‖; with g = ∇𝒩(z/R), ℓ_g′ = ⟨g_g, ẑ_g⟩R/‖z_g‖ and ẑ_g′ = (g_g)_⊥R/‖z_g‖.
    """

    def __init__(self, correlation: NeuralCorrelation, start: np.ndarray, accuracy: float):
        self.correlation, self.degree = correlation, correlation.degree
        self.size = start.size
        self.owner = _owners(correlation)
        norms = np.sqrt(np.bincount(self.owner, start**2))
        # Groups that are exactly zero stay so and have no log norm.
        self.living = np.flatnonzero(norms > 0)
        self.held = np.isin(self.owner, self.living)
        self.place = np.searchsorted(self.living, self.owner[self.held])
        logs = np.log(norms[self.living])
        self.shift = float(0.5 * np.log(np.sum(norms**2)))  # of time: t is counted in ‖u(0)‖^{−(D−2)}
        unit = start[self.held] / norms[self.owner[self.held]]
        self._state = np.concatenate([unit, logs - self.shift, [0.0]])
        self.accuracy = accuracy
        self.nodes: np.ndarray = np.zeros(1)
        self._pieces: list = []
        self._states = [self._state]
        self._solver: DOP853 | None = None

    def _parts(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        count = self.held.sum()
        unit, logs = state[:count], state[count:-1]
        top = logs.max()
        return unit, logs, float(top + 0.5 * np.log(np.sum(np.exp(2 * (logs - top)))))

    def _field(self, _: float, state: np.ndarray) -> np.ndarray:
        unit, logs, whole = self._parts(state)
        g = self.correlation.gradient(self._scatter(unit * np.exp(logs - whole)[self.place]))[self.held]
        radial = np.bincount(self.place, g * unit, minlength=logs.size)
        stretch = np.exp(whole - logs)
        across = (g - radial[self.place] * unit) * stretch[self.place]
        return np.concatenate([across, radial * stretch, [np.exp(-(self.degree - 2) * whole)]])

    def _scatter(self, values: np.ndarray) -> np.ndarray:
        whole = np.zeros(self.size)
        whole[self.held] = values
        return whole

    def direction(self, state: np.ndarray) -> np.ndarray:
        """u/‖u‖ (F,)."""
        unit, logs, whole = self._parts(state)
        found = self._scatter(unit * np.exp(logs - whole)[self.place])
        return found / np.linalg.norm(found)

    def log_vector(self, state: np.ndarray) -> tuple[np.ndarray, float]:
        """(z/R of the state (F,), ln ‖z‖) with small groups to full relative precision."""
        unit, logs, whole = self._parts(state)
        return self._scatter(unit * np.exp(logs - whole)[self.place]), whole + self.shift

    def group_logs(self, state: np.ndarray) -> dict[int, tuple[np.ndarray, float]]:
        """{group: (unit vector (F,) supported on it, log norm)}."""
        unit, logs, _ = self._parts(state)
        found = {}
        for place, group in enumerate(self.living):
            vector = self._scatter(unit * (self.place == place))
            found[int(group)] = (vector / np.linalg.norm(vector), float(logs[place] + self.shift))
        return found

    def advance(self, target: float) -> bool:
        """Go on until ln(‖u‖/‖u(0)‖) has risen or fallen by `target`; whether it got there."""
        if self._solver is None:
            self._solver = DOP853(
                self._field, 0.0, self._state, np.inf, rtol=self.accuracy, atol=self.accuracy * 0.1
            )
        solver = self._solver
        while abs(self._parts(solver.y)[2]) < target:
            if len(self._states) > _MOST_STEPS or self._at_rest(solver.y):
                return False
            if solver.step() is not None:
                return False
            self._pieces.append(solver.dense_output())
            self._states.append(solver.y.copy())
            self.nodes = np.append(self.nodes, solver.t)
        return True

    def _at_rest(self, state: np.ndarray) -> bool:
        w = self.direction(state)
        return float(np.linalg.norm(self.correlation.gradient(w))) <= 1e-11 * self._typical

    def run(self, log_growth: float) -> tuple[FlowStatus, np.ndarray]:
        """Advance until the direction is that of a correlation point, or nothing more happens."""
        rng = np.random.default_rng(0)
        probes = rng.normal(size=(4, self.size))
        self._typical = max(
            float(np.linalg.norm(self.correlation.gradient(u / np.linalg.norm(u)))) for u in probes
        )
        w = self.direction(self._state)
        if np.linalg.norm(self.correlation.gradient(w)) <= 1e-13 * self._typical or self._typical == 0:
            return FlowStatus.STATIONARY, w
        target, arrived = 0.0, True
        while arrived and target < log_growth:
            target = min(target + 1.0, log_growth)
            arrived = self.advance(target)
            w = self.direction(self._states[-1])
            growth = self._parts(self._states[-1])[2]
            g = self.correlation.gradient(w)
            across = np.linalg.norm(g - (g @ w) * w)
            if growth > 0 and g @ w > 0 and across < 1e-4 * (g @ w):
                refined, residual = newton_direction(self.correlation, w)
                if np.linalg.norm(refined - w) < _NEAR and residual < 1e-10 * (g @ w):
                    return FlowStatus.ESCAPES, refined
        growth = self._parts(self._states[-1])[2]
        if growth <= -log_growth or (not arrived and self._at_rest(self._states[-1])):
            return FlowStatus.VANISHES, w
        if growth >= log_growth and self.correlation.value(w) > 0:
            return FlowStatus.ESCAPES, w
        return FlowStatus.UNDECIDED, w

    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(times, ln‖u‖, directions) at the steps."""
        states = self._states
        times = np.array([state[-1] for state in states]) * np.exp(-(self.degree - 2) * self.shift)
        logs = np.array([self._parts(state)[2] for state in states]) + self.shift
        return times, logs, np.array([self.direction(state) for state in states])

    def state_at(self, place: float) -> np.ndarray:
        """The state at log time `place`."""
        if len(self._pieces) == 0:
            return self._states[0]
        return OdeSolution(self.nodes, self._pieces)(min(max(place, 0.0), self.nodes[-1]))

    def remaining_at(self, places: np.ndarray, multiplier: float) -> np.ndarray:
        """Time left until the blow-up at log times that are nodes, by quadrature from the end."""
        if self.degree == 2:
            return np.full(len(places), np.nan)
        power = self.degree - 2
        logs = [self._parts(state)[2] for state in self._states]
        left = [np.exp(-power * logs[-1]) / (power * multiplier)]
        for piece in reversed(self._pieces):
            half = 0.5 * (piece.t - piece.t_old)
            inside = [self._parts(state)[2] for state in piece(piece.t_old + half * (1 + _NODES)).T]
            left.append(left[-1] + half * float(_WEIGHTS @ np.exp(-power * np.array(inside))))
        return np.array(left[::-1])[: len(places)] * np.exp(-power * self.shift)

    def at_time(self, time: float) -> np.ndarray:
        """The state at time t (units of u), advancing as far as needed."""
        scaled = time * np.exp((self.degree - 2) * self.shift)
        while self._states[-1][-1] < scaled:
            if not self.advance(abs(self._parts(self._states[-1])[2]) + 1.0):
                return self._states[-1]
        row = int(np.searchsorted([state[-1] for state in self._states], scaled))
        return self._bisect(row, lambda state: state[-1] - scaled)

    def at_remaining(self, left: float, multiplier: float) -> np.ndarray:
        """The state at which `left` remains until the blow-up."""
        power = self.degree - 2
        wanted = left * np.exp(power * self.shift)
        while np.exp(-power * self._parts(self._states[-1])[2]) / (power * multiplier) > wanted:
            if not self.advance(abs(self._parts(self._states[-1])[2]) + 1.0):
                return self._states[-1]
        lefts = self.remaining_at(self.nodes, multiplier) * np.exp(power * self.shift)
        row = int(np.searchsorted(-lefts, -wanted))
        if row == 0:
            return self._states[0]
        later = lefts[min(row, len(lefts) - 1)]
        piece = self._pieces[min(row, len(self._pieces)) - 1]

        def excess(place: float) -> float:
            half = 0.5 * (piece.t - place)
            inside = [self._parts(state)[2] for state in piece(place + half * (1 + _NODES)).T]
            return later + half * float(_WEIGHTS @ np.exp(-power * np.array(inside))) - wanted

        return piece(_root(excess, piece.t_old, piece.t))

    def at_log_norm(self, log_norm: float) -> np.ndarray:
        """The state at which ln‖u‖ has the value given, on the way out."""
        wanted = log_norm - self.shift
        while self._parts(self._states[-1])[2] < wanted:
            if not self.advance(abs(self._parts(self._states[-1])[2]) + 1.0):
                return self._states[-1]
        logs = np.array([self._parts(state)[2] for state in self._states])
        row = int(np.flatnonzero(logs >= wanted)[0])
        return self._bisect(row, lambda state: self._parts(state)[2] - wanted)

    def _bisect(self, row: int, excess) -> np.ndarray:
        if row == 0:
            return self._states[0]
        piece = self._pieces[row - 1]
        return piece(_root(lambda place: excess(piece(place)), piece.t_old, piece.t))


def _root(function, low: float, high: float) -> float:
    from scipy.optimize import brentq

    at_low, at_high = function(low), function(high)
    if at_low == 0 or at_low * at_high > 0:
        return low if abs(at_low) < abs(at_high) else high
    return float(brentq(function, low, high, xtol=1e-14 * max(abs(high), 1.0), rtol=1e-14))  # pyright: ignore


def _owners(correlation: NeuralCorrelation) -> np.ndarray:
    """(F,) number of the group of each free weight: the first neuron that has it, else one group of the rest."""
    neurons = correlation._problem.layout.neurons
    owner = np.full(correlation.base.size, len(neurons))
    for number in range(len(neurons) - 1, -1, -1):
        owner[neurons[number].indices] = number
    return owner[correlation.free]
