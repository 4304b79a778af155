"""The fields of a certificate's target, rebuilt from its definition in Python's own integers."""

import itertools
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from thetadot.conservation import plain_algebra as plain

_MASK = 2**64 - 1

Picks = Callable[[int], list[int]]


def splitmix(label: int, count: int, prime: int) -> list[int]:
    """The first `count` numbers that belong to a label: splitmix64 of label·2³² + position, modulo the prime."""
    found = []
    for position in range(count):
        x = ((label << 32) + position + 0x9E3779B97F4A7C15) & _MASK
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
        found.append((x ^ (x >> 31)) % prime)
    return found


def size_of(target: dict[str, Any]) -> int:
    """P of a lift."""
    kind = target["kind"]
    if kind == "linear":
        return sum(a * b for a, b in zip(target["widths"][:-1], target["widths"][1:], strict=True))
    if kind == "blocks":
        return sum(size_of(lift) for lift in target["lifts"])
    return size_of(target["lift"]) if kind == "zero-sum" else target["size"]


def components(target: dict[str, Any]) -> list[plain.Polynomial]:
    """The components of a lift as polynomials."""
    kind = target["kind"]
    if kind == "linear":
        return _products(target["widths"])
    if kind == "polynomial":
        return [plain.polynomial(terms) for terms in target["components"]]
    if kind == "blocks":
        found, start = [], 0
        for lift in target["lifts"]:
            for entry in components(lift):
                found.append({tuple(v + start for v in key): c for key, c in entry.items()})
            start += size_of(lift)
        return found
    if kind == "paths":
        return list(_path_components(target).values())
    below = target["lift"]
    if below["kind"] == "linear":
        inputs, outputs = below["widths"][0], below["widths"][-1]
        whole = components(below)
        last = whole[(outputs - 1) * inputs :]
        return [plain.add(entry, last[k % inputs], -1) for k, entry in enumerate(whole[:-inputs])]
    by_key = _path_components(below)
    rests = list(dict.fromkeys(key[1:] for key in by_key))
    differences = []
    for rest in rests:
        for output in below["outputs"][:-1]:
            first = by_key.get((output, *rest), {})
            second = by_key.get((below["outputs"][-1], *rest), {})
            differences.append(plain.add(first, second, -1))
    return [entry for entry in differences if entry]


def _products(widths: list[int]) -> list[plain.Polynomial]:
    starts = [0]
    for a, b in itertools.pairwise(widths):
        starts.append(starts[-1] + a * b)
    current = [[{(): 1} if i == j else {} for j in range(widths[0])] for i in range(widths[0])]
    for layer in range(1, len(widths)):
        fan_in, fan_out = widths[layer - 1], widths[layer]
        following = []
        for i in range(fan_out):
            row = []
            for j in range(widths[0]):
                total: plain.Polynomial = {}
                for k in range(fan_in):
                    weight = {(starts[layer - 1] + i * fan_in + k,): 1}
                    total = plain.add(total, plain.multiply(weight, current[k][j]))
                row.append(total)
            following.append(row)
        current = following
    return [entry for row in current for entry in row]


def _path_components(target: dict[str, Any]) -> dict[tuple[int, ...], plain.Polynomial]:
    """{(output, gated nodes backwards, input): sum over the ways through linear nodes}."""
    linear = set(target["linear"])
    entering: dict[int, list] = {}
    for tail, head, parameter, coefficient in target["edges"]:
        entering.setdefault(head, []).append((tail, parameter, Fraction(coefficient)))
    memory: dict[int, dict] = {node: {(node,): {(): Fraction(1)}} for node in target["inputs"]}

    def ways(node: int) -> dict:
        if node not in memory:
            found: dict = {}
            for tail, parameter, coefficient in entering.get(node, ()):
                weight = {(parameter,) if parameter >= 0 else (): coefficient}
                for key, polynomial in ways(tail).items():
                    own = key if node in linear else (node, *key)
                    found[own] = plain.add(found.get(own, {}), plain.multiply(weight, polynomial))
            memory[node] = found
        return memory[node]

    found = {key: p for output in target["outputs"] for key, p in ways(output).items() if p}
    return dict(sorted(found.items()))


def _gradient(component: plain.Polynomial, size: int) -> list[plain.Polynomial]:
    return [plain.derivative(component, k) for k in range(size)]


