"""Certificates verify, and every corruption of them fails, also with a digest that was computed again."""

import copy
import json

import pytest
import sympy
from typer.testing import CliRunner

from tests.integrability.networks import mirrored
from tests.oracles.second_order import GROUPS, x
from thetadot.cli import app
from thetadot.integrability import (
    Certificate,
    CertificateError,
    analyse,
    hypergeometric_equation,
    monodromy,
    network_flow,
    second_order_galois,
    verify_certificate,
)
from thetadot.integrability.cartan import cartan_criterion
from thetadot.integrability.certificate import digest_of


@pytest.mark.parametrize("name", GROUPS)
def test_the_certificate_of_every_equation_verifies(name):
    r, group = GROUPS[name]
    certificate = second_order_galois(r, x).certificate
    found = verify_certificate(json.loads(json.dumps(certificate.data)))
    assert found.valid, found.checks
    assert ("SL2" in found.proves) is (group == "SL2")


@pytest.fixture(scope="module")
def verdicts():
    flows = {
        "linear": mirrored("identity", 1),
        "tanh": mirrored("tanh", 0),
        "cube": mirrored("cube", 1 / sympy.sqrt(3)),
        "integrable": network_flow([1, 1, 1, 1], "identity", [(1, 1)], bias=False),
        "residual": network_flow([1, 2, 1], "tanh", [(1, 1)], bias=False),
    }
    return {name: analyse(flow, levels=(0,), numeric=False).certificate.data for name, flow in flows.items()}


@pytest.mark.parametrize("name", ["linear", "tanh", "cube", "integrable", "residual"])
def test_the_certificate_of_every_verdict_verifies(verdicts, name):
    found = verify_certificate(verdicts[name])
    assert found.valid, found.checks
    assert all(check.passed for check in found.checks)


def _spoilt(data, change):
    spoilt = copy.deepcopy(data)
    change(spoilt)
    assert spoilt != data
    spoilt["digest"] = digest_of(spoilt)
    return verify_certificate(spoilt)


def _bump(texts, index):
    texts[index] = str(sympy.Rational(texts[index]) + 1)


VERDICT_CORRUPTIONS = {
    "the loss": lambda d: d["flow"].update(loss=d["flow"]["loss"] + " + b1_1**2"),
    "the curve": lambda d: d["orbit"]["curve"].update(w2_1_1="2*p"),
    "the velocity": lambda d: d["orbit"].update(velocity=d["orbit"]["velocity"] + " + 1"),
    "a tangent column": lambda d: d["manifold"]["tangent"][0].__setitem__(0, "2"),
    "a normal column": lambda d: d["manifold"]["normal"][0].__setitem__(0, "1"),
    "a direction": lambda d: d["block"]["directions"][0].__setitem__(0, "1"),
    "the substitution": lambda d: d["manifold"]["substitution"].update(b1_1="1"),
    "the system": lambda d: d["block"]["system"][0].__setitem__(0, d["block"]["system"][0][0] + " + 1"),
    "the component": lambda d: d["block"].update(component=2),
    "what is excluded": lambda d: d.update(excluded="MEROMORPHIC_NEAR_CLOSURE"),
    "an equation's coefficient": lambda d: _bump(d["galois"]["equation"]["numerator"], 0),
    "the kind": lambda d: d.update(kind="sl2"),
    "an unknown key": lambda d: d.update(note="trust me"),
    "the group's proof": lambda d: d.pop("galois"),
    "the format": lambda d: d.update(format="thetadot-certificate/2"),
}


@pytest.mark.parametrize("name", VERDICT_CORRUPTIONS)
def test_a_corrupted_verdict_fails(verdicts, name):
    found = _spoilt(verdicts["linear"], VERDICT_CORRUPTIONS[name])
    assert not found.valid
    assert found.proves == "nothing"


def test_what_is_excluded_cannot_be_strengthened(verdicts):
    assert verdicts["tanh"]["excluded"] == "MEROMORPHIC_NEAR_CLOSURE"
    assert not _spoilt(verdicts["tanh"], lambda d: d.update(excluded="MEROMORPHIC_NEAR_ORBIT")).valid


def test_a_rank_that_is_not_full_modulo_another_prime_fails():
    data = second_order_galois(hypergeometric_equation(3, 3, 2, x), x).certificate.data
    assert verify_certificate(data).valid
    for power, record in data["symmetric_powers"].items():
        for change in ({"prime": 3}, {"prime": 2**61}, {"degree_bound": record["degree_bound"] - 1}):
            found = _spoilt(data, lambda d, p=power, c=change: d["symmetric_powers"][p].update(c))
            assert not found.valid, (power, change)
    assert (
        "rank is not full"
        in _spoilt(data, lambda d: d["symmetric_powers"]["2"].update(prime=3)).checks[-1].detail
    )


def test_a_corrupted_proof_about_an_equation_fails():
    data = second_order_galois(hypergeometric_equation("1/2", "1/3", "1/7", x), x).certificate.data
    changes = [
        lambda d: _bump(d["equation"]["numerator"], 0),
        lambda d: d["equation"]["denominator"].append("1"),
        lambda d: d["poles"][0].update(order=1),
        lambda d: d["poles"][0].update(order=10**12),
        lambda d: d["poles"].pop(),
        lambda d: _bump(d["poles"][0]["root"], 0),
        lambda d: _bump(d["poles"][0]["discriminant"], 0),
        lambda d: d["infinity"].update(root="2"),
        lambda d: d["infinity"].update(order=3),
        lambda d: d["symmetric_powers"]["12"].update(degree_bound=-9),
        lambda d: d["symmetric_powers"].pop("4"),
        lambda d: d["riccati"]["patterns"].pop(),
        lambda d: d["riccati"]["patterns"].append(d["riccati"]["patterns"][0]),
        lambda d: d["riccati"]["patterns"][0].update(degree="-1/999"),
        lambda d: d["riccati"].update(excluded_by="infinity order"),
    ]
    assert verify_certificate(data).valid
    for number, change in enumerate(changes):
        assert not _spoilt(data, change).valid, number


