"""The verdict about one flow: every manifold, leaf and block, integrals and quadratures, and the proof."""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any

from thetadot.integrability.cartan import CartanResult, CartanStatus, cartan_criterion, prove_non_solvable
from thetadot.integrability.certificate import Certificate
from thetadot.integrability.closed_form import closed_form
from thetadot.integrability.errors import DisagreementError, IntegrabilityError, TriangularSystemError
from thetadot.integrability.flow_proof import integrals_proof, monodromy_part, verdict_proof
from thetadot.integrability.integrals import first_integrals, full_rank_point, planar_split
from thetadot.integrability.kovacic import GaloisResult, decide, normal_quotient
from thetadot.integrability.local_data import local_data
from thetadot.integrability.manifolds import invariant_manifolds
from thetadot.integrability.monodromy import float_monodromy
from thetadot.integrability.orbits import LEVELS, Orbit, leaves
from thetadot.integrability.outcome import ExcludedClass, Finding, Integrability, Verdict
from thetadot.integrability.quotients import Quotient, Surd
from thetadot.integrability.symbolic import SymbolicFlow
from thetadot.integrability.variational import VariationalBlock, identity_defects, normal_blocks


@dataclasses.dataclass
class _Case:
    orbit: Orbit
    block: VariationalBlock
    galois: GaloisResult | None
    component: int
    equation: Quotient | None


class _OutOfTimeError(Exception):
    pass


def analyse(
    flow: SymbolicFlow,
    *,
    levels: Sequence[Any] = LEVELS,
    integral_degree: int = 2,
    numeric: bool = True,
    rigorous: bool = False,
    exhaustive: bool = False,
    time_limit: float | None = None,
) -> Verdict:
    """Decide what can be decided about a flow: integrals, every leaf of every manifold, and a proof.

    Arguments:
        flow: the flow. levels: of the planar first integrals, exact numbers; perfect squares are added.
        integral_degree: of polynomial first integrals. numeric: look at the monodromy of the deciding block too.
        rigorous: in ball arithmetic; decides blocks of order ≥ 3 as well. exhaustive: go on after a proof.
        time_limit: seconds after which the scan stops.

    Raises:
        DisagreementError: numbers contradict the exact answer.

    Source: A. Ayoul, N. T. Zung, arXiv 0901.4586, for the broad sense of integrability; the method of arXiv
    2408.08286. Everything else was derived here.

    Example:
        >>> from thetadot.integrability import network_flow
        >>> analyse(network_flow([1, 1, 1], "identity", [(1, 1), (-1, -1)]), numeric=False).status.name
        'NON_INTEGRABLE'
    """
    started = time.perf_counter()
    deadline = None if time_limit is None else started + time_limit
    hypotheses: dict[str, Any] = dict(flow.adopted)
    proof, solved_reason = _integrable(flow, integral_degree)
    formula = closed_form(flow) if proof else None
    findings: list[Finding] = []
    deciding: _Case | None = None
    broad: _Case | None = None
    cartan: CartanResult | None = None
    higher: _Case | None = None
    late = False
    if not proof or exhaustive:
        try:
            for finding, case in _scan(flow, levels, deadline):
                if case is not None and case.block.order > 2 and (rigorous or numeric):
                    finding, tested = _test_higher(finding, case, rigorous)
                    if tested is not None and finding.solvable is False:
                        higher, cartan = higher or case, cartan or tested
                findings.append(finding)
                if case is None or finding.solvable is None:
                    continue
                if not finding.solvable and case.galois is not None:
                    deciding = deciding or case
                elif finding.abelian is False and not case.orbit.logarithmic:
                    broad = broad or case
                if (deciding or higher) and not exhaustive:
                    break
        except _OutOfTimeError:
            late = True
            findings.append(
                Finding("all others", None, None, None, None, None, time.perf_counter() - started,
                        f"not looked at: the limit of {time_limit:g} s was reached")
            )  # fmt: skip
    chosen = deciding or higher or broad
    if chosen is not None:
        if proof and (deciding or higher):
            raise DisagreementError(f"{solved_reason}, but a block is not solvable: please report this flow")
        defects = identity_defects(flow, chosen.orbit, chosen.block)
        if any(defects.values()):
            raise DisagreementError(
                f"a block does not belong to its orbit ({defects}): please report this flow"
            )
        hypotheses |= defects
        if numeric and chosen.block.order == 2:
            cartan = _cross_check(chosen, rigorous)
        return _negative(flow, chosen, chosen is broad, findings, cartan, hypotheses)
    if proof:
        hypotheses["integrals"] = 0
        return Verdict(
            Integrability.INTEGRABLE, None, False, tuple(findings), None, None, None, None, formula,
            Certificate.sealed(proof), hypotheses, solved_reason,
        )  # fmt: skip
    blocks = [f for f in findings if f.order is not None]
    complete = bool(blocks) and all(f.solvable for f in blocks) and not late
    if complete:
        reason = f"all {len(blocks)} blocks that could be tested are solvable, which proves nothing"
        status = Integrability.INTEGRABLE_CANDIDATE
    else:
        status, reason = Integrability.INCONCLUSIVE, _why_not(flow, findings)
    return Verdict(
        status,
        None,
        False,
        tuple(findings),
        None,
        None,
        None,
        None,
        closed_form(flow),
        None,
        hypotheses,
        reason,
    )