def generators(target: dict[str, Any]) -> list[list[plain.Polynomial]]:
    """A spanning set of the fields, as polynomials."""
    kind = target["kind"]
    if kind == "momentum":
        size = size_of(target["lift"])
        up, down = target["friction"]
        drift = [{(): down}]
        drift += [{(1 + size + k,): down} for k in range(size)]
        drift += [{(1 + size + k,): -up} if up else {} for k in range(size)]
        pushes = []
        for entry in components(target["lift"]):
            moved = {tuple(v + 1 for v in key): c for key, c in entry.items()}
            pushes.append([{} for _ in range(1 + size)] + _gradient(moved, 1 + size)[1:])
        return [drift, *pushes]
    if kind == "mirror":
        metric = [plain.polynomial(terms) for terms in target["inverse_metric"]]
        size = len(metric)
        return [
            [plain.multiply(g, slope) for g, slope in zip(metric, _gradient(entry, size), strict=True)]
            for entry in components(target["lift"])
        ]
    return [_gradient(entry, size_of(target)) for entry in components(target)]


def picked_member(
    target: dict[str, Any], prime: int
) -> Callable[[list[plain.Dual], Picks], list[plain.Dual]]:
    """(state, picks) → the member of the family that `picks(count)` chooses, over nested dual numbers."""
    kind = target["kind"]
    if kind == "momentum":
        return _momentum_member(target, prime)
    if kind == "mirror":
        below = picked_member(target["lift"], prime)
        metric = [plain.polynomial(terms) for terms in target["inverse_metric"]]

        def mirrored(state: list[plain.Dual], picks: Picks) -> list[plain.Dual]:
            slopes = below(state, picks)
            factors = [_dual_value(entry, state, prime) for entry in metric]
            return [plain.dual_multiply(g, s, prime) for g, s in zip(factors, slopes, strict=True)]

        return mirrored
    core = target["lift"] if kind == "zero-sum" else target
    if core["kind"] == "linear":
        return _linear_member(core["widths"], prime, kind == "zero-sum")
    if _graph_of(target) is not None:
        return _network_member(target, prime)
    lifted = _for_picks(target)
    size = size_of(target)

    def gradient(state: list[plain.Dual], picks: Picks) -> list[plain.Dual]:
        weights = picks(len(lifted))
        whole: dict = {}
        for weight, entry in zip(weights, lifted, strict=True):
            for key, c in entry.items():
                whole[key] = (whole.get(key, 0) + weight * plain.residue(c, prime)) % prime
        return _dual_gradient(whole, state, size, prime)

    return gradient


def _linear_member(widths: list[int], prime: int, zero_sum: bool):
    """∂U_i = (U_L…U_{i+1})ᵀ w (U_{i−1}…U_1)ᵀ for a picked w; its rows add to zero if asked for."""

    def product(a: list[list[plain.Dual]], b: list[list[plain.Dual]]) -> list[list[plain.Dual]]:
        columns = list(zip(*b, strict=True))
        return [[plain.dual_dot(row, column, prime) for column in columns] for row in a]

    def transposed(a: list[list[plain.Dual]]) -> list[list[plain.Dual]]:
        return [list(column) for column in zip(*a, strict=True)]

    def member(state: list[plain.Dual], picks: Picks) -> list[plain.Dual]:
        numbers = picks(widths[0] * (widths[-1] - zero_sum))
        rows = [numbers[k : k + widths[0]] for k in range(0, len(numbers), widths[0])]
        if zero_sum:
            rows.append([-sum(column) % prime for column in zip(*rows, strict=True)])
        factors, start = [], 0
        for fan_in, fan_out in itertools.pairwise(widths):
            factors.append([state[start + i * fan_in : start + (i + 1) * fan_in] for i in range(fan_out)])
            start += fan_in * fan_out
        behind = [[[[x] for x in row] for row in rows]]  # (U_L…U_{i+1})ᵀw, from the top
        for factor in reversed(factors[1:]):
            behind.append(product(transposed(factor), behind[-1]))
        slopes, below = [], None
        for factor, above in zip(factors, reversed(behind), strict=True):
            slopes += above if below is None else product(above, transposed(below))
            below = factor if below is None else product(factor, below)
        return [entry for row in slopes for entry in row]

    return member


def _for_picks(target: dict[str, Any]) -> list[plain.Polynomial]:
    """Components in the order in which numbers pick them."""
    if target["kind"] == "blocks" and any(_graph_of(lift) is not None for lift in target["lifts"]):
        raise ValueError("blocks of graphs are certified one by one")
    return components(target)


def _graph_of(target: dict[str, Any]) -> dict[str, Any] | None:
    if target["kind"] == "zero-sum":
        return _graph_of(target["lift"])
    return target if target["kind"] == "paths" else None


