"""The closed-form counts of a certificate, once more: potentials of a graph by elimination over the rationals."""

from typing import Any

from thetadot.conservation import plain_algebra as plain


def count_incidence(target: dict[str, Any]) -> tuple[int, int]:
    """(P, number of laws) of a lift of monomials.

    Raises:
        ValueError: the lift is not one of monomials.
    """
    if target["kind"] == "polynomial":
        if any(len(component) != 1 for component in target["components"]):
            raise ValueError("a component is no monomial")
        rows = [dict(component[0][1]) for component in target["components"]]
        return target["size"], target["size"] - plain.rank(rows)
    if target["kind"] != "paths":
        raise ValueError("expected monomials or paths")
    graph = _Graph(target)
    graph.require_monomials()
    return target["size"], graph.rescalings() + graph.dead()


def count_column_sums(target: dict[str, Any]) -> tuple[int, int]:
    """(P, number of laws) of a graph whose outputs' cotangents sum to zero.

    Raises:
        ValueError: a node that feeds the outputs does not reach all of them by free edges of its own.
    """
    if target["kind"] != "paths" or len(target["outputs"]) < 2:
        raise ValueError("expected paths to at least two outputs")
    graph = _Graph(target)
    graph.require_monomials()
    outputs = set(target["outputs"])
    uses: dict[int, int] = {}
    for _, _, parameter, _ in graph.live_edges:
        uses[parameter] = uses.get(parameter, 0) + 1
    feeding = {tail for tail, head, *_ in graph.live_edges if head in outputs}
    for node in feeding:
        leaving = [edge for edge in graph.live_edges if edge[0] == node and edge[1] in outputs]
        free = all(parameter >= 0 and uses[parameter] == 1 for _, _, parameter, _ in leaving)
        same = len({coefficient for *_, coefficient in leaving}) == 1
        if sorted(head for _, head, *_ in leaving) != sorted(outputs) or not free or not same:
            raise ValueError("a node feeds the outputs in another way")
    return target["size"], graph.rescalings() + graph.dead() + len(feeding)


class _Graph:
    def __init__(self, target: dict[str, Any]):
        self.target = target
        edges = [tuple(edge) for edge in target["edges"]]
        if len({edge[:2] for edge in edges}) != len(edges) or any(edge[3] == 0 for edge in edges):
            raise ValueError("parallel edges or zero coefficients")
        forward = _reached(target["inputs"], [(tail, head) for tail, head, *_ in edges])
        backward = _reached(target["outputs"], [(head, tail) for tail, head, *_ in edges])
        self.live_edges = [edge for edge in edges if edge[0] in forward and edge[1] in backward]
        outer = {*target["inputs"], *target["outputs"]}
        self.hidden = {end for edge in self.live_edges for end in edge[:2]} - outer
        self._require_acyclic()

    def _require_acyclic(self) -> None:
        followers: dict[int, list[int]] = {}
        waiting: dict[int, int] = {}
        for tail, head, *_ in self.live_edges:
            followers.setdefault(tail, []).append(head)
            waiting[head] = waiting.get(head, 0) + 1
        nodes = {*followers, *waiting}
        ready = [node for node in nodes if not waiting.get(node)]
        self.order: list[int] = []
        while ready:
            node = ready.pop()
            self.order.append(node)
            for head in followers.get(node, ()):
                waiting[head] -= 1
                if waiting[head] == 0:
                    ready.append(head)
        if len(self.order) < len(nodes):
            raise ValueError("the graph has a cycle")

    def require_monomials(self) -> None:
        """No gated node may be reached from another in two ways through linear nodes."""
        linear = set(self.target["linear"])
        entering: dict[int, list[int]] = {}
        for tail, head, *_ in self.live_edges:
            entering.setdefault(head, []).append(tail)
        before: dict[int, list[int]] = {}
        for node in self.order:
            sources: list[int] = []
            for tail in entering.get(node, ()):
                sources += before[tail] if tail in linear else [tail]
            if len(set(sources)) != len(sources) and node not in linear:
                raise ValueError("a component is a sum of paths")
            before[node] = sources

    def rescalings(self) -> int:
        """Dimension of the potentials: unknowns at hidden nodes, less the rank of what frozen and tied edges demand."""
        first: dict[int, dict[int, int]] = {}
        demands = []
        for tail, head, parameter, _ in self.live_edges:
            row: dict[int, int] = {}
            for node, sign in ((head, 1), (tail, -1)):
                if node in self.hidden:
                    row[node] = row.get(node, 0) + sign
            if parameter < 0:
                demands.append(row)
            elif parameter in first:
                demands.append(plain.add(row, first[parameter], -1))
            else:
                first[parameter] = row
        return len(self.hidden) - plain.rank(demands)

    def dead(self) -> int:
        """Parameters on no path."""
        return self.target["size"] - len({k for _, _, k, _ in self.live_edges if k >= 0})


def _reached(starts: list[int], steps: list[tuple[int, int]]) -> set[int]:
    following: dict[int, list[int]] = {}
    for a, b in steps:
        following.setdefault(a, []).append(b)
    seen, waiting = set(starts), list(starts)
    while waiting:
        for node in following.get(waiting.pop(), ()):
            if node not in seen:
                seen.add(node)
                waiting.append(node)
    return seen
