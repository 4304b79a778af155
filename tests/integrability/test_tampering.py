"""Every value of a certificate is changed, dropped, doubled, swapped and given another type: no change goes through.

The digest catches them all. A stranger would compute it again, so that it is computed again here too: then what is left
over must be another true proof of the same statement, and those few places are named.
"""

import copy
import itertools
from fractions import Fraction

import pytest

from tests.integrability.networks import mirrored
from tests.oracles.second_order import GROUPS, x
from thetadot.integrability import (
    Certificate,
    analyse,
    cartan_criterion,
    hypergeometric_equation,
    monodromy,
    network_flow,
    second_order_galois,
    verify_certificate,
)
from thetadot.integrability.certificate import digest_of


def _network(*args, **kwargs):
    return analyse(network_flow(*args, **kwargs), levels=(0,), numeric=False).certificate


def _monodromy():
    r = hypergeometric_equation(0, 0, 0, x)
    proof = cartan_criterion(monodromy([[0, 1], [r, 0]], x, rigorous=True, bits=64)).proof
    head = {"format": "thetadot-certificate/1", "kind": "monodromy", "variable": "x"}
    return Certificate.sealed(head | {"system": [["0", "1"], [str(r), "0"]], **proof})


EQUATIONS = (
    "triangle group (2,3,7)",
    "Legendre 1/2",
    "Legendre 2",
    "Weber 3",
    "dihedral hypergeometric",
)
PROOFS = {
    **{name: lambda name=name: second_order_galois(GROUPS[name][0], x).certificate for name in EQUATIONS},
    "integrals": lambda: _network([1, 1, 1, 1], "identity", [(1, 1)], bias=False),
    "split": lambda: _network([1, 2, 1], "tanh", [(1, 1)], bias=False),
    "verdict": lambda: analyse(mirrored("identity", 1), levels=(0,), numeric=False).certificate,
    "monodromy": _monodromy,
}


def places(value, path=()):
    """Every value inside a JSON document, with its path."""
    if path:
        yield path, value
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, (*path, key))


def changed(value):
    """Other values of the same type."""
    if isinstance(value, bool) or value is None:
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1, -value]
    if isinstance(value, dict):
        return [value | {"trust": "me"}, {}]
    if isinstance(value, list):
        swapped = [
            [*value[:i], value[j], *value[i + 1 : j], value[i], *value[j + 1 :]]
            for i, j in itertools.pairwise(range(len(value)))
        ]
        return [*swapped, [*value, copy.deepcopy(value[-1])] if value else [[]], []]
    try:
        number = Fraction(value)
        return [str(number + 1), str(-number), f"{value}/0", ""]
    except ValueError:
        return [f"{value} + 1", f"-({value})", f"{value}_", ""]


def other_types(value):
    """The same value, as far as that is possible, with another type."""
    texts = [] if isinstance(value, str) else [str(value)]
    return [*texts, None if value is not None else 0, True, 1.5, [value], {"value": value}]


def tampered(data, kinds):
    """(kind, path, document) for every change of every place of a document."""
    for path, value in list(places(data)):
        news = {"change": changed(value), "type": other_types(value), "drop": [None]}
        for kind, new in ((k, one) for k in kinds for one in news[k]):
            spoilt = copy.deepcopy(data)
            holder = spoilt
            for key in path[:-1]:
                holder = holder[key]
            if kind == "drop":
                del holder[path[-1]]
            else:
                holder[path[-1]] = new
            if spoilt != data:
                yield kind, path, spoilt


def survivors(data, kinds):
    """What still verifies after its digest was computed again."""
    content = {key: value for key, value in data.items() if key != "digest"}
    found, tried = [], 0
    for kind, path, spoilt in tampered(content, kinds):
        tried += 1
        if verify_certificate(spoilt | {"digest": digest_of(spoilt)}).valid:
            found.append((kind, path, spoilt))
    return found, tried


VARIABLE, POLES = ("equation", "variable"), ("poles",)
LOSS = ("flow", "loss")
FREE = {
    "triangle group (2,3,7)": {VARIABLE},
    "Legendre 1/2": {VARIABLE, POLES},
    "Legendre 2": {VARIABLE, POLES},
    "Weber 3": {VARIABLE},
    "dihedral hypergeometric": {VARIABLE, POLES, ("solution", "invariant", "numerator")},
    "integrals": {
        LOSS, ("flow", "parameters"), ("integrals",), ("integrals", 0), ("integrals", 1),
        *(("point", name) for name in ("w1_1_1", "w2_1_1", "w3_1_1")),
    },
    "split": {
        LOSS, ("integrals",), ("integrals", 0), ("integrals", 1),
        ("split", "planes"), ("split", "planes", 0), ("split", "planes", 1),
    },
    "verdict": {LOSS, ("galois", "poles")},
}  # fmt: skip
"""Where a change of a value leaves a true proof: the name of a variable, the order of a list, the sign of a solution, a
constant added to the loss (or the flow run backwards), another integral, another point of full rank."""


def proved_free(name, kinds=("change", "drop", "type")):
    data = PROOFS[name]().data
    assert verify_certificate(data).valid
    found, tried = survivors(data, kinds)
    assert tried > 20
    return {path for _, path, _ in found}, {kind for kind, _, _ in found}


LONG = ("Legendre 1/2", "dihedral hypergeometric", "split", "verdict")


@pytest.mark.parametrize("name", [name for name in FREE if name not in LONG])
def test_no_change_of_any_place_goes_through(name):
    assert proved_free(name) == (FREE[name], {"change"})


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_no_change_of_any_place_of_a_long_proof_goes_through(name):
    assert proved_free(name) == (FREE[name], {"change"})


@pytest.mark.parametrize("name", ["split", "verdict"])
def test_nothing_can_be_left_out(name):
    assert proved_free(name, ("drop",)) == (set(), set())


@pytest.mark.slow
def test_nothing_but_a_corner_of_a_loop_can_be_left_out():
    free, _ = proved_free("monodromy", ("drop",))
    assert {(path[0], len(path)) for path in free} == {("loops", 3)}, (
        "a polygon round the same points is as good"
    )
    assert not any(path[2] == 0 for path in free), "but not the base point"


def test_the_digest_catches_every_change():
    data = PROOFS["verdict"]().data
    assert not any(
        verify_certificate(spoilt).valid for _, _, spoilt in tampered(data, ("change", "drop", "type"))
    )