def _integrable(flow: SymbolicFlow, degree: int) -> tuple[dict[str, Any] | None, str]:
    integrals = first_integrals(flow, degree)
    point = full_rank_point(integrals, flow.parameters)
    if point is not None:
        words = f"{flow.size - 1} independent polynomial integrals for {flow.size} parameters"
        return integrals_proof(flow, integrals, point, None), words
    split = planar_split(flow)
    if split is not None:
        words = (
            f"one common factor times {len(split.planes)} independent planar fields, each with its integral"
        )
        return integrals_proof(flow, split.integrals, None, split), words
    return None, ""


def _scan(flow, levels, deadline) -> Iterator[tuple[Finding, _Case | None]]:
    def watch():
        if deadline is not None and time.perf_counter() > deadline:
            raise _OutOfTimeError

    watch()
    for manifold in invariant_manifolds(flow):
        for level, leaf in leaves(flow, manifold, levels):
            watch()
            named = None if level is None else str(level)
            start = time.perf_counter()

            def finding(
                reason,
                start=start,
                named=named,
                order=None,
                group=None,
                solvable=None,
                abelian=None,
                name=manifold.name,
            ):
                spent = time.perf_counter() - start
                return Finding(name, named, order, group, solvable, abelian, spent, reason)

            if isinstance(leaf, str):
                yield finding(leaf), None
                continue
            try:
                blocks = normal_blocks(flow, leaf)
            except IntegrabilityError as error:
                yield finding(str(error)), None
                continue
            for block in blocks:
                watch()
                if block.order == 1:
                    yield (
                        finding("order 1: solved by a quadrature", order=1, solvable=True, abelian=True),
                        None,
                    )
                elif block.order > 2:
                    reason = f"order {block.order}: no exact decision"
                    yield finding(reason, order=block.order), _Case(leaf, block, None, 0, None)
                else:
                    yield _decided(block, leaf, finding)


def decide_block(block: VariationalBlock) -> GaloisResult:
    """The Galois group of a block of order 2, by the equation of its first component that is coupled.

    Raises:
        TriangularSystemError: a block that is triangular: two quadratures solve it.
        AlgebraicCoefficientError: the equation is not one over Q(p).
        IntegrabilityError: another order.

    Example:
        >>> from thetadot.integrability import invariant_manifolds, network_flow, orbits
        >>> flow = network_flow([1, 1, 1], "identity", [(1, 1), (-1, -1)])
        >>> leaf = orbits(flow, invariant_manifolds(flow)[0])[0]
        >>> decide_block(normal_blocks(flow, leaf)[0]).group.name
        'SL2'
    """
    if block.order != 2:
        raise IntegrabilityError(f"the block has order {block.order}: the exact decision is for order 2")
    entries = [list(row) for row in block.entries]
    return decide(normal_quotient(entries, 1 if entries[0][1].zero else 0), block.parameter)


def _decided(block: VariationalBlock, leaf: Orbit, finding) -> tuple[Finding, _Case | None]:
    entries = [list(row) for row in block.entries]
    for component in (0, 1):
        try:
            equation = normal_quotient(entries, component)
            result = decide(equation, leaf.parameter)
        except TriangularSystemError:
            continue
        except IntegrabilityError as error:
            return finding(str(error), order=2), None
        case = _Case(leaf, block, result, component, equation)
        return finding(
            result.reason, order=2, group=result.group, solvable=result.solvable, abelian=result.abelian
        ), case
    return finding("diagonal: solved by quadratures", order=2, solvable=True, abelian=True), None


