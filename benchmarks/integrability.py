"""Deciding y'' = r y: thetadot, the same algorithm's peers Maxima and FriCAS where they are installed.

Run as `python -m benchmarks.integrability`. Prints a Markdown table with milliseconds for the decision with its
certificate and for the checker, the peers' seconds (or "none in 100 s"), and how the cost grows.
"""

import shutil
import statistics
import subprocess
import sys
import time

import sympy

from tests.integrability.networks import Z, common_block, mirrored
from tests.oracles.second_order import GROUPS, x
from thetadot.integrability import decide_block, second_order_galois, verify_certificate

_LIMIT = 100.0
_REPEATS = 3
_R = sympy.Rational


def networks():
    """{name: r in x} of the networks of the specification."""
    cases = {}
    for target, level in ((1, 0), (2, 0), (1, 1), (2, 1)):
        cases[f"linear y={target} C={level}"] = (mirrored("identity", target), level)
    for target in (0, 1, 2):
        cases[f"tanh y={target} C=0"] = (mirrored("tanh", target), 0)
    cases["tanh y=1 C=1"] = (mirrored("tanh", 1), 1)
    for eta in (1, 2):
        cases[f"z³ η={eta} C=0"] = (mirrored("cube", eta / sympy.sqrt(3)), 0)
    cases["z³ y=1 C=1"] = (mirrored("cube", 1), 1)
    found = {}
    for name, (flow, level) in cases.items():
        leaf, block = common_block(flow, level)
        found[name] = decide_block(block).equation.subs(leaf.parameter, x)
    return found


def _milliseconds(work):
    times = []
    for _ in range(_REPEATS):
        start = time.process_time()
        value = work()
        times.append(1e3 * (time.process_time() - start))
    return min(times), value


def _maxima(r):
    text = f'load("kovacicODE")$ kovacicODE(\'diff(y,x,2)=({sympy.sstr(r).replace("**", "^")})*y, y, x);'
    return _peer(["maxima", "--very-quiet", "--batch-string", text])


def _fricas(r):
    value = sympy.sstr(r).replace("**", "^")
    lines = ["Dx : LODO1(FRAC UP('x, FRAC INT)) := D()"]
    lines += [
        f"ratDsolve(symmetricPower(Dx^2 - ({value})::FRAC UP('x, FRAC INT), {m}), 0)"
        "$RationalLODE(FRAC INT, UP('x, FRAC INT))"
        for m in (2, 4, 6, 8, 12)
    ]
    return _peer(["fricas", "-nosman"], "\n".join([*lines, ")quit"]))


def _peer(command, text=""):
    if shutil.which(command[0]) is None:
        return None
    start = time.perf_counter()
    try:
        subprocess.run(command, input=text, capture_output=True, text=True, timeout=_LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return float("inf")
    return time.perf_counter() - start


def _words(seconds):
    if seconds is None:
        return "not installed"
    return f"none in {_LIMIT:.0f} s" if seconds == float("inf") else f"{seconds:.2f} s"


def main():
    """Print the tables."""
    print("| equation | group | decide (ms) | check (ms) | Maxima | FriCAS |\n|---|---|---|---|---|---|")
    spent = []
    for name, r in {**{k: v for k, (v, _) in GROUPS.items()}, **networks()}.items():
        own, found = _milliseconds(lambda r=r: second_order_galois(r, x))
        check, _ = _milliseconds(lambda found=found: verify_certificate(found.certificate))
        spent.append(own)
        print(
            f"| {name} | {found.group.name} | {own:.1f} | {check:.1f} "
            f"| {_words(_maxima(r))} | {_words(_fricas(r))} |", flush=True,
        )  # fmt: skip
    print(
        f"\nmedian {statistics.median(spent):.1f} ms, largest {max(spent):.1f} ms (processor time, one core)\n"
    )
    print("| growth | decide (ms) |\n|---|---|")
    for k in (3, 7, 11, 15, 21):
        _, block = common_block(mirrored(Z**k, 2 / sympy.sqrt(k)), 0)
        print(f"| z^{k}, η=2 | {_milliseconds(lambda block=block: decide_block(block))[0]:.1f} |", flush=True)
    for width in (1, 2, 3):
        _, block = common_block(mirrored("tanh", 1, width), 0)
        print(
            f"| tanh, K={width} | {_milliseconds(lambda block=block: decide_block(block))[0]:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
