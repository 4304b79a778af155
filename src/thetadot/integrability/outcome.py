"""What a verdict says: statuses, findings, and what is excluded."""

import dataclasses
import enum
import json
from typing import Any

from thetadot.integrability.cartan import CartanResult
from thetadot.integrability.certificate import Certificate
from thetadot.integrability.closed_form import ClosedForm
from thetadot.integrability.kovacic import GaloisGroup, GaloisResult
from thetadot.integrability.orbits import Orbit
from thetadot.integrability.variational import VariationalBlock

MEANING = "a statement about the complexified, global, exact flow with exactly these data"
"""What every status is about."""


class Integrability(enum.Enum):
    """What was proved about a flow.

    NON_INTEGRABLE: the variational equation along an orbit has a non-solvable G⁰: no full set of integrals and
    commuting fields, and no Liouvillian formula near that orbit. NOT_BOGOYAVLENSKIJ: G⁰ is not abelian: no full set,
    but formulas are not excluded. INTEGRABLE: verified integrals or quadratures. INTEGRABLE_CANDIDATE: every
    obstruction looked for is absent, which proves nothing. INCONCLUSIVE: the reason says why.
    """

    NON_INTEGRABLE = "non-integrable"
    NOT_BOGOYAVLENSKIJ = "not integrable in the broad sense"
    INTEGRABLE = "integrable"
    INTEGRABLE_CANDIDATE = "no obstruction found"
    INCONCLUSIVE = "inconclusive"


class ExcludedClass(enum.Enum):
    """Which integrals an obstruction excludes, from the singular points of the variational equation."""

    MEROMORPHIC_NEAR_ORBIT = "integrals meromorphic near the orbit"
    MEROMORPHIC_NEAR_CLOSURE = "integrals meromorphic near the orbit and its equilibria"
    RATIONAL = "rational integrals"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One block on one leaf of one manifold; without a block, why there is none."""

    manifold: str
    level: str | None
    order: int | None
    group: GaloisGroup | None
    solvable: bool | None
    abelian: bool | None
    seconds: float
    reason: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What was found about a flow.

    Attributes:
        status: see `Integrability`. excluded: which integrals, for a negative status. closed_form_excluded: whether
            Liouvillian formulas near the orbit are excluded. findings: one for each leaf and block. orbit, block,
            galois, cartan: of the finding that decides. closed_form: θ(t), where one is known. certificate: of a
            negative status or of INTEGRABLE. hypotheses: {name: residual} checked exactly. reason: one sentence.
    """

    status: Integrability
    excluded: ExcludedClass | None
    closed_form_excluded: bool
    findings: tuple[Finding, ...]
    orbit: Orbit | None
    block: VariationalBlock | None
    galois: GaloisResult | None
    cartan: CartanResult | None
    closed_form: ClosedForm | None
    certificate: Certificate | None
    hypotheses: dict[str, Any]
    reason: str

    def __str__(self) -> str:
        limits = f"; excluded: {self.excluded.value}" if self.excluded else ""
        return f"{self.status.name}: {self.reason}{limits} ({MEANING})"

    def to_xarray(self):
        """The findings as a Dataset with dimension `finding`, the verdict in its attributes."""
        import numpy as np
        import xarray

        def texts(values):
            return ("finding", np.array(["" if v is None else str(v) for v in values], dtype=object))

        truth = {None: -1, False: 0, True: 1}
        variables = {
            "manifold": texts(f.manifold for f in self.findings),
            "level": texts(f.level for f in self.findings),
            "group": texts(f.group.name if f.group else None for f in self.findings),
            "reason": texts(f.reason for f in self.findings),
            "order": ("finding", np.array([f.order or 0 for f in self.findings], dtype=np.int64)),
            "solvable": (
                "finding",
                np.array([truth[f.solvable] for f in self.findings], dtype=np.int64),
                {"meaning": "1 yes, 0 no, -1 not decided"},
            ),
            "abelian": (
                "finding",
                np.array([truth[f.abelian] for f in self.findings], dtype=np.int64),
                {"meaning": "1 yes, 0 no, -1 not decided"},
            ),
            "seconds": ("finding", np.array([f.seconds for f in self.findings], float), {"units": "s"}),
        }
        attributes = {
            "status": self.status.name,
            "excluded": self.excluded.name if self.excluded else "",
            "excluded_words": self.excluded.value if self.excluded else "",
            "closed_form_excluded": int(self.closed_form_excluded),
            "reason": self.reason,
            "meaning": MEANING,
            "source": "Ayoul and Zung, arXiv 0901.4586; Kovacic 1986; the method of arXiv 2408.08286",
        }
        if self.cartan is not None:
            attributes |= {
                "cartan_value": self.cartan.value,
                "cartan_error": self.cartan.error,
                "cartan_rigorous": int(self.cartan.rigorous),
            }
        if self.certificate is not None:
            attributes["certificate"] = json.dumps(self.certificate.data)
            attributes["certificate_digest"] = self.certificate.digest
        attributes |= {f"hypothesis: {k}": str(v) for k, v in self.hypotheses.items()}
        return xarray.Dataset(variables, attrs=attributes)
