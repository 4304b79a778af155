"""The Hessian of a three-layer network in closed form: what the tangent operator of its training is made of."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.problems.activations import Activation, as_activation
from thetadot.stability.errors import StabilityError


def shallow_hessian(
    input_weights: Any,
    hidden_biases: Any,
    output_weights: Any,
    output_biases: Any,
    x: Any,
    y: Any,
    *,
    hidden: str | Callable,
    output: str | Callable = "identity",
) -> Float[Array, "P P"]:
    """∇²L of L = 1/(2N) Σ‖ψ(V φ(U x + b) + a) − y‖², entry by entry from its formulas.

    With x̃ = (x, 1), z̃ = (z, 1), δ = (ŷ − y)ψ′, γ = ψ′² + (ŷ − y)ψ″ and ⟨·⟩ the sample mean:
    ∂²L/∂v_lj∂v_mk = ⟨1[l=m] γ_l z̃_j z̃_k⟩,
    ∂²L/∂v_lj∂u_mk = ⟨(1[j=m] δ_l φ′_j + γ_l v_lm φ′_m z̃_j) x̃_k⟩,
    ∂²L/∂u_ji∂u_mk = ⟨(1[j=m] φ″_j Σ_l δ_l v_lj + φ′_j φ′_m Σ_l γ_l v_lj v_lm) x̃_i x̃_k⟩.
    The tangent operator of descent is I − learning_rate·∇²L. An oracle and a teaching object: `problem.hessian` is
    the one to compute with.

    Arguments:
        input_weights: U (h, i). hidden_biases: b (h,). output_weights: V (o, h). output_biases: a (o,).
        x: samples (N, i). y: labels (N, o).
        hidden, output: activations φ and ψ, by name or elementwise functions.

    Returns:
        (P, P), P = h(i+1) + o(h+1); order: input weights row-major, hidden biases, output weights row-major, output
        biases.

    Raises:
        StabilityError: shapes that do not fit.

    Source: re-derived; the abstract of arXiv 2405.00743 states that such a form exists.

    Example:
        >>> one = np.ones((1, 1))
        >>> shallow_hessian(one, np.zeros(1), one, np.zeros(1), one, one, hidden="identity")[0].tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    u, b, v, a = (jnp.asarray(part) for part in (input_weights, hidden_biases, output_weights, output_biases))
    x, y = jnp.asarray(x), jnp.asarray(y)
    samples, inputs = x.shape
    if (
        u.shape[1] != inputs
        or b.shape != u.shape[:1]
        or v.shape != (a.size, b.size)
        or y.shape != (samples, a.size)
    ):
        raise StabilityError(
            f"shapes U {u.shape}, b {b.shape}, V {v.shape}, a {a.shape}, x {x.shape}, y {y.shape} do not fit: "
            "expected (h,i), (h,), (o,h), (o,), (N,i), (N,o)"
        )
    return _hessian(as_activation(hidden), as_activation(output), u, b, v, a, x, y)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _hessian(phi: Activation, psi: Activation, u, b, v, a, x, y) -> Float[Array, "P P"]:
    samples, inputs = x.shape
    z, z1, z2 = phi.with_derivatives(x @ u.T + b[None, :])
    found, f1, f2 = psi.with_derivatives(z @ v.T + a[None, :])
    delta, gamma = (found - y) * f1, f1**2 + (found - y) * f2
    ones = jnp.ones((samples, 1))
    xt, zt = jnp.concatenate([x, ones], 1), jnp.concatenate([z, ones], 1)
    neurons, outputs = b.size, a.size

    vv = jnp.einsum("nl,nj,nk,lm->ljmk", gamma, zt, zt, jnp.eye(outputs)) / samples
    vu = jnp.einsum("nl,lm,nm,nj,nk->ljmk", gamma, v, z1, zt, xt) / samples
    same = jnp.einsum("nl,nm,nk,jm->ljmk", delta, z1, xt, jnp.eye(neurons + 1, neurons)) / samples
    through = jnp.einsum("nl,lj->nj", delta, v)
    uu = jnp.einsum("nl,lj,lm,nj,nm,ni,nk->jimk", gamma, v, v, z1, z1, xt, xt, optimize="greedy")
    uu = (uu + jnp.einsum("nj,nj,jm,ni,nk->jimk", z2, through, jnp.eye(neurons), xt, xt)) / samples

    upper = jnp.concatenate([_square(uu), _square(vu + same).T], axis=1)
    lower = jnp.concatenate([_square(vu + same), _square(vv)], axis=1)
    order = np.concatenate(
        [_weights_first(neurons, inputs), neurons * (inputs + 1) + _weights_first(outputs, neurons)]
    )
    return jnp.concatenate([upper, lower])[order][:, order]


def _square(block: Array) -> Array:
    rows, columns = block.shape[0] * block.shape[1], block.shape[2] * block.shape[3]
    return block.reshape(rows, columns)


def _weights_first(outs: int, ins: int) -> np.ndarray:
    """Places of (weights row-major, then biases) in rows of ins weights and one bias each."""
    place = np.arange(outs * (ins + 1)).reshape(outs, ins + 1)
    return np.concatenate([place[:, :-1].ravel(), place[:, -1]])
