"""What the decision about y'' = r y found, as the data of a certificate."""

from typing import Any

import flint

from thetadot.integrability.certificate import FORMAT
from thetadot.integrability.local_data import LocalData, Pole
from thetadot.integrability.number_field import SquareRoot, field_square_root
from thetadot.integrability.quotients import Quotient
from thetadot.integrability.riccati import RiccatiSearch, expansion
from thetadot.integrability.symmetric_power import PowerSearch


def coefficients(poly: flint.fmpq_poly) -> list[str]:
    """A polynomial as ascending strings of rationals."""
    return [str(c) for c in poly.coeffs()]


def quotient_data(value: Quotient) -> dict[str, list[str]]:
    """A rational function as the coefficients of numerator and monic denominator."""
    return {"numerator": coefficients(value.numerator), "denominator": coefficients(value.denominator)}


def _square(found: SquareRoot) -> dict[str, Any]:
    if found.root is not None:
        return {"root": coefficients(found.root)}
    return {"nonresidue": {"prime": found.prime, "point": found.point}}


def equation_proof(
    data: LocalData,
    group: str,
    powers: dict[int, PowerSearch],
    riccati: RiccatiSearch | None,
    variable: str,
) -> dict[str, Any]:
    """The certificate's data: kind `sl2` if everything is excluded, otherwise `liouville`."""
    proof: dict[str, Any] = {
        "format": FORMAT,
        "kind": "sl2" if group == "SL2" else "liouville",
        "equation": {"variable": variable, **quotient_data(data.equation)},
        "poles": [_pole(data, pole) for pole in data.poles],
        "infinity": _infinity(data),
    }
    none = {str(power): _power(search) for power, search in powers.items() if search.none}
    positive = [search for search in powers.values() if not search.none]
    if group == "SL2":
        assert riccati is not None
        return proof | {"riccati": _riccati(riccati), "symmetric_powers": none}
    solution: dict[str, Any]
    if riccati is not None and riccati.solution is not None:
        solution = {"log_derivative": quotient_data(riccati.solution)}
    else:
        search = positive[0]
        solution = {"power": search.power, "invariant": quotient_data(search.invariants[0])}
        if group == "unipotent":
            solution["corank"] = {"degree_bound": search.degree_bound, "prime": search.prime}
        elif group == "torus" and len(search.invariants) > 1:
            solution["second"] = quotient_data(search.invariants[1])
    negative = {} if riccati is None or riccati.solution is not None else {"riccati": _riccati(riccati)}
    return proof | {"group": group, "solution": solution, **negative, "symmetric_powers": none}


def _pole(data: LocalData, pole: Pole) -> dict[str, Any]:
    found: dict[str, Any] = {"factor": coefficients(pole.factor), "order": pole.order}
    if pole.order > 2 and pole.order % 2 == 0:
        leading = field_square_root(expansion(data, pole, 1)[0], pole.factor)
        if leading.root is not None:
            found["root"] = coefficients(leading.root)
    if pole.order == 2:
        assert pole.discriminant is not None
        found |= {"discriminant": coefficients(pole.discriminant), **_square(pole.root)}
    return found


def _infinity(data: LocalData) -> dict[str, Any]:
    root = data.root
    return {
        "order": None if data.equation.zero else data.order,
        "discriminant": None if data.discriminant is None else str(data.discriminant),
        "root": None if root is None else str(root),
    }


def _power(search: PowerSearch) -> dict[str, Any]:
    found: dict[str, Any] = {"excluded_by": search.excluded_by}
    if search.degree_bound is not None:
        found["degree_bound"] = search.degree_bound
    if search.excluded_by == "rank":
        found["prime"] = search.prime
    return found


def _riccati(search: RiccatiSearch) -> dict[str, Any]:
    found: dict[str, Any] = {"excluded_by": search.excluded_by}
    if search.index is not None:
        found["pole"] = search.index
    if (
        search.excluded_by == "pole square"
        and search.witness is not None
        and search.witness.prime is not None
    ):
        found["nonresidue"] = {"prime": search.witness.prime, "point": search.witness.point}
    if search.excluded_by == "patterns":
        found["patterns"] = [
            {"signs": list(p.signs), **({"degree": str(p.degree)} if p.prime is None else {"prime": p.prime})}
            for p in search.patterns
        ]
    return found
