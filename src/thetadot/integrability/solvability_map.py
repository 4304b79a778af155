"""How the answer changes with parameters: one exact decision for every point of a grid."""

import concurrent.futures
import dataclasses
import itertools
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy
import xarray

from thetadot.integrability.errors import IntegrabilityError
from thetadot.integrability.kovacic import GaloisGroup, second_order_galois
from thetadot.integrability.symbolic import exact_number

_POOL_ABOVE = 1000


@dataclasses.dataclass(frozen=True)
class SolvabilityMap:
    """Names of the Galois groups over a grid of parameters.

    Attributes:
        equation: r with its parameters. groups: names of `GaloisGroup` members, one dimension for each parameter;
            "" where r is not a rational function over Q.
    """

    equation: sympy.Expr
    groups: xarray.DataArray

    def count(self, group: GaloisGroup) -> int:
        """Number of points with this group."""
        return int((self.groups == group.name).sum())


def solvability_map(
    equation: Any, variable: sympy.Symbol, parameters: Mapping[sympy.Symbol, Sequence[Any]]
) -> SolvabilityMap:
    """The Galois group of y'' = r y at every point of a grid of exact parameter values.

    Arguments:
        equation: r. variable: x. parameters: {symbol: exact values}; above 1000 points in several processes.

    Raises:
        InexactDataError: a value that is a float. IntegrabilityError: no parameters.

    Example:
        >>> x, c = sympy.symbols("x c")
        >>> solvability_map(x**2 + c, x, {c: [1, 2, 3]}).groups.values.tolist()
        ['BOREL', 'SL2', 'BOREL']
    """
    r = sympy.sympify(equation)
    if not parameters:
        raise IntegrabilityError("parameters is empty: give at least one symbol with values")
    grids = [[exact_number(v, f"{s}[{i}]") for i, v in enumerate(values)] for s, values in parameters.items()]
    points = list(itertools.product(*grids))
    tasks = [(r.subs(dict(zip(parameters, point, strict=True))), variable) for point in points]
    if len(tasks) > _POOL_ABOVE:
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
            names = list(pool.map(_group, tasks, chunksize=64))
    else:
        names = [_group(task) for task in tasks]
    shape = tuple(len(grid) for grid in grids)
    coordinates = {
        s.name: np.array([str(v) for v in grid], dtype=object)
        for s, grid in zip(parameters, grids, strict=True)
    }
    data = np.array(names, dtype=object).reshape(shape)
    groups = xarray.DataArray(
        data, coords=coordinates, dims=tuple(coordinates), name="group", attrs={"equation": str(r)}
    )
    return SolvabilityMap(r, groups)


def _group(task: tuple[sympy.Expr, sympy.Symbol]) -> str:
    try:
        return second_order_galois(*task).group.name
    except IntegrabilityError:
        return ""
