"""θ̇ = −∇L(θ): the training of a neural network as a dynamical system.

The public face: names only. Everything is imported on first use, so that `import thetadot` and
`thetadot --help` stay fast; JAX's float64 is switched on before JAX makes its first array.
"""

import importlib
import os
import sys

__version__ = "0.1.0"

_EXPORTS = {
    "problems": (
        "Problem EmpiricalRisk FunctionRisk from_equinox from_torch to_torch mlp linear two_layer diagonal residual "
        "conv squared cross_entropy logistic PopulationRisk GaussianInputs SphereInputs Target LinearTarget OddTarget "
        "TeacherTarget NormTarget ProductTarget RidgeTarget cubic_target"
    ),
    "dynamics": (
        "flow descend integrate flow_ensemble Until Event Path PathEnsemble Outcome Accuracy Flow StepMap "
        "training_flow training_map GradientDescent HeavyBall Nesterov MiniBatch PerSample Optax"
    ),
    "studies": "Study Run open_run sweep Sweep open_sweep",
    "errors": "ThetadotError PrecisionError ThetadotWarning",
}
_HOME = {name: package for package, names in _EXPORTS.items() for name in names.split()}
_PACKAGES = (
    "numerics", "problems", "dynamics", "stability", "saddles", "conservation", "symmetry",
    "integrability", "fluctuations", "simulators", "studies", "report", "viewer", "papers", "errors",
)  # fmt: skip
__all__ = ["__version__", "data", *_PACKAGES, *_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


def _switch_x64_on() -> None:
    if os.environ.get("THETADOT_X64", "1") == "0":
        return
    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_enable_x64", True)
    else:
        os.environ["JAX_ENABLE_X64"] = "1"


_switch_x64_on()


def __getattr__(name: str):
    if name in _PACKAGES:
        return importlib.import_module(f"thetadot.{name}")
    if name == "data":
        return importlib.import_module("thetadot.problems.data")
    if name in _HOME:
        return getattr(importlib.import_module(f"thetadot.{_HOME[name]}"), name)
    raise AttributeError(f"module 'thetadot' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
