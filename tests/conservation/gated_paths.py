"""Paths of small networks by brute force, and random networks to try them on."""

import itertools
from fractions import Fraction

import numpy as np

from thetadot.conservation import Edge


def all_paths(inputs, outputs, edges):
    """Every path as the list of its edges, by depth-first search."""
    leaving = {}
    for edge in edges:
        leaving.setdefault(edge.tail, []).append(edge)
    found = []

    def walk(node, way):
        if node in outputs:
            found.append(way)
            return
        for edge in leaving.get(node, ()):
            walk(edge.head, [*way, edge])

    for node in inputs:
        walk(node, [])
    return found


def rational_rank(rows):
    """Rank over the rationals, by elimination."""
    rows = [[Fraction(int(x)) for x in row] for row in rows]
    rank = 0
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((r for r in range(rank, len(rows)) if rows[r][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for r in range(rank + 1, len(rows)):
            factor = rows[r][column] / rows[rank][column]
            rows[r] = [a - factor * b for a, b in zip(rows[r], rows[rank], strict=True)]
        rank += 1
    return rank


def laws_by_paths(inputs, outputs, edges, size):
    """(laws, dead parameters) of a gated network: P less the rank of the listed paths."""
    rows = []
    for way in all_paths(inputs, outputs, edges):
        row = [0] * size
        for edge in way:
            if edge.parameter is not None:
                row[edge.parameter] += 1
        rows.append(row)
    dead = [k for k in range(size) if not any(row[k] for row in rows)]
    return size - (rational_rank(rows) if rows else 0), dead


def random_network(draw_integer, nodes):
    """A random acyclic network: (inputs, outputs, edges, number of parameters), with ties, frozen and dead edges.

    draw_integer(low, high) draws a whole number, both ends included.
    """
    names = [f"n{k}" for k in range(nodes)]
    inputs, outputs = names[:2], names[-2:]
    edges, parameters = [], 0
    for a, b in itertools.combinations(range(nodes), 2):
        if names[a] in outputs or names[b] in inputs or draw_integer(0, 2) == 0:
            continue
        kind = draw_integer(0, 7)
        if kind == 0:
            edges.append(Edge(names[a], names[b], None, float(draw_integer(1, 3))))
        elif kind == 1 and parameters:
            edges.append(Edge(names[a], names[b], draw_integer(0, parameters - 1)))
        else:
            edges.append(Edge(names[a], names[b], parameters))
            parameters += 1
    return inputs, outputs, edges, parameters


def relu_network(widths, theta, x, bias=None):
    """Output of a ReLU network without biases, weight by weight."""
    value, start = np.asarray(x, float), 0
    for k, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        weight = np.asarray(theta[start : start + fan_in * fan_out]).reshape(fan_out, fan_in)
        value = weight @ value
        if k < len(widths) - 2:
            value = np.maximum(value, 0.0)
        start += fan_in * fan_out
    return value