def test_a_nonresidue_or_a_solution_that_is_none_fails():
    data = second_order_galois(x**2 + 2, x).certificate.data
    assert verify_certificate(data).valid
    irrational = second_order_galois(sympy.Integer(3) / (x**2 - 2) ** 2 + 1 / (x**2 + 5), x).certificate.data
    assert verify_certificate(irrational).valid
    poles = [pole for pole in irrational["poles"] if "nonresidue" in pole]
    for pole in poles:
        index = irrational["poles"].index(pole)
        assert not _spoilt(irrational, lambda d, i=index: d["poles"][i]["nonresidue"].update(point=1)).valid
    solved = second_order_galois(x**2 + 3, x).certificate.data
    assert not _spoilt(solved, lambda d: _bump(d["solution"]["log_derivative"]["numerator"], 0)).valid
    dihedral = second_order_galois(1 / x - sympy.Rational(3, 16) / x**2, x).certificate.data
    assert not _spoilt(dihedral, lambda d: d.update(group="tetrahedral")).valid
    assert not _spoilt(dihedral, lambda d: d["solution"]["invariant"].update(numerator=["1"])).valid


def test_a_reducible_factor_fails():
    r = 1 / (x**2 - 1)
    data = second_order_galois(r, x).certificate.data
    found = _spoilt(data, lambda d: d.update(poles=[{"factor": ["-1", "0", "1"], "order": 1}]))
    assert not found.valid
    assert any("reducible" in check.detail for check in found.checks)


def test_corrupted_integrals_fail(verdicts):
    for change in (
        lambda d: d["integrals"].__setitem__(0, d["integrals"][0] + " + w1_1_1"),
        lambda d: d["integrals"].pop(),
        lambda d: d["point"].update(dict.fromkeys(d["point"], "0")),
    ):
        assert not _spoilt(verdicts["integrable"], change).valid
    for change in (
        lambda d: d["split"].update(factor="1"),
        lambda d: d["split"]["planes"].__setitem__(0, d["flow"]["parameters"]),
        lambda d: d["integrals"].pop(),
    ):
        assert not _spoilt(verdicts["residual"], change).valid


@pytest.mark.parametrize(
    "text", ["__import__('os').system('touch never')", "(lambda: 1)()", "w1_1_1.free_symbols"]
)
def test_code_in_an_expression_is_refused_unevaluated(verdicts, text, monkeypatch):
    import os

    monkeypatch.setattr(os, "system", lambda *_: pytest.fail("it was evaluated"))
    found = _spoilt(verdicts["linear"], lambda d: d["flow"].update(loss=text))
    assert not found.valid


def test_a_rigorous_monodromy_is_certified_and_cannot_be_overstated():
    r = hypergeometric_equation(0, 0, 0, x)
    found = cartan_criterion(monodromy([[0, 1], [r, 0]], x, rigorous=True, bits=64))
    assert found.rigorous
    data = Certificate.sealed({
        "format": "thetadot-certificate/1", "kind": "monodromy", "variable": "x",
        "system": [["0", "1"], [str(r), "0"]], **found.proof,
    }).data  # fmt: skip
    assert verify_certificate(data).valid
    above = repr(found.value * 1.01)
    assert not _spoilt(data, lambda d: d.update(lower_bound=above)).valid
    assert not _spoilt(data, lambda d: d["loops"][0].pop()).valid
    assert not _spoilt(data, lambda d: d["words"].pop()).valid
    assert 0.9 * found.value < float(found.proof["lower_bound"]) < found.value


def test_files_round_trip_and_damage_is_noticed(tmp_path):
    certificate = second_order_galois(x, x).certificate
    file = certificate.save(tmp_path / "airy.json")
    assert Certificate.load(file) == certificate
    assert verify_certificate(file).valid
    without = {key: value for key, value in certificate.data.items() if key != "digest"}
    assert not verify_certificate(without).valid
    file.write_text(file.read_text().replace('"order": -1', '"order": -2'))
    with pytest.raises(CertificateError, match="digest"):
        Certificate.load(file)
    assert not verify_certificate(file).valid
    with pytest.raises(CertificateError, match="cannot be read"):
        verify_certificate(tmp_path / "none.json")


def test_the_command_line_says_valid_invalid_or_unreadable(tmp_path):
    runner = CliRunner()
    good = second_order_galois(x, x).certificate.save(tmp_path / "good.json")
    bad = tmp_path / "bad.json"
    bad.write_text(good.read_text().replace('"order": -1', '"order": -2'))
    shown = runner.invoke(app, ["verify-certificate", str(good)])
    assert shown.exit_code == 0
    assert "valid: it proves" in shown.stdout
    said = runner.invoke(app, ["verify-certificate", str(bad)])
    assert said.exit_code == 1
    assert (
        said.stdout.splitlines()[-1]
        == "INVALID at format: the digest does not fit the content; it proves nothing"
    )
    assert runner.invoke(app, ["verify-certificate", str(tmp_path / "none.json")]).exit_code == 2
    (tmp_path / "text.json").write_text("hello")
    assert runner.invoke(app, ["verify-certificate", str(tmp_path / "text.json")]).exit_code == 2
