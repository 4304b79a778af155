"""Absence of closed forms for narrow networks: claims of an abstract, and what was derived from its method here.

Only the abstract of arXiv 2408.08286 could be read. Which four parameters, which activation, data and curve it takes,
and what its mild conditions are, is not known to us: two readings fit. Nothing here reproduces an equation or a figure
of the paper.
"""

import itertools

import numpy as np
import sympy
from scipy.integrate import solve_ivp

from thetadot.integrability import (
    Certificate,
    GaloisResult,
    Verdict,
    Verification,
    analyse,
    closed_form,
    decide_block,
    exponent_differences,
    invariant_manifold,
    kimura,
    network_flow,
    normal_blocks,
    normal_form,
    orbits,
    second_order_galois,
    verify_certificate,
)
from thetadot.integrability.symbolic import SymbolicFlow
from thetadot.papers.claims import Claim, Paper
from thetadot.papers.rules import above, all_of, at_most, equals_prediction, part
from thetadot.papers.values import Measurement
from thetadot.papers.verdicts import Verdict as Outcome
from thetadot.papers.workbench import Workbench

_R, _Z = sympy.Rational, sympy.Symbol("z")
_LEVELS = (0, 1, _R(1, 2), -1, 2)


def mirrored(activation, target, width: int = 1) -> SymbolicFlow:
    """A network with all biases and data (1, y), (−1, −y)."""
    return network_flow([1, width, 1], activation, [(1, target), (-1, -target)])


def common_group(flow: SymbolicFlow, level) -> GaloisResult:
    """The group of the block that couples hidden biases and output bias, on one leaf of equal neurons."""
    zero = {s: 0 for s in flow.parameters if s.name.startswith("b")}
    first = {kind: next(s for s in flow.parameters if s.name.startswith(kind)) for kind in ("w1", "w2")}
    equal = {s: first[s.name[:2]] for s in flow.parameters if s.name[:2] in first and s not in first.values()}
    manifold = invariant_manifold(flow, zero | equal, "reflection")
    leaf = next(o for o in orbits(flow, manifold, (level,)) if o.level == level)
    output = next(i for i, s in enumerate(flow.parameters) if s.name == "b2_1")
    block = next(b for b in normal_blocks(flow, leaf) if any(list(b.directions.row(output))))
    return decide_block(block)


def _checked(found: Verdict | GaloisResult) -> Verification:
    """What the independent checker says."""
    assert found.certificate is not None
    return verify_certificate(found.certificate)


def _tanh(workbench: Workbench) -> Verdict:
    workbench.say("the tanh network with four parameters, and its monodromy in ball arithmetic")
    return analyse(mirrored("tanh", 1), levels=(0,), rigorous=True)


def _four_parameters(workbench: Workbench) -> Measurement:
    found = workbench.shared(_tanh)
    assert found.cartan is not None
    assert found.certificate is not None
    alone = Certificate.sealed(found.certificate.content["monodromy"])
    return Measurement(
        {
            "status": found.status.name,
            "certificate valid": _checked(found).valid,
            "loops alone valid": found.cartan.rigorous and verify_certificate(alone).valid,
            "value/radius": found.cartan.value / found.cartan.error,
        },
        {
            "Cartan value": found.cartan.value,
            "radius": found.cartan.error,
            "excluded": found.excluded.value if found.excluded else "nothing",
        },
    )


_CASES = (
    *(("tanh", sympy.sympify(y), 0) for y in (-1, 0, "1/2", 1, "3/2", 2)),
    *((_Z**3, sympy.sympify(eta) / sympy.sqrt(3), 0) for eta in ("1/2", 1, 2, 16)),
    *((_Z**5, eta / sympy.sqrt(5), 0) for eta in (1, 2)),
    *(("identity", y, level) for level, y in ((1, 1), (1, 2), (2, 1), (1, 0), (-1, 1), (3, 5))),
)


