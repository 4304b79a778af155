"""What was found about a flow, as the data of a certificate."""

from typing import Any

import sympy

from thetadot.integrability.cartan import CartanResult
from thetadot.integrability.certificate import FORMAT
from thetadot.integrability.integrals import PlanarSplit
from thetadot.integrability.kovacic import GaloisResult
from thetadot.integrability.orbits import Orbit
from thetadot.integrability.symbolic import SymbolicFlow
from thetadot.integrability.variational import VariationalBlock


def _flow(flow: SymbolicFlow) -> dict[str, Any]:
    return {"parameters": [s.name for s in flow.parameters], "loss": sympy.sstr(flow.loss)}


def _matrix(matrix: Any) -> list[list[str]]:
    return [[sympy.sstr(matrix[i, j]) for j in range(matrix.cols)] for i in range(matrix.rows)]


def integrals_proof(
    flow: SymbolicFlow, integrals: tuple[sympy.Expr, ...], point: dict | None, split: PlanarSplit | None
) -> dict[str, Any]:
    """Kind `integrals`: enough of them with a point of full rank, or the split into planar fields."""
    proof: dict[str, Any] = {
        "format": FORMAT,
        "kind": "integrals",
        "flow": _flow(flow),
        "integrals": [sympy.sstr(integral) for integral in integrals],
    }
    if point is not None:
        proof["point"] = {symbol.name: str(value) for symbol, value in point.items()}
    if split is not None:
        proof["split"] = {
            "factor": sympy.sstr(split.factor),
            "field": [sympy.sstr(component) for component in split.field],
            "planes": [[symbol.name for symbol in plane] for plane in split.planes],
        }
    return proof


def monodromy_part(block: VariationalBlock, cartan: CartanResult) -> dict[str, Any] | None:
    """Kind `monodromy`: the loops, words and bound of a rigorous Cartan test; None for a numerical one."""
    if not cartan.rigorous or cartan.proof is None:
        return None
    return {
        "format": FORMAT,
        "kind": "monodromy",
        "variable": block.parameter.name,
        "system": _matrix(block.system),
        **cartan.proof,
    }


def verdict_proof(
    flow: SymbolicFlow,
    orbit: Orbit,
    block: VariationalBlock,
    component: int,
    galois: GaloisResult | None,
    monodromy: dict[str, Any] | None,
    excluded: str,
) -> dict[str, Any]:
    """Kind `verdict`: flow, manifold, orbit and block, with the proof about the block."""
    manifold = orbit.manifold
    proof: dict[str, Any] = {
        "format": FORMAT,
        "kind": "verdict",
        "flow": _flow(flow),
        "manifold": {
            "substitution": {k.name: sympy.sstr(v) for k, v in manifold.substitution.items()},
            "tangent": _matrix(manifold.tangent),
            "normal": _matrix(sympy.Matrix(manifold.normal).T.rref()[0].T),
        },
        "orbit": {
            "parameter": orbit.parameter.name,
            "curve": {symbol.name: sympy.sstr(value) for symbol, value in orbit.curve.items()},
            "velocity": sympy.sstr(orbit.velocity),
        },
        "block": {
            "system": _matrix(block.system),
            "directions": _matrix(block.directions),
            "component": component,
        },
        "excluded": excluded,
    }
    if galois is not None and galois.certificate is not None:
        proof["galois"] = galois.certificate.content
    if monodromy is not None:
        proof["monodromy"] = monodromy
    return proof