def _dual_value(polynomial: plain.Polynomial, state: list[plain.Dual], prime: int) -> plain.Dual:
    total: plain.Dual = [0]
    for key, c in polynomial.items():
        term = [plain.residue(c, prime)]
        for variable in key:
            term = plain.dual_multiply(term, state[variable], prime)
        total = plain.dual_add(total, term, prime)
    return total


def _dual_gradient(polynomial: dict, state: list[plain.Dual], size: int, prime: int) -> list[plain.Dual]:
    slopes: list[plain.Dual] = [[0] for _ in range(size)]
    for key, c in polynomial.items():
        for place, variable in enumerate(key):
            term = [c]
            for other in key[:place] + key[place + 1 :]:
                term = plain.dual_multiply(term, state[other], prime)
            slopes[variable] = plain.dual_add(slopes[variable], term, prime)
    return slopes


def _momentum_member(target: dict[str, Any], prime: int):
    below = picked_member(target["lift"], prime)
    size = size_of(target["lift"])
    friction = plain.residue(Fraction(*target["friction"]), prime)

    def member(state: list[plain.Dual], picks: Picks) -> list[plain.Dual]:
        drift = picks(1)[0]
        push = below(state[1 : 1 + size], lambda count: picks(count + 1)[1:])
        ahead = [plain.dual_multiply([drift], v, prime) for v in state[1 + size :]]
        slowed = [plain.dual_multiply([-friction % prime], v, prime) for v in ahead]
        return [[drift], *ahead, *(plain.dual_add(a, b, prime) for a, b in zip(slowed, push, strict=True))]

    return member


def _network_member(target: dict[str, Any], prime: int):
    """One forward and one backward pass through the graph."""
    graph = _graph_of(target)
    assert graph is not None
    nodes, outer = range(graph["nodes"]), {*graph["inputs"], *graph["outputs"]}
    hidden = [node for node in nodes if node not in outer]
    linear = set(graph["linear"])
    edges = [(t, h, k, plain.residue(Fraction(c), prime)) for t, h, k, c in graph["edges"]]
    order = _topological(graph)
    zero_sum = target["kind"] == "zero-sum"

    def member(state: list[plain.Dual], picks: Picks) -> list[plain.Dual]:
        free = len(graph["outputs"]) - zero_sum
        numbers = picks(len(graph["inputs"]) + len(hidden) + free)
        gates = dict.fromkeys(nodes, 1)
        for node, gate in zip(hidden, numbers[len(graph["inputs"]) :], strict=False):
            gates[node] = 1 if node in linear else gate
        ends = numbers[len(graph["inputs"]) + len(hidden) :]
        ends = [*ends, -sum(ends) % prime] if zero_sum else ends
        weights = [[c] if k < 0 else plain.dual_multiply([c], state[k], prime) for _, _, k, c in edges]
        ahead: dict[int, plain.Dual] = {n: [x] for n, x in zip(graph["inputs"], numbers, strict=False)}
        back: dict[int, plain.Dual] = {n: [y] for n, y in zip(graph["outputs"], ends, strict=True)}
        for values, nodes_in_order, near, far in ((ahead, order, 1, 0), (back, order[::-1], 0, 1)):
            for node in nodes_in_order:
                met = [e for e, edge in enumerate(edges) if edge[near] == node]
                if met:
                    others = [values.get(edges[e][far], [0]) for e in met]
                    total = plain.dual_dot([weights[e] for e in met], others, prime)
                    values[node] = plain.dual_multiply([gates[node]], total, prime)
        slopes: list[plain.Dual] = [[0] for _ in range(graph["size"])]
        for tail, head, parameter, c in edges:
            if parameter >= 0:
                product = plain.dual_multiply(ahead.get(tail, [0]), back.get(head, [0]), prime)
                slopes[parameter] = plain.dual_add(
                    slopes[parameter], plain.dual_multiply([c], product, prime), prime
                )
        return slopes

    return member


def _topological(graph: dict[str, Any]) -> list[int]:
    waiting = dict.fromkeys(range(graph["nodes"]), 0)
    for _, head, *_ in graph["edges"]:
        waiting[head] += 1
    ready = [node for node, count in waiting.items() if count == 0]
    order = []
    while ready:
        node = ready.pop()
        order.append(node)
        for tail, head, *_ in graph["edges"]:
            if tail == node:
                waiting[head] -= 1
                if waiting[head] == 0:
                    ready.append(head)
    if len(order) < graph["nodes"]:
        raise ValueError("the graph has a cycle")
    return order
