"""Networks of width one with mirrored data, and a short way to a block."""

import sympy

from thetadot.integrability import decide_block, invariant_manifold, network_flow, normal_blocks, orbits

Z = sympy.Symbol("z")


def mirrored(activation, target, width=1):
    """Data (1, y), (−1, −y), all biases."""
    return network_flow([1, width, 1], activation, [(1, target), (-1, -target)])


def reflection(flow):
    """All biases zero and, with several neurons, all neurons equal."""
    zero = {s: 0 for s in flow.parameters if s.name.startswith("b")}
    first = {kind: next(s for s in flow.parameters if s.name.startswith(kind)) for kind in ("w1", "w2")}
    equal = {s: first[s.name[:2]] for s in flow.parameters if s.name[:2] in first and s not in first.values()}
    return invariant_manifold(flow, zero | equal, "reflection")


def common_block(flow, level):
    """(orbit, the block that couples hidden bias and output bias) on one leaf."""
    leaf = next(o for o in orbits(flow, reflection(flow), (level,)) if o.level == level)
    output = flow.parameters.index(next(s for s in flow.parameters if s.name == "b2_1"))
    block = next(b for b in normal_blocks(flow, leaf) if any(b.directions[output, :]))
    return leaf, block


def group_on(flow, level):
    """The Galois result of that block."""
    _, block = common_block(flow, level)
    return decide_block(block)
