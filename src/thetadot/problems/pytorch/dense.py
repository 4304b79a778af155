"""Imported modules that are chains of dense layers: then they have all that our own chains have."""

from collections.abc import Sequence
from typing import Any

from thetadot.problems.activations import Activation, as_activation
from thetadot.problems.chain import Chain
from thetadot.problems.pytorch.program import Step, Stored, Value


def dense_chain(
    steps: Sequence[Step],
    output: Any,
    shapes: Sequence[tuple[str, tuple[int, ...]]],
    sizes: Sequence[tuple[int, ...] | None],
) -> Chain | None:
    """The chain of dense layers that the steps are: linear, activation, linear, …, one activation throughout.

    What leaves its argument as it is, is passed over, and so is a flattening of the samples at the start.

    Arguments:
        steps, output, shapes: of the network.
        sizes: shape of a sample, and of every step's result for it.
    """
    after: dict[Any, tuple[Step, int]] = {}
    for number, step in enumerate(steps, start=1):
        # What only computes sizes is not part of the chain.
        if sizes[number] is not None and step.arguments[:1] != () and isinstance(step.arguments[0], Value):
            if step.arguments[0] in after:
                return None
            after[step.arguments[0]] = step, number
    layers: list[Step] = []
    kinds: set[Activation | None] = set()
    at, expects_layer = Value(0), True
    while at in after:
        step, number = after[at]
        before, at = sizes[at.number], Value(number)
        if step.operation == "identity" or (
            step.operation in ("flatten", "reshape")
            and before is not None
            and (sizes[number] == before or (not layers and len(sizes[number] or ()) == 1))
        ):
            continue
        if (step.operation == "linear") != expects_layer:
            return None
        if expects_layer:
            layers.append(step)
        else:
            kinds.add(_activation(step))
        expects_layer = not expects_layer
    if at != output or expects_layer or len(kinds) > 1 or None in kinds:
        return None
    if not all(isinstance(step.arguments[1], Stored) for step in layers):
        return None
    wanted = [item.name for step in layers for item in step.arguments[1:] if isinstance(item, Stored)]
    if wanted != [name for name, _ in shapes]:
        return None
    of = dict(shapes)
    weights = [of[step.arguments[1].name] for step in layers]
    widths = (weights[0][1], *(shape[0] for shape in weights))
    biases = tuple(step.arguments[2] is not None for step in layers)
    return Chain(widths, biases, next(iter(kinds), None) or as_activation("identity"))


def _activation(step: Step) -> Activation | None:
    """The activation of ours that a step is, to the last digit; None if there is none."""
    settings = dict(step.settings)
    if step.operation in ("tanh", "relu", "sigmoid", "square") and len(step.arguments) == 1:
        return as_activation(step.operation)
    if step.operation == "gelu" and settings.get("approximate", "none") == "none":
        return as_activation("gelu")
    if step.operation == "leaky_relu":
        slope = (*step.arguments[1:], settings.get("negative_slope", 0.01))[0]
        # At 0 itself its slope is one of the two sides', here and in PyTorch not the same one.
        return Activation("leaky_relu", slope=float(slope))
    return None
