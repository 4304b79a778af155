"""The vector fields along which training can move a state: of gradient flow, of momentum, of multiplicative updates."""

import abc
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy
from jaxtyping import Array, Float

from thetadot.conservation.dual_numbers import DualRing
from thetadot.conservation.errors import NotPolynomialError
from thetadot.conservation.lift import Lift, Residues
from thetadot.conservation.polynomials import Polynomials


class VectorFields(abc.ABC):
    """A linear family of vector fields on states of length `size`; its Lie algebra decides what is conserved.

    Attributes:
        lift: the lift whose gradients drive them.
    """

    lift: Lift

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Length of the state."""

    @property
    @abc.abstractmethod
    def picked_size(self) -> int:
        """How many numbers pick one member."""

    @abc.abstractmethod
    def evaluate(self, ring: DualRing, state: Residues, picked: Residues) -> Residues:
        """Picked members at states over a ring: (D, B, size), (B, picked_size) → (D, B, size)."""

    @abc.abstractmethod
    def real(self, state: Float[Array | np.ndarray, " n"], picked: Float[Array, " k"]) -> Float[Array, " n"]:
        """One member at a real state, for picked real numbers (count `real_size`); traceable."""

    @property
    @abc.abstractmethod
    def real_size(self) -> int:
        """How many real numbers pick one member."""

    @abc.abstractmethod
    def generators(self) -> list[list[Any]]:
        """Integer polynomials (terms) of a spanning set: one list of `size` term lists per generator."""

    @abc.abstractmethod
    def definition(self) -> dict:
        """JSON-able data from which a certificate is checked."""


class GradientFields(VectorFields):
    """The gradients of a lift's components; build it with `gradient_fields`."""

    def __init__(self, lift: Lift):
        self.lift = lift

    @property
    def size(self) -> int:
        """P."""
        return self.lift.size

    @property
    def picked_size(self) -> int:
        """That of the lift."""
        return self.lift.cotangent_size

    def evaluate(self, ring: DualRing, state: Residues, picked: Residues) -> Residues:
        """Members of W."""
        return self.lift.pullback(ring, state, picked)

    @property
    def real_size(self) -> int:
        """d."""
        return self.lift.dimension

    def real(self, state: Float[Array | np.ndarray, " n"], picked: Float[Array, " k"]) -> Float[Array, " n"]:
        """Jᵀ picked."""
        return jax.vjp(self.lift.__call__, state)[1](picked)[0]

    def generators(self) -> list[list[Any]]:
        """∇φ_1, ∇φ_2, …"""
        table = self.lift.polynomials()
        return [_gradient(component, table.size) for component in table.terms]

    def definition(self) -> dict:
        """That of the lift."""
        return self.lift.definition()


def _gradient(component: list, size: int) -> list[list]:
    """The partial derivatives of one polynomial."""
    found: list[list] = [[] for _ in range(size)]
    for coefficient, powers in component:
        for variable, power in powers:
            rest = tuple((v, e - (v == variable)) for v, e in powers if e > (v == variable))
            found[variable].append((coefficient * power, rest))
    return found


class MomentumFields(VectorFields):
    """θ″ + friction·θ′ = −∇L on states (t, θ, v); build it with `momentum_fields`."""

    def __init__(self, lift: Lift, friction: Fraction):
        self.lift, self.friction = lift, friction

    @property
    def size(self) -> int:
        """2P + 1."""
        return 2 * self.lift.size + 1

    @property
    def picked_size(self) -> int:
        """One for (1, v, −friction·v), and those of the lift."""
        return 1 + self.lift.cotangent_size

    def evaluate(self, ring: DualRing, state: Residues, picked: Residues) -> Residues:
        """picked[0]·(1, v, −friction·v) + (0, 0, member of W)."""
        size = self.lift.size
        velocity = state[..., 1 + size :]
        drift = picked[None, :, :1]
        friction = self.friction.numerator * pow(self.friction.denominator, -1, ring.prime) % ring.prime
        push = self.lift.pullback(ring, state[..., 1 : 1 + size], picked[:, 1:])
        whole = np.zeros((max(state.shape[0], push.shape[0]), *state.shape[1:]), np.int64)
        whole[0, :, 0] = picked[:, 0]
        moved = velocity * drift % ring.prime
        whole[: moved.shape[0], :, 1 : 1 + size] = moved
        whole[: moved.shape[0], :, 1 + size :] = -moved * friction % ring.prime
        whole[: push.shape[0], :, 1 + size :] += push
        return whole % ring.prime

    @property
    def real_size(self) -> int:
        """1 + d."""
        return 1 + self.lift.dimension

    def real(self, state: Float[Array | np.ndarray, " n"], picked: Float[Array, " k"]) -> Float[Array, " n"]:
        """The same in real numbers."""
        size = self.lift.size
        theta, velocity = state[1 : 1 + size], state[1 + size :]
        push = jax.vjp(self.lift.__call__, theta)[1](picked[1:])[0]
        ahead = picked[0] * velocity
        return jnp.concatenate([picked[:1], ahead, push - float(self.friction) * ahead])

    def generators(self) -> list[list[Any]]:
        """(1, v, −friction·v) times the denominator of the friction, and (0, 0, ∇φ_i)."""
        size = self.lift.size
        table = self.lift.polynomials()
        up, down = self.friction.numerator, self.friction.denominator
        drift = [[(down, ())]]
        drift += [[(down, ((1 + size + k, 1),))] for k in range(size)]
        drift += [[(-up, ((1 + size + k, 1),))] for k in range(size)]
        pushes = []
        for component in table.terms:
            moved = [(c, tuple((1 + v, e) for v, e in powers)) for c, powers in component]
            gradient = _gradient(moved, 1 + size)[1:]
            pushes.append([[]] * (1 + size) + gradient)
        return [drift, *pushes]

    def definition(self) -> dict:
        """Lift and friction."""
        friction = [self.friction.numerator, self.friction.denominator]
        return {"kind": "momentum", "friction": friction, "lift": self.lift.definition()}


