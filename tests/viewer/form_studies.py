"""Studies that use each kind of each part of a study file at least once, away from its defaults."""

FLOW = {"kind": "flow", "until": {"time": 2.0, "grad_norm": 1e-6}}


def empirical(network=None, data=None, loss="squared", **more):
    """A study of a network over data."""
    problem = {
        "kind": "empirical",
        "network": network or {"kind": "mlp", "widths": [3, 4, 1]},
        "data": data or {"kind": "teacher_student", "samples": 12},
        "loss": loss,
    }
    return {"name": "one", "problem": problem, "rule": FLOW, **more}


def population(target, inputs=None):
    """A study of a population risk."""
    problem = {
        "kind": "population",
        "network": {"kind": "two_layer", "width": 3, "activation": "erf"},
        "target": target,
        "inputs": inputs or {"kind": "gaussian", "dimension": 3},
    }
    return {"name": "one", "problem": problem, "rule": FLOW}


NETWORKS = [
    {"kind": "mlp", "widths": [3, 4, 1], "activation": "leaky_relu", "bias": "hidden", "slope": 0.2},
    {"kind": "linear", "widths": [3, 1], "bias": True},
    {"kind": "two_layer", "dimension": 3, "width": 4, "scaling": "mean_field", "bias": True},
    {"kind": "diagonal", "dimension": 3, "depth": 4},
    {"kind": "residual", "dimension": 3, "width": 4, "outputs": 1, "stream": 5, "blocks": 2, "bias": False},
    {
        "kind": "conv",
        "image": [1, 8, 8],
        "channels": [2, 3],
        "outputs": 10,
        "padding": "valid",
        "pooling": "none",
    },
]
DATA = [
    {"kind": "digits", "standardise": False, "split": "train"},
    {"kind": "teacher_student", "samples": 12, "seed": 7, "noise": 0.1, "width": 2, "dimension": 3},
    {"kind": "gaussian_blobs", "samples": 12, "classes": 3, "distance": 2.0, "spread": 0.5},
    {"kind": "sine_regression", "samples": 12, "frequency": 2.0, "low": -1.0, "high": 0.0},
    {"kind": "linear_system", "samples": 12, "condition": 3.0, "outputs": 2},
    {"kind": "csv", "path": "a, b.csv", "target": ["y", 2], "task": "regression"},
    {"kind": "csv", "path": "x.csv", "target": "1"},
    {"kind": "csv", "path": "x.csv", "target": 1},
    {"kind": "npz", "path": "x.npz", "target": "labels"},
]
TARGETS = [
    {"kind": "linear", "weights": [1.0, -2.5, 1e-6]},
    {"kind": "cubic", "coefficients": [1, 2, 3]},
    {
        "kind": "teacher",
        "outgoing": [1.0],
        "incoming": [[1.0, 0.0, 2.0]],
        "biases": [0.5],
        "activation": "tanh",
    },
    {"kind": "norm", "subspace": 2},
    {"kind": "norm", "subspace": [0, 2]},
    {"kind": "product", "i": 0, "j": 2},
    {"kind": "ridge", "function": "tanh", "axis": 1},
]
INPUTS = [
    {"kind": "gaussian", "dimension": 3, "covariance": 2.0},
    {"kind": "gaussian", "dimension": 3, "covariance": [1.0, 2.0, 3.0]},
    {"kind": "sphere", "dimension": 3, "radius": 1.5},
]
RULES = [
    {"kind": "flow", "until": {"loss": -1.0, "steps": 7, "accept_saddles": True}, "accuracy": 1e-4, "solver": "NDF",
     "saves": [0.0, 1.5], "rtol": 1e-3, "polish": True, "perturb": 1e-8},
    {"kind": "gradient_descent", "learning_rate": 0.1, "steps": 3, "saves": "linear", "until": {"time": 1.0}},
    {"kind": "heavy_ball", "learning_rate": 0.1, "momentum": 0.0, "steps": 3},
    {"kind": "nesterov", "learning_rate": 0.1, "momentum": 0.9, "steps": 3},
    {"kind": "minibatch", "learning_rate": 0.1, "batch_size": 4, "steps": 3, "seed": 2, "replace": True},
    {"kind": "per_sample", "learning_rate": 0.1, "steps": 3, "order": "random", "seed": 1},
    {"kind": "optax", "optimizer": "adam", "learning_rate": 0.1, "steps": 3, "arguments": {"b1": 0.8, "eps": 1e-9}},
]  # fmt: skip
INITS = [
    {"scale": 0.01, "seed": 3, "members": 2},
    {"scales": [0.1, 1.0], "seed": 3},
    {"file": "theta0.npz"},
    {"members": 4, "only": 2},
]
LENSES = [
    {"stability": {"exponents": 0, "every": "auto", "finite_time": {"windows": [2.5, 7], "kind": "singular"},
                   "covariant": {"transient": 1, "window": 2, "tail": 3, "want": ["vectors", "growth"]},
                   "orbital": {"parts": ["bias"], "norm": "max"}, "sharpness": {"count": 2}}},
    {"stability": {"finite_time": None, "orbital": None, "sharpness": None, "duration": 4.5,
                   "regimes": {"learning_rates": {"from": 0.1, "to": 1.0, "spacing": "linear"}},
                   "prediction": {"label": 0.5, "windows": [20]}}},
    {"stability": {"orbital": {"parts": None}, "prediction": {"label": "gap"}}},
    {"saddles": {"scales": [0.1, 1e-6], "deviation": False, "budget": 3.0}},
    {"conservation": {"steps": True, "reduced": "gauge", "kernel_test": True}, "saddles": {}},
    {"conservation": {"steps": False, "laws": "polynomial", "degree": 3}},
    {"symmetry": {"transformations": ["negation", {"swap": [0, 1]}, {"flip": 2}, {"matrix": "t.npy", "sign": -1}],
                  "widths": [16, 32], "subspace": [0, 2]}},
    {"integrability": {"network": {"widths": [1, 1, 1], "data": [["1", "1/2"], ["-1", "-1"]], "bias": "hidden"},
                       "levels": ["0", "1/2"], "map": {"targets": ["1"]}}},
    {"fluctuations": {"learning_rate": 0.1, "leading": None, "flatness": None, "fit": {"min_points": 7}}},
    {"fluctuations": {"flatness": {"factor": 3.0}}},
    {"simulators": {"time": "discrete", "noise": None, "rollout": {"nudge": 1e-9}, "significance": {"draw": 3}}},
]  # fmt: skip

STUDIES = {
    **{f"network {one['kind']}": empirical(network=one) for one in NETWORKS},
    **{f"data {number} {one['kind']}": empirical(data=one) for number, one in enumerate(DATA)},
    **{f"target {number} {one['kind']}": population(one) for number, one in enumerate(TARGETS)},
    **{f"inputs {number} {one['kind']}": population(TARGETS[0], one) for number, one in enumerate(INPUTS)},
    **{f"rule {one['kind']}": {**empirical(), "rule": one} for one in RULES},
    **{f"init {number}": empirical(init=one) for number, one in enumerate(INITS)},
    **{f"lenses {number} {'+'.join(one)}": empirical(lenses=one) for number, one in enumerate(LENSES)},
    "compare": empirical(compare=RULES),
    "observe words": empirical(observe=["layer_norms", "sharpness"]),
    "observe names": empirical(observe={"top": "sharpness"}),
    "budget": empirical(budget={"wall": "1h30m"}, description='Two\nlines, "quotes", # and 1e-6'),
    "a number as a description": empirical(description="1e-6"),
}
