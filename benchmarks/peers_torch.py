"""torchdiffeq's dopri5 on the same network written in PyTorch: what a user of PyTorch would run."""

import functools
from collections.abc import Callable

import numpy as np

from benchmarks.methods import COARSE, Counts, Method, RunFailedError, absolute
from benchmarks.problems import Case

try:
    import torch
    import torchdiffeq
except ImportError:
    torch = torchdiffeq = None

_AGREE = 1e-12


@functools.cache
def _activations() -> dict[str, Callable]:
    return {
        "tanh": torch.tanh,
        "erf": torch.erf,
        "identity": lambda z: z,
        "squared_relu": lambda z: torch.relu(z) ** 2,
    }


@functools.cache
def _losses() -> dict[str, Callable]:
    return {
        "squared loss": lambda out, y: 0.5 * torch.mean(torch.sum((out - y) ** 2, dim=1)),
        "cross-entropy": torch.nn.functional.cross_entropy,
        "logistic loss": lambda out, y: torch.mean(torch.nn.functional.softplus(-y * out)),
    }


@functools.cache
def _field(case: Case) -> Callable:
    """−∇L of the case by PyTorch's reverse mode, checked against ours at the start."""
    torch.set_num_threads(1)
    problem, theta0 = case.posed
    network = problem.network
    activation, loss = _activations()[network.activation.name], _losses()[problem.sample_loss.name]
    x, y = torch.tensor(np.asarray(problem.x)), torch.tensor(np.asarray(problem.y))
    layers = len(network.chain.widths) - 1
    slices, shapes = network.layout.slices, network.layout.shapes

    def part(theta, name):
        return theta[slices[name]].reshape(shapes[name]) if name in slices else None

    def field(t, theta):
        with torch.enable_grad():
            theta = theta.detach().requires_grad_()
            z = x
            for layer in range(1, layers + 1):
                weight, bias = part(theta, f"layer{layer}.weight"), part(theta, f"layer{layer}.bias")
                z = torch.nn.functional.linear(z, weight, bias)
                z = activation(z) if layer < layers else z
            (gradient,) = torch.autograd.grad(loss(z, y), theta)
        return -gradient

    ours = -np.asarray(problem.value_and_grad(theta0)[1])
    theirs = field(0.0, torch.tensor(theta0)).numpy()
    if not np.linalg.norm(theirs - ours) <= _AGREE * np.linalg.norm(ours):
        raise RunFailedError("the network in PyTorch is not the same")
    return field


def _run(case: Case, rtol: float) -> tuple[np.ndarray, Counts]:
    field, gradients = _field(case), 0

    def counted(t, theta):
        nonlocal gradients
        gradients += 1
        return field(t, theta)

    theta0, ts = torch.tensor(case.posed[1]), torch.tensor(case.ts)
    try:
        with torch.no_grad():
            path = torchdiffeq.odeint(
                counted, theta0, ts, rtol=rtol, atol=absolute(case, rtol), method="dopri5"
            )
    except AssertionError as error:  # torchdiffeq's way to say that a step underflowed
        raise RunFailedError(f"torchdiffeq: {error}") from error
    return path.numpy(), Counts(gradients=gradients)


def _missing(case: Case) -> str | None:
    return None if torchdiffeq is not None else "torch and torchdiffeq are not installed (extra bench)"


PEERS = (Method("torchdiffeq dopri5", _run, COARSE[:4], _missing),)
