"""The hidden neurons of one layer at one moment of a path: where their incoming weights point."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from thetadot.dynamics.path import Path
from thetadot.dynamics.wording import count, number
from thetadot.problems import Layout, Neuron
from thetadot.report.chart import Chart, Dots, Line
from thetadot.report.moment_time import moment_name
from thetadot.report.neurons import neurons_holding
from thetadot.report.series import FigureError

_TRAIL = 12
_MOST = 400
_FIT_NUMBERS = 1500
_FRAME_ROWS = 300
_ROOM = 0.06
_LEAST_SHARE = 0.05


@dataclasses.dataclass(frozen=True)
class _Frame:
    """Axes that are fixed over the whole path.

    Attributes:
        directions (2, d) or None: the plane of incoming weights; None if it is spanned by the two numbers that a
            neuron has.
        labels: of both axes.
        shares: what part of the incoming weights' sum of squares each direction holds; () if they hold all.
        x_ends, y_ends: ends of the axes.
        largest: the largest norm of outgoing weights.
    """

    directions: Float[np.ndarray, "2 d"] | None
    labels: tuple[str, str]
    shares: tuple[float, ...]
    x_ends: tuple[float, float]
    y_ends: tuple[float, float]
    largest: float


def hidden_layers(layout: Layout | None) -> tuple[int, ...]:
    """Numbers of the layers that have hidden neurons."""
    return tuple(sorted({neuron.layer for neuron in layout.neurons})) if layout is not None else ()


class NeuronsAt:
    """The neurons of a layer in a plane that stays the same along the path.

    The plane is that of the two incoming weights if there are two; weight and bias if there is one incoming
    weight and a bias, weight and (sum of) outgoing weight if there is no bias; else the two principal directions,
    through the origin, of all incoming weights over the whole path.

    Arguments:
        path: how it moved.
        layout: what its parameters mean.
        layer: which hidden layer; the first by default.

    Raises:
        FigureError: the layout names no hidden neurons, or none in this layer.
    """

    def __init__(self, path: Path, layout: Layout | None, layer: int | None = None):
        layers = hidden_layers(layout)
        if layout is None or not layers:
            raise FigureError("the plane of neurons needs a layout with hidden neurons; this path has none")
        layer = layers[0] if layer is None else layer
        if layer not in layers:
            raise FigureError(f"there are no hidden neurons in layer {layer}; there are in {_listed(layers)}")
        if layout.size != path.thetas.shape[1]:
            raise FigureError(
                f"the layout names {layout.size} parameters, the path's rows have {path.thetas.shape[1]}"
            )
        of_layer = [neuron for neuron in layout.neurons if neuron.layer == layer]
        if len({len(neuron.incoming) for neuron in of_layer}) != 1 or not len(of_layer[0].incoming):
            raise FigureError(f"the neurons of layer {layer} have different numbers of incoming weights")
        self.layers, self.layer, self._path = layers, layer, path
        self._amount = len(of_layer)
        self._neurons = _spread(of_layer, _MOST)
        self._incoming: Int[np.ndarray, "n d"] = np.stack([neuron.incoming for neuron in self._neurons])
        self._signed = all(len(neuron.outgoing) == 1 for neuron in self._neurons)
        self._biased = all(len(neuron.bias) == 1 for neuron in self._neurons)
        self._frame = self._fixed()

    @property
    def method(self) -> str:
        """How the figure is made."""
        size = "The larger a point, the larger the norm of the neuron's outgoing weights"
        size += "; the colour is the sign of its outgoing weight." if self._signed else "."
        plane = (
            " The axes are the principal directions, through the origin, of all incoming weights of the whole path."
            if self._frame.directions is not None
            else ""
        )
        return (
            f"Each point is a neuron at its incoming weights; the tail behind it shows the last {_TRAIL} saved "
            f"rows. The open circle is the origin. {size}{plane} The axes stay the same along the path; their "
            "scales differ."
        )

    def chart(self, save: int) -> Chart:
        """The neurons with the tails of their last rows."""
        rows = np.arange(max(0, save - _TRAIL), save + 1)
        places = self._places(self._path.thetas[rows])
        size, sign = self._outgoing(self._path.thetas[save])
        now, frame = places[-1], self._frame
        tails = np.concatenate([places, np.full((1, *now.shape), np.nan)]).transpose(1, 0, 2).reshape(-1, 2)
        tail = Line(tails[:, 0], tails[:, 1], "the last rows", 5, weight=1.0, opacity=0.35, pieces=True)
        zero = np.zeros(1)
        dots = [Dots(zero, zero, ("origin",), "start", 5)]
        sizes = np.sqrt(np.clip(size / (frame.largest or 1.0), 0, 1))
        norms = np.linalg.norm(self._path.thetas[save][self._incoming], axis=1)
        for colour, wanted in ((0, sign >= 0), (1, sign < 0)) if self._signed else ((0, size >= 0),):
            those = np.flatnonzero(wanted & np.isfinite(now).all(axis=1))
            names = tuple(
                f"neuron {self._neurons[k].index}: incoming norm {number(norms[k])}, outgoing "
                f"{'weight' if self._signed else 'norm'} {number(sign[k] * size[k])}"
                for k in those
            )
            dots.append(Dots(now[those, 0], now[those, 1], names, "end", colour, sizes=sizes[those]))
        signs = {0: "outgoing weight positive", 1: "outgoing weight negative"} if self._signed else {}
        return Chart(
            f"Neurons of layer {self.layer} {moment_name(self._path, save)}", *frame.labels,
            lines=(tail,), dots=tuple(dots), x_ends=frame.x_ends, y_ends=frame.y_ends, colours=signs,
            scope="sign",
        )  # fmt: skip

    def reading(self, save: int) -> str:
        """How large the neurons are, and what the plane shows of them."""
        theta, when = self._path.thetas[save], moment_name(self._path, save)
        norms = np.linalg.norm(theta[self._incoming], axis=1)
        if not np.isfinite(norms).all():
            return f"The incoming weights of layer {self.layer} {when} are not finite."
        few = neurons_holding(norms)
        text = (
            f"{when[0].upper()}{when[1:]} the incoming weights of {count(self._amount, 'neuron')} of layer "
            f"{self.layer} have norms from {number(norms.min())} to {number(norms.max())}; "
            f"{count(few, 'neuron')} {'holds' if few == 1 else 'hold'} half of the sum of squares"
        )
        if self._signed:
            sign = self._outgoing(theta)[1]
            text += (
                f"; {int((sign > 0).sum())} outgoing weights are positive, {int((sign < 0).sum())} negative"
            )
        if self._frame.shares:
            text += f". The plane shows {number(100 * sum(self._frame.shares))} % of all incoming weights"
        return text + (f" ({_MOST} neurons are drawn)." if self._amount > _MOST else ".")

    def _places(self, thetas: Float[np.ndarray, "R P"]) -> Float[np.ndarray, "R n 2"]:
        """Coordinates of the neurons at some rows."""
        into = thetas[:, self._incoming]
        with np.errstate(invalid="ignore", over="ignore"):
            if self._frame.directions is not None:
                return into @ self._frame.directions.T
            return np.stack([into[..., 0], self._second(thetas, into)], axis=-1)

    def _second(
        self, thetas: Float[np.ndarray, "R P"], into: Float[np.ndarray, "R n d"]
    ) -> Float[np.ndarray, "R n"]:
        """The second of a neuron's two numbers: its other weight, its bias, or what goes out of it."""
        if into.shape[2] == 2:
            return into[..., 1]
        if self._biased:
            return thetas[:, [neuron.bias[0] for neuron in self._neurons]]
        return np.stack([thetas[:, neuron.outgoing].sum(axis=1) for neuron in self._neurons], axis=1)

    def _outgoing(self, theta: Float[np.ndarray, " P"]) -> tuple[np.ndarray, np.ndarray]:
        """Norm of each neuron's outgoing weights, and the sign of a single one (else 1)."""
        with np.errstate(invalid="ignore", over="ignore"):
            size = np.array([np.linalg.norm(theta[neuron.outgoing]) for neuron in self._neurons])
        if not self._signed:
            return np.nan_to_num(size), np.ones(len(size))
        return np.nan_to_num(size), np.sign(np.nan_to_num([theta[n.outgoing[0]] for n in self._neurons]))

    def _fixed(self) -> _Frame:
        thetas = calm_rows(self._path, _FRAME_ROWS)
        width = self._incoming.shape[1]
        into = thetas[:, self._incoming]
        if width > 2:
            directions, shares = _principal(into.reshape(-1, width))
            places = into @ directions.T
            first, second = (f"{number(100 * share, 2)} % of squares" for share in shares)
            labels = f"1st principal direction ({first})", f"2nd principal direction ({second})"
        else:
            directions, shares = None, ()
            places = np.stack([into[..., 0], self._second(thetas, into)], axis=-1)
            of = "input" if self.layer == self.layers[0] else "unit"
            second = (
                "bias" if self._biased else "outgoing weight" if self._signed else "sum of outgoing weights"
            )
            labels = (f"weight of {of} 1", f"weight of {of} 2" if width == 2 else second)
        ends = _ends(places)
        largest = max((float(self._outgoing(theta)[0].max(initial=0.0)) for theta in thetas), default=1.0)
        return _Frame(directions, labels, shares, ends[0], ends[1], largest)


