"""Gradient flow beside other integrators, at equal error: the table and figures of the library's speed.

    python -m benchmarks.flow [--only P1,P4] [--ours NDF,auto] [--peers CVODE,SciPy] [--quick] [--anew]

Work–precision sweeps of every method on every case, an ensemble of tiny networks, the gradient beside a matrix
product, and how cost grows. Everything measured is on disk at once: an interrupted command goes on where it stopped.
"""

import argparse
import math
import pathlib

from benchmarks import ensembles, figures, gemm, growth, ours, table
from benchmarks.compare import Ratio
from benchmarks.measure import Store, sweep
from benchmarks.problems import CASES
from benchmarks.references import reference
from benchmarks.worker import Worker, find_case, peers_of_ours

RESULTS = pathlib.Path(__file__).parent / "results"
PARTS = ("sweeps", "ensemble", "gemm", "growth")
EVERY = [case.name for case in CASES]
QUICK, QUICK_OURS = ["P1", "P4", "P6"], ("auto", "NDF")
QUICK_PEERS = ("CVODE dense", "SciPy LSODA", "diffrax Tsit5", "torchdiffeq")
QUICK_RTOLS = (1e-4, 1e-7)
MEMBERS, QUICK_MEMBERS = 256, 16
WANTED_OF_ENSEMBLE, WANTED_OF_GEMM = 20.0, 0.5


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.flow",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", help=f"cases (default {','.join(EVERY)}; quick {','.join(QUICK)})")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"what to do (default {','.join(PARTS)})")
    parser.add_argument("--ours", help="our solvers; unknown ones are skipped (default all; quick auto,NDF)")
    parser.add_argument("--peers", help="only peers whose names begin so (default all; quick a few)")
    parser.add_argument("--quick", action="store_true", help="short times, two tolerances: under 3 minutes")
    parser.add_argument("--repeat", type=int, help="runs of which the median counts (default 3; quick 1)")
    parser.add_argument(
        "--cap", type=float, help="processor seconds after which a run is stopped (default 120; quick 3)"
    )
    parser.add_argument("--anew", action="store_true", help="measure again what is already measured")
    parser.add_argument(
        "--keep-peers",
        action="store_true",
        help="keep peers' measurements made with an earlier gradient of ours",
    )
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS, help="folder of the results")
    wanted = parser.parse_args()
    wanted.only = wanted.only.split(",") if wanted.only else QUICK if wanted.quick else EVERY
    wanted.ours = (
        tuple(wanted.ours.split(",")) if wanted.ours else QUICK_OURS if wanted.quick else ours.SOLVERS
    )
    wanted.peers = tuple(wanted.peers.split(",")) if wanted.peers else QUICK_PEERS if wanted.quick else ("",)
    wanted.repeat = wanted.repeat or (1 if wanted.quick else 3)
    wanted.cap = wanted.cap or (3.0 if wanted.quick else 120.0)
    return wanted


def _say(text: str) -> None:
    print(text, flush=True)


def _sweeps(wanted: argparse.Namespace, store: Store) -> dict[str, str]:
    known, strange = ours.methods(wanted.ours)
    for name in strange:
        _say(f"skipped: this version has no solver {name}")
    peers = [peer for peer in peers_of_ours() if peer.name.startswith(wanted.peers)]
    worker = Worker()
    try:
        for name in wanted.only:
            case = find_case(name, wanted.quick)
            _say(f"\n{case.name}: {case.title}, t = 0 … {case.end:g}. Reference: {reference(case, _say)}")
            for method in (*known, *peers):
                rtols = QUICK_RTOLS if wanted.quick else method.rtols
                sweep(worker, store, case, wanted.quick, method, rtols, wanted.cap, wanted.repeat, _say)
    finally:
        worker.close()
    return strange


def _ensemble_row(wanted: argparse.Namespace, store: Store) -> table.Row:
    count = QUICK_MEMBERS if wanted.quick else MEMBERS
    ensembles.measure(store, count, wanted.quick, wanted.repeat, _say)
    measured: Ratio = ensembles.compare(store, count)
    verdict = (
        "–" if math.isnan(measured.median) else "held" if measured.median >= WANTED_OF_ENSEMBLE else "no"
    )
    text = f"{count} tiny networks against a loop of CVODE"
    return table.Row(text, f"≥ {WANTED_OF_ENSEMBLE:g}×", str(measured), "–", verdict)


def _gemm_row() -> table.Row:
    share = gemm.measure()
    verdict = "held" if share.of_peak >= WANTED_OF_GEMM else "no"
    return table.Row("P3's gradient against the measured matrix product", "≥ 50 %", str(share), "–", verdict)


def main() -> None:
    """Measure what is missing, then print and write the tables and figures."""
    wanted = _arguments()
    parts = wanted.parts.split(",")
    folder = wanted.results / "quick" if wanted.quick else wanted.results
    folder.mkdir(parents=True, exist_ok=True)
    store = Store(folder / "flow.json", wanted.anew, wanted.keep_peers)
    strange = _sweeps(wanted, store) if "sweeps" in parts else {}
    further = [_ensemble_row(wanted, store)] if "ensemble" in parts else []
    further += [_gemm_row()] if "gemm" in parts else []
    if "growth" in parts:
        curves = growth.measure(folder / "growth.json", wanted.quick, wanted.anew, _say)
        figures.growth(curves, growth.LABELS, folder / "growth.png")
    cases = [case for c in CASES if store.of((case := find_case(c.name, wanted.quick)).name)]
    if cases:
        figures.work_precision(
            store, cases, lambda case: reference(case).accuracy, folder / "work_precision.png"
        )
    page = table.report(store, cases, lambda case: str(reference(case)), strange, further)
    if wanted.quick:
        page = page.replace("\n", "\nA quick run, to shorter times than what is wanted is meant for.\n\n", 1)
    (folder / "flow.md").write_text(page)
    _say("\n" + page.split("## P")[0])
    _say(f"Written: {folder.name}/flow.md, flow.json, work_precision.png, growth.png")


if __name__ == "__main__":
    main()