def _non_solvable(workbench: Workbench) -> Measurement:
    groups, invalid = {}, 0
    for activation, target, level in _CASES:
        workbench.say(f"{activation}, y = {target}, C = {level}")
        found = common_group(mirrored(activation, target), level)
        groups[f"{activation}, y = {target}, C = {level}"] = found.group.name
        invalid += not _checked(found).valid
    number = sum(group == "SL2" for group in groups.values())
    return Measurement({"SL2": number, "certificates that fail": invalid}, groups)


def _conditions(workbench: Workbench) -> Measurement:
    workbench.say("linear networks with a solvable leaf")
    seen = {}
    for k in (1, -1, 2):
        flow = mirrored("identity", _R(1, 2 * k))
        found = analyse(flow, levels=_LEVELS, numeric=False)
        solvable = next(f for f in found.findings if f.level == "0").solvable
        assert found.orbit is not None
        seen[f"y = 1/{2 * k}"] = (
            f"C = 0 solvable: {solvable}; {found.status.name} through C = {found.orbit.level}"
        )
    return Measurement(sorted(set(seen.values())), seen, "The paper's own conditions are not known to us.")


def _hypotheses(workbench: Workbench) -> Measurement:
    found = workbench.shared(_tanh)
    checked = _checked(found)
    named = {c.name: c.passed for c in checked.checks}
    needed = ("manifold", "orbit", "block", "reduction", "equation")
    residuals = [
        found.hypotheses[k] for k in ("tangency of the manifold", "orbit identity", "block identity")
    ]
    return Measurement(
        {"residuals": residuals, "checked independently": all(named.get(k, False) for k in needed)},
        named,
        "A theorem, not a measurement: measured is only that its hypotheses hold.",
    )


def _one_sample(workbench: Workbench) -> Measurement:
    found = analyse(network_flow([1, 2, 1], "tanh", [(1, 1)], bias=False))
    return Measurement(
        {"status": found.status.name, "certificate valid": _checked(found).valid},
        {"reason": found.reason},
    )


def _two_samples(workbench: Workbench) -> Measurement:
    found = analyse(network_flow([1, 2, 1], "tanh", [(1, 1), (2, 1)], bias=False))
    return Measurement(found.status.name, {"reason": found.reason})


def _wider(workbench: Workbench) -> Measurement:
    groups = {}
    for width, y in itertools.product((1, 2, 3), ("1/2", 1, 2)):
        workbench.say(f"{width} equal tanh neurons, y = {y}")
        groups[f"K = {width}, y = {y}"] = common_group(
            mirrored("tanh", sympy.sympify(y), width), 0
        ).group.name
    return Measurement(sum(group == "SL2" for group in groups.values()), groups)


def _linear(workbench: Workbench) -> Measurement:
    found = analyse(mirrored("identity", 1), levels=(0,), numeric=False)
    plain = network_flow([1, 1, 1], "identity", [(1, 1), (-1, -1)], bias=False)
    formula = closed_form(plain)
    assert formula is not None
    start, times = np.array([0.4, -0.1]), np.linspace(0, 10, 21)
    field = sympy.lambdify(plain.parameters, plain.field)
    exact = solve_ivp(
        lambda _, theta: field(*theta), (0, 10), start, t_eval=times, method="DOP853", rtol=1e-13, atol=1e-15
    )
    error = float(np.abs(formula(start, times) - exact.y.T).max())
    return Measurement({"with biases": found.status.name, "error of the formula without": error})


def _deciders(workbench: Workbench) -> Measurement:
    workbench.say("66 moment pairs, two deciders")
    s, different, solvable = sympy.Symbol("s"), [], 0
    numerators = [_R(n, d) for d in (1, 2, 3, 4) for n in range(-6, 7) if n and sympy.gcd(n, d) == 1][:22]
    for rho, second in itertools.product(numerators, (1, 2, _R(1, 2))):
        zero = rho / second
        first = [1 / (2 * s), 1 / (2 * second * (s - zero))]
        last = [1 / (2 * s), (s + 1) / (2 * second * s * (s - zero))]
        r = normal_form(sympy.Matrix([first, last]), s)
        exact = second_order_galois(r, s).solvable
        differences = exponent_differences(r, s)
        assert differences is not None
        solvable += bool(exact)
        if kimura(*differences).solvable is not exact:
            different.append((str(rho), str(second)))
    return Measurement(
        len(different), {"pairs": 3 * len(numerators), "solvable": solvable, "which": different}
    )


