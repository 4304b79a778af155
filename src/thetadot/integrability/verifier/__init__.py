"""A checker of certificates that shares no code with the programs that write them.

It imports nothing from thetadot, only the standard library, sympy (derivatives, factorisation) and, for loops,
python-flint.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from typing import Any

from thetadot.integrability.verifier.flows import check_integrals, check_verdict
from thetadot.integrability.verifier.groups import check_liouville, check_sl2
from thetadot.integrability.verifier.loops import check_monodromy
from thetadot.integrability.verifier.polynomials import InvalidError, require

FORMAT = "thetadot-certificate/1"
MOST_BYTES = 50_000_000


@dataclasses.dataclass(frozen=True)
class Check:
    """One step of a verification."""

    name: str
    passed: bool
    detail: str


@dataclasses.dataclass(frozen=True)
class Verification:
    """Whether a certificate is valid, what it proves, and every check up to the first that fails."""

    valid: bool
    proves: str
    checks: tuple[Check, ...]


def verify(data: Any) -> Verification:
    """Check a certificate given as the object that its JSON holds, digest included."""
    checks: list[Check] = []

    def report(name: str, check: Callable[[], Any]) -> Any:
        try:
            found = check()
        except InvalidError as error:
            checks.append(Check(name, False, str(error)))
            raise
        except Exception as error:  # whatever a stranger's data provoke: the proof is not there
            checks.append(Check(name, False, f"malformed: {type(error).__name__}"))
            raise InvalidError("malformed") from error
        checks.append(Check(name, True, "holds"))
        return found

    try:
        content = report("format", lambda: _content(data))
        proves = report(content["kind"], lambda: _kind(content, report))
    except InvalidError:
        return Verification(False, "nothing", tuple(checks))
    return Verification(True, proves, tuple(checks))


def _content(data: Any) -> dict[str, Any]:
    """The certificate without its digest, which must fit it."""
    require(isinstance(data, dict), "a certificate is an object")
    require(data.get("format") == FORMAT, f"the format is not {FORMAT}")
    require(data.get("kind") in ("sl2", "liouville", "integrals", "monodromy", "verdict"), "unknown kind")
    content = {key: value for key, value in data.items() if key != "digest"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    require(data.get("digest") == digest, "the digest does not fit the content")
    return content


def _kind(data: dict[str, Any], report: Any) -> str:
    kind = data["kind"]
    if kind == "sl2":
        check_sl2(data)
        return "the Galois group of y'' = r y is SL2: no Liouvillian solutions"
    if kind == "liouville":
        _, abelian = check_liouville(data)
        words = "abelian" if abelian else "not abelian"
        return f"y'' = r y has Liouvillian solutions, the group is {data['group']}, G⁰ is {words}"
    if kind == "integrals":
        return check_integrals(data, report)
    if kind == "monodromy":
        check_monodromy(data)
        return "G⁰ of the system is not solvable"
    return check_verdict(data, report)
