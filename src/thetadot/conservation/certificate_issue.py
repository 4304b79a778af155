"""Writing certificates: what a checker needs to convince itself of a count."""

from collections.abc import Sequence
from typing import Any

from thetadot.conservation.certificate import seal
from thetadot.conservation.fields import VectorFields
from thetadot.conservation.laws import Laws


def certificate_of(
    fields: VectorFields,
    laws: Laws,
    method: str,
    lie_dimension: int,
    law_rank: int,
    *,
    local: bool = False,
    point: Sequence[int] = (),
    words: Sequence[Sequence[int]] = (),
    prime: int = 0,
) -> dict[str, Any]:
    """The certificate of a proved count as JSON-able data.

    `brackets` holds the basis: labels of random members ("brackets and laws"), numbers of generators (the other
    methods). Laws are left out where the method needs none.
    """
    listed = method not in ("incidence", "column sums", "closure")
    certificate = {
        "version": 1,
        "target": fields.definition(),
        "method": method,
        "size": fields.size,
        "lie_dimension": lie_dimension,
        "law_rank": law_rank,
        "laws": _listed(laws) if listed else [],
        "prime": int(prime),
        "point": [int(entry) for entry in point],
        "brackets": [[int(label) for label in word] for word in words],
        "local": local,
    }
    return seal(certificate)


def certificate_of_blocks(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The certificate of lifts side by side, from those of its parts."""
    claims = {name: sum(part[name] for part in parts) for name in ("size", "lie_dimension", "law_rank")}
    return seal({"version": 1, "method": "blocks", **claims, "parts": list(parts)})


def _listed(laws: Laws) -> list[dict[str, Any]]:
    rates = laws.rates or (0,) * len(laws)
    return [
        {
            "name": name,
            "rate": [getattr(rate, "numerator", 0), getattr(rate, "denominator", 1)],
            "terms": terms,
        }
        for name, rate, terms in zip(laws.names, rates, laws.table.listed(), strict=True)
    ]