class MirrorFields(VectorFields):
    """g⁻¹(θ)∇φ_i for a diagonal metric g; build it with `mirror_fields`."""

    def __init__(self, lift: Lift, inverse_metric: Callable, table: Polynomials):
        self.lift, self.inverse_metric, self.table = lift, inverse_metric, table

    @property
    def size(self) -> int:
        """P."""
        return self.lift.size

    @property
    def picked_size(self) -> int:
        """That of the lift."""
        return self.lift.cotangent_size

    def evaluate(self, ring: DualRing, state: Residues, picked: Residues) -> Residues:
        """g⁻¹ times members of W."""
        return ring.multiply(self.table.evaluate(ring, state), self.lift.pullback(ring, state, picked))

    @property
    def real_size(self) -> int:
        """d."""
        return self.lift.dimension

    def real(self, state: Float[Array | np.ndarray, " n"], picked: Float[Array, " k"]) -> Float[Array, " n"]:
        """The same in real numbers."""
        return self.table(state) * jax.vjp(self.lift.__call__, state)[1](picked)[0]

    def generators(self) -> list[list[Any]]:
        """g⁻¹∇φ_1, …"""
        table, metric = self.lift.polynomials(), self.table.terms
        return [
            [_times(metric[k], part) for k, part in enumerate(_gradient(component, table.size))]
            for component in table.terms
        ]

    def definition(self) -> dict:
        """Lift and metric."""
        return {"kind": "mirror", "inverse_metric": self.table.listed(), "lift": self.lift.definition()}


def _times(left: list, right: list) -> list:
    found = []
    for a, powers_a in left:
        for b, powers_b in right:
            powers = dict(powers_a)
            for variable, power in powers_b:
                powers[variable] = powers.get(variable, 0) + power
            found.append((a * b, tuple(sorted(powers.items()))))
    return found


def gradient_fields(lift: Lift) -> GradientFields:
    """The fields of gradient flow, ∇φ_i.

    Example:
        >>> from thetadot.conservation import LinearLift
        >>> gradient_fields(LinearLift((1, 2, 1))).size
        4
    """
    return GradientFields(lift)


def momentum_fields(lift: Lift, friction: Any) -> MomentumFields:
    """The fields of θ″ + friction·θ′ = −∇L on states (t, θ, v): (1, v, −friction·v) and (0, 0, ∇φ_i).

    Arguments:
        friction: a whole number or a `fractions.Fraction`.

    Raises:
        NotPolynomialError: any other number, which exact arithmetic cannot take.

    Example:
        >>> from thetadot.conservation import LinearLift
        >>> momentum_fields(LinearLift((2, 3, 1)), 1).size
        19
    """
    if isinstance(friction, bool) or not isinstance(friction, (int, Fraction)):
        raise NotPolynomialError(f"friction is {friction!r}: expected an int or a fractions.Fraction")
    return MomentumFields(lift, Fraction(friction))


def mirror_fields(lift: Lift, inverse_metric: Callable = lambda theta: theta) -> MirrorFields:
    """The fields of θ′ = −g(θ)⁻¹∇L for a diagonal metric, such as multiplicative updates.

    Arguments:
        inverse_metric: θ (P,) → diagonal of g⁻¹ (P,), built of +, × and whole numbers.

    Raises:
        NotPolynomialError: it is built of something else.

    Example:
        >>> from thetadot.conservation import LinearLift
        >>> mirror_fields(LinearLift((2, 3, 1))).size
        9
    """
    symbols = sympy.symbols(f"theta_0:{lift.size}")
    values = np.atleast_1d(inverse_metric(np.array(symbols, dtype=object)))
    if values.shape != (lift.size,):
        raise NotPolynomialError(
            f"inverse_metric returns shape {values.shape}: expected the diagonal ({lift.size},)"
        )
    table, _ = Polynomials.from_expressions(list(values), symbols)
    return MirrorFields(lift, inverse_metric, table)


def fields_of(target: Any) -> VectorFields:
    """The fields that a lift or fields stand for."""
    return target if isinstance(target, VectorFields) else gradient_fields(target)