def _test_higher(finding: Finding, case: _Case, rigorous: bool) -> tuple[Finding, CartanResult | None]:
    start = time.perf_counter()
    try:
        tested = _cartan(case.block, rigorous)
    except (IntegrabilityError, ArithmeticError) as error:
        return dataclasses.replace(finding, reason=f"{finding.reason}; no monodromy: {error}"), None
    spent = finding.seconds + time.perf_counter() - start
    if tested.status is CartanStatus.NON_SOLVABLE and tested.rigorous:
        return dataclasses.replace(
            finding,
            solvable=False,
            abelian=False,
            seconds=spent,
            reason="the Cartan test, in ball arithmetic",
        ), tested
    evidence = f"Cartan value {tested.value:.3g} ± {tested.error:.1g}, evidence only"
    return dataclasses.replace(finding, seconds=spent, reason=f"{finding.reason}; {evidence}"), tested


def _cartan(block: VariationalBlock, rigorous: bool) -> CartanResult:
    if rigorous:
        return prove_non_solvable(block.entries)
    return cartan_criterion(float_monodromy(block.entries))


def _cross_check(case: _Case, rigorous: bool) -> CartanResult | None:
    try:
        found = _cartan(case.block, rigorous)
    except (IntegrabilityError, ArithmeticError):
        return None
    assert case.galois is not None
    if found.status is CartanStatus.NON_SOLVABLE and case.galois.solvable:
        raise DisagreementError(
            f"the exact decision is {case.galois.group.name}, the monodromy has the Cartan value "
            f"{found.value:.3g} ± {found.error:.1g}: please report this flow"
        )
    return found


def excluded_class(orbit: Orbit, equation: Quotient | None, entries=None) -> ExcludedClass:
    """Which integrals are excluded: irregular points are harmless where the orbit is regular or in equilibrium."""
    if equation is None:
        return ExcludedClass.RATIONAL
    data = local_data(equation)
    worst = ExcludedClass.MEROMORPHIC_NEAR_ORBIT
    values = [orbit.evaluator.known[symbol] for symbol in orbit.curve]
    for pole in data.poles:
        if pole.order > 2:
            if any(_infinite_at(value, pole.factor) for value in values):
                return ExcludedClass.RATIONAL
            worst = ExcludedClass.MEROMORPHIC_NEAR_CLOSURE
    if data.order < 2:
        if any(_infinite_far_away(value) for value in values):
            return ExcludedClass.RATIONAL
        worst = ExcludedClass.MEROMORPHIC_NEAR_CLOSURE
    return worst


def _parts(value: Any) -> tuple[Quotient, Quotient]:
    plain: Surd = value.plain
    return plain.plain, plain.rooted


def _infinite_at(value: Any, factor) -> bool:
    if value.logarithm is not None and factor.degree() == 1 and factor[0] == 0:
        return True
    return any((part.denominator % factor).is_zero() for part in _parts(value) if not part.zero)


def _infinite_far_away(value: Any) -> bool:
    if value.logarithm is not None:
        return True
    return any(part.numerator.degree() > part.denominator.degree() for part in _parts(value))


def _negative(flow, case: _Case, only_broad, findings, cartan, hypotheses) -> Verdict:
    excluded = excluded_class(case.orbit, case.equation)
    by_balls = cartan is not None and cartan.rigorous and cartan.status is CartanStatus.NON_SOLVABLE
    if by_balls:
        # Monodromy alone proves it: nothing depends on the irregular points.
        excluded = ExcludedClass.MEROMORPHIC_NEAR_ORBIT
    part = monodromy_part(case.block, cartan) if by_balls and cartan is not None else None
    proof = verdict_proof(flow, case.orbit, case.block, case.component, case.galois, part, excluded.name)
    where = f"on {case.orbit.manifold.name}, {case.orbit.name}"
    if only_broad:
        status, words = Integrability.NOT_BOGOYAVLENSKIJ, f"G⁰ of a block {where} is solvable but not abelian"
    else:
        status, words = Integrability.NON_INTEGRABLE, f"G⁰ of a block {where} is not solvable"
    return Verdict(
        status, excluded, not only_broad, tuple(findings), case.orbit, case.block, case.galois, cartan, None,
        Certificate.sealed(proof), hypotheses, words,
    )  # fmt: skip


def _why_not(flow: SymbolicFlow, findings: Sequence[Finding]) -> str:
    reasons = list(dict.fromkeys(f.reason for f in findings if f.solvable is None))
    if not findings:
        network = flow.network
        leaf = (
            f"; {network.activation.name}: {network.activation.no_leaf}"
            if network and network.activation.no_leaf
            else ""
        )
        return f"no invariant manifold with an explicit orbit is known{leaf}"
    return "; ".join(reasons[:3]) or "some blocks are not decided"