_ABSTRACT = "arXiv 2408.08286, abstract"

PAPER = Paper(
    title="Absence of closed forms for narrow networks",
    reference="Absence of closed-form descriptions for gradient flow in two-layer narrow networks, arXiv 2408.08286.",
    scope="Only the abstract was read. It implements the paper's method; activation, data, curve and conditions are "
    "ours, and no equation or figure of the paper is reproduced. All statements are about the complexified, global, "
    "exact flow with the data given.",
    claims=(
        Claim(
            "The gradient flow of a two-layer network with four parameters is not integrable",
            f"{_ABSTRACT}; reading: width 1 with both biases",
            {"status": "NON_INTEGRABLE", "certificate valid": True, "loops alone valid": True},
            _four_parameters,
            all_of(
                part("status", equals_prediction()),
                part("certificate valid", equals_prediction()),
                part("loops alone valid", equals_prediction()),
                part("value/radius", above(10.0)),
            ),
            "tanh, data (1, 1), (−1, −1); decided exactly, and again by Cartan's test on loops in ball arithmetic",
        ),
        Claim(
            "The identity component of the Galois group is not solvable",
            _ABSTRACT,
            {"SL2": len(_CASES), "certificates that fail": 0},
            _non_solvable,
            equals_prediction(),
            "width 1 with biases; tanh, z³, z⁵ on C = 0, linear on six other leaves: 18 equations",
        ),
        Claim(
            "Conditions are needed: linear networks with y = 1/(2k) have a solvable leaf, and another that is not",
            f"{_ABSTRACT}, mild conditions (their text is unknown to us); ours",
            ["C = 0 solvable: True; NON_INTEGRABLE through C = 1"],
            _conditions,
            equals_prediction(),
            "linear, width 1, both biases, k = ±1, 2",
        ),
        Claim(
            "No Liouvillian description: the hypotheses of the theorem hold",
            f"{_ABSTRACT}; theorem, not measurement",
            {"residuals": [0, 0, 0], "checked independently": True},
            _hypotheses,
            equals_prediction(),
            "the first row's manifold, orbit and block, also by the checker that shares no code",
        ),
        Claim(
            "Width 2 without biases and one sample is integrable by quadratures",
            "ours; the other reading of the four parameters",
            {"status": "INTEGRABLE", "certificate valid": True},
            _one_sample,
            equals_prediction(),
            "tanh, data (1, 1)",
        ),
        Claim(
            "Width 2 without biases and two samples is not integrable",
            f"{_ABSTRACT}; the other reading of the four parameters",
            "NON_INTEGRABLE",
            _two_samples,
            equals_prediction().otherwise(Outcome.NOT_CONFIRMED),
            "tanh, data (1, 1), (2, 1): no algebraic orbit is known to us",
        ),
        Claim(
            "Wider networks of equal neurons are not solvable either",
            "ours (other architectures are the paper's future work)",
            9,
            _wider,
            equals_prediction(),
            "1, 2, 3 equal tanh neurons with biases, C = 0, y = ½, 1, 2",
        ),
        Claim(
            "Being linear is not enough: with biases not integrable, without them there is a formula",
            "ours",
            {"with biases": "NON_INTEGRABLE"},
            _linear,
            all_of(
                part("with biases", equals_prediction()), part("error of the formula without", at_most(1e-10))
            ),
            "width 1, y = 1; the formula against DOP853 at 1e−13 to t = 10",
        ),
        Claim(
            "Two deciders agree on the linear family",
            "ours",
            0,
            _deciders,
            at_most(0),
            "66 pairs of moments (ϱ, σ₂) on C = 0: the exact decision, and Kimura's table on local exponents",
        ),
        Claim.not_testable(
            "Numerical methods are needed",
            _ABSTRACT,
            "a judgement about practice, not a statement to be measured",
        ),
    ),
)
