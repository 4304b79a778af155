"""Studies from files: schema, runner, store; a run is stopped and resumed at any instant to the same bits."""

import importlib

_HOME = {
    "Study": "study",
    "Run": "run",
    "MemberSummary": "run",
    "LensSummary": "lens_reading",
    "open_run": "run",
    "register_lens": "lenses",
    "StudySpec": "schema",
    "json_schema": "schema",
    "bundled_names": "study",
    "Progress": "progress",
    "sweep": "sweep_session",
    "Sweep": "sweep_record",
    "open_sweep": "sweep_record",
    "SweepProgress": "sweep_progress",
    "ClusterError": "cluster",
}
_ERRORS = (
    "StudyError",
    "OverrideError",
    "LensError",
    "StoreError",
    "NotARunError",
    "LockedError",
    "DifferentStudyError",
    "VersionSkewError",
    "DamagedChunkError",
    "WritingError",
    "DamagedRowsWarning",
    "LostFileWarning",
    "KeptExecutorWarning",
    "LensFailedWarning",
)
_HOME |= dict.fromkeys(_ERRORS, "errors")
__all__ = [*_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(f"thetadot.studies.{_HOME[name]}"), name)
    raise AttributeError(f"module 'thetadot.studies' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
