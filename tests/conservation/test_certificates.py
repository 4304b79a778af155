"""Certificates: they survive JSON, nothing in them can be altered unnoticed, and the checker stands alone."""

import ast
import json
import pathlib
import sys
from fractions import Fraction

import numpy as np
import pytest
import sympy

import thetadot.conservation
from thetadot.conservation import (
    LinearLift,
    MonomialLift,
    PathLift,
    PolynomialLift,
    attention_lift,
    check_certificate,
    count_laws,
    layered_graph,
    mirror_fields,
    momentum_fields,
    zero_sum,
)
from thetadot.conservation.certificate import seal

X, Y = sympy.symbols("x y")
TARGETS = {
    "linear by brackets": (LinearLift((2, 2, 2, 2)), "brackets and laws"),
    "linear by matrices": (LinearLift((2, 3, 2)), "auto"),
    "relu by brackets": (PathLift(layered_graph((2, 2, 2), True)), "brackets and laws"),
    "relu by incidence": (PathLift(layered_graph((2, 2, 2), True)), "auto"),
    "cross-entropy": (zero_sum(PathLift(layered_graph((2, 2, 2), True))), "auto"),
    "cross-entropy by brackets": (zero_sum(LinearLift((2, 2, 3))), "brackets and laws"),
    "monomials": (MonomialLift(np.array([[2, 1, 0], [0, 1, 1]])), "auto"),
    "closure": (PolynomialLift([X**3 + X * Y**2], [X, Y]), "closure"),
    "momentum": (momentum_fields(LinearLift((1, 2, 1)), Fraction(1, 2)), "auto"),
    "momentum by brackets": (momentum_fields(LinearLift((2, 2, 1)), 1), "brackets and laws"),
    "multiplicative": (mirror_fields(LinearLift((2, 2, 2))), "auto"),
    "blocks": (attention_lift(2, 1), "auto"),
}


@pytest.fixture(scope="module", params=list(TARGETS))
def certificate(request):
    target, method = TARGETS[request.param]
    return count_laws(target, method=method).certificate


def test_a_certificate_survives_json(certificate):
    assert check_certificate(certificate)
    assert check_certificate(json.loads(json.dumps(certificate)))


def altered(value):
    """Every way to change one number, text or mark in nested data, or to leave one entry out."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield {other: entry for other, entry in value.items() if other != key}
            yield from (value | {key: changed} for changed in altered(inner))
    elif isinstance(value, list):
        for k, inner in enumerate(value):
            yield value[:k] + value[k + 1 :]
            yield from ([*value[:k], changed, *value[k + 1 :]] for changed in altered(inner))
    elif isinstance(value, bool):
        yield not value
    else:
        yield value + 1 if isinstance(value, int | float) else f"{value}x"


def test_nothing_in_a_certificate_can_be_altered(certificate):
    changes = list(altered(certificate))
    assert len(changes) > 20
    assert not any(check_certificate(change) for change in changes)


def test_the_checker_shares_nothing_with_the_code_that_counts():
    """The checker's files import Python's standard library and one another, nothing else."""
    own = ("certificate", "plain_algebra", "plain_fields", "plain_graphs")
    package = "thetadot.conservation"
    allowed = {package, *(f"{package}.{name}" for name in own)}
    folder = pathlib.Path(thetadot.conservation.__file__).parent
    found = set()
    for name in own:
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                found.add(str(node.module))
                if node.module == package:
                    found |= {f"{package}.{alias.name}" for alias in node.names}
    ours = {name for name in found if name.startswith("thetadot")}
    assert {name for name in found - ours if name.partition(".")[0] not in sys.stdlib_module_names} == set()
    assert f"{package}.plain_algebra" in ours
    assert ours <= allowed


@pytest.mark.slow
def test_a_certificate_of_512_parameters_is_checked():
    count = count_laws(LinearLift((8, 16, 16, 8)))
    assert (count.size, count.laws, count.ranks) == (512, 272, (64, 176, 240))
    assert check_certificate(count.certificate)
    assert not check_certificate(seal(count.certificate | {"law_rank": 271, "lie_dimension": 241}))


@pytest.mark.parametrize("key", ["lie_dimension", "law_rank", "size"])
@pytest.mark.parametrize("resealed", [False, True])
def test_no_claimed_number_can_be_changed(certificate, key, resealed):
    for change in (-1, 1):
        forged = certificate | {key: certificate[key] + change}
        if certificate["method"] == "closure" and key == "law_rank" and resealed:
            continue  # there the rank of known laws is only bounded, not claimed
        assert not check_certificate(seal(forged) if resealed else forged)


def test_the_point_cannot_be_collapsed(certificate):
    point = certificate.get("point", [])
    collapsed = seal(certificate | {"point": [0] * max(len(point), 1)})
    assert not check_certificate(collapsed)


def test_a_function_that_is_no_law_does_not_pass_as_one():
    certificate = count_laws(LinearLift((1, 1, 1)), method="brackets and laws").certificate
    forged = json.loads(json.dumps(certificate))
    forged["laws"][0]["terms"][1][0] *= 3
    assert not check_certificate(seal(forged))


def test_labels_of_dependent_brackets_do_not_pass():
    certificate = count_laws(LinearLift((2, 2, 2)), method="brackets and laws").certificate
    doubled = [*certificate["brackets"][:-1], certificate["brackets"][0]]
    assert not check_certificate(seal(certificate | {"brackets": doubled}))


def test_a_composite_modulus_does_not_pass():
    certificate = count_laws(LinearLift((2, 2, 2)), method="brackets and laws").certificate
    assert not check_certificate(seal(certificate | {"prime": 2**31 - 3}))


def test_special_points_of_linear_fields_are_certified_exactly():
    certificate = count_laws(LinearLift((2, 2, 2)), theta=np.array([0.5, 1, 1, 2, 1, 2, 3, 6])).certificate
    assert check_certificate(json.loads(json.dumps(certificate)))
    assert not check_certificate(seal(certificate | {"lie_dimension": certificate["lie_dimension"] + 1}))


def test_blocks_are_certified_one_by_one():
    certificate = count_laws(attention_lift(2, 1)).certificate
    assert check_certificate(certificate)
    broken = certificate["parts"][0] | {"law_rank": 5}
    assert not check_certificate(seal(certificate | {"parts": [seal(broken), certificate["parts"][1]]}))
    assert not check_certificate(seal(certificate | {"parts": certificate["parts"][:1]}))
    assert not check_certificate(seal(certificate | {"parts": []}))


@pytest.mark.parametrize("nonsense", [{}, {"method": "guess"}, {"version": 1}])
def test_nonsense_is_refused_without_an_exception(nonsense):
    assert check_certificate(nonsense) is False