def calm_rows(path: Path, most: int) -> Float[np.ndarray, "R P"]:
    """At most so many finite rows, evenly spread, the last one included; of a path that broke down only those
    that are not far larger than most."""
    thetas = path.thetas
    with np.errstate(invalid="ignore", over="ignore"):
        sizes = np.maximum(thetas.max(axis=1, initial=0.0), -thetas.min(axis=1, initial=0.0))
    kept = np.flatnonzero(np.isfinite(sizes) & (sizes < 1e100))
    if path.outcome.failed and kept.size:
        kept = kept[sizes[kept] <= 10 * np.median(sizes[kept])]
    if kept.size > most:
        kept = kept[np.unique(np.linspace(0, kept.size - 1, most).round().astype(int))]
    return thetas[kept]


def _principal(vectors: Float[np.ndarray, "M d"]) -> tuple[Float[np.ndarray, "2 d"], tuple[float, float]]:
    """Two orthonormal directions that hold most of the sum of squares, with their shares; signs fixed by the
    largest component."""
    rows = vectors[
        np.unique(np.linspace(0, len(vectors) - 1, min(len(vectors), 20 * _FIT_NUMBERS)).astype(int))
    ]
    width = rows.shape[1]
    if width > _FIT_NUMBERS:
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _FIT_NUMBERS)).astype(int))]
        values, vectors = np.linalg.eigh(rows @ rows.T)
        leading = rows.T @ vectors[:, [-1, -2]]
    else:
        values, vectors = np.linalg.eigh(rows.T @ rows)
        leading = vectors[:, [-1, -2]]
    directions = np.linalg.qr(leading)[0].T
    largest = directions[np.arange(2), np.abs(directions).argmax(axis=1)]
    directions = directions * np.where(largest < 0, -1.0, 1.0)[:, None]
    values = np.clip(values[[-1, -2]], 0, None)
    total = float(np.sum(rows**2))
    first, second = (float(value / total) if total > 0 else 0.0 for value in values)
    return directions, (first, second)


def _ends(places: Float[np.ndarray, "R n 2"]) -> list[tuple[float, float]]:
    """Ends of both axes, which hold all places and the origin; neither is magnified beyond 20 times the other."""
    low, high = places.min(axis=(0, 1), initial=0.0), places.max(axis=(0, 1), initial=0.0)
    least = _LEAST_SHARE * (float((high - low).max()) or 1.0)
    room = np.maximum(_ROOM * (high - low), (least - (high - low)) / 2)
    return [(float(a), float(b)) for a, b in zip(low - room, high + room, strict=True)]


def _spread(neurons: list[Neuron], most: int) -> list[Neuron]:
    """All neurons, or evenly spread ones if they are too many."""
    if len(neurons) <= most:
        return neurons
    return [neurons[k] for k in np.unique(np.linspace(0, len(neurons) - 1, most).round().astype(int))]


def _listed(layers: tuple[int, ...]) -> str:
    return ", ".join(map(str, layers))
