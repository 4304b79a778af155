"""PyTorch modules as problems: outputs and gradients are PyTorch's, to 1e-10, or the import fails by name."""

import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.needs import needs_torch

torch = needs_torch()

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

import thetadot as td  # noqa: E402
from thetadot.errors import PrecisionError  # noqa: E402
from thetadot.problems import (  # noqa: E402
    ImportMismatchError,
    NetworkError,
    ShapeError,
    UnsupportedLayerError,
    load_torch,
)
from thetadot.problems.pytorch import operations  # noqa: E402

KEY = jax.random.key(0)


class Block(nn.Module):
    """A residual block with normalisation, as in ResNets."""

    def __init__(self, channels, out, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.short = nn.Sequential(
            nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out)
        )

    def forward(self, x):
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.short(x)
        return functional.relu(out)


class ResNet(nn.Module):
    """Two blocks, means over pixels, a dense read-out."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Block(1, 3), Block(3, 4, stride=2))
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        pooled = functional.adaptive_avg_pool2d(self.blocks(x), 1)
        return self.fc(torch.flatten(pooled, 1))


class Functional(nn.Module):
    """Free functions, methods, slices, shared and frozen parameters, constants."""

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(6, 6)
        self.tied = self.one
        self.gain = nn.Parameter(torch.tensor(1.3))
        self.frozen = nn.Parameter(torch.linspace(-1, 1, 6), requires_grad=False)
        self.register_buffer("shift", torch.linspace(0, 1, 6))

    def forward(self, x):
        n = x.size(0)
        hidden = torch.tanh(self.one(x)) * self.gain + self.shift
        hidden = self.tied(hidden).view(n, 2, -1).transpose(1, 2).contiguous().reshape(n, 6)
        halves = torch.cat([hidden[:, :3], -hidden[:, 3:].pow(2)], dim=1)
        return (functional.softplus(halves + self.frozen) / 2 - 0.5).unsqueeze(1).mean(dim=1)


def cnn():
    return nn.Sequential(
        *(nn.Conv2d(1, 3, 3, padding="same"), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(3, 4, 3, dilation=2, padding=1), nn.GELU()),
        nn.AvgPool2d(2, stride=1, padding=1, count_include_pad=False),
        *(nn.Dropout(0.5), nn.Flatten(), nn.LazyLinear(3)),
    )


def series():
    return nn.Sequential(
        nn.Conv1d(2, 4, 3, stride=2, padding=1, groups=2), nn.GroupNorm(2, 4), nn.SiLU(), nn.AdaptiveAvgPool1d(3),
        nn.MaxPool1d(2, stride=1), nn.ELU(0.7), nn.Flatten(1), nn.Linear(8, 3), nn.LayerNorm(3), nn.Softsign(),
    )  # fmt: skip


def dense(activation):
    return nn.Sequential(
        nn.Linear(6, 5), activation, nn.Dropout(0.2), nn.Linear(5, 4), activation, nn.Linear(4, 3)
    )


MODULES = {
    "tanh chain": (lambda: dense(nn.Tanh()), (6,)),
    "leaky chain": (lambda: dense(nn.LeakyReLU(0.2)), (6,)),
    "mixed": (
        lambda: nn.Sequential(nn.Linear(6, 5), nn.Mish(), nn.Linear(5, 5), nn.Softplus(2.0),
                              nn.Linear(5, 3, bias=False), nn.Hardtanh(), nn.LogSoftmax(dim=1)), (6,),
    ),
    "functional": (Functional, (6,)),
    "convolutions": (cnn, (1, 8, 8)),
    "series": (series, (2, 9)),
    "resnet": (ResNet, (1, 6, 6)),
}  # fmt: skip


def made(name, samples=5):
    build, shape = MODULES[name]
    torch.manual_seed(0)
    x = torch.randn(samples, *shape)
    module = build()
    module(x)  # lazy layers take their shapes, normalisations their statistics
    with torch.no_grad():
        for buffer in module.buffers():
            if torch.is_floating_point(buffer):
                buffer.add_(0.1 * torch.rand_like(buffer))
    return module, x


@pytest.mark.parametrize("name", MODULES)
def test_outputs_and_gradients_are_those_of_pytorch(name):
    module, x = made(name)
    y = torch.randn(len(x), *module.eval()(x).shape[1:])
    problem = td.from_torch(module, td.squared, x, y)
    theta = problem.init(KEY)
    double = module.double()
    wanted = double(x.double())
    np.testing.assert_allclose(
        problem.predict(theta, x.double().numpy()), wanted.detach().numpy(), rtol=1e-10, atol=1e-12
    )
    loss = 0.5 * ((wanted - y.double()) ** 2).flatten(1).sum(1).mean()
    loss.backward()
    value, gradient = problem.value_and_grad(theta)
    np.testing.assert_allclose(value, loss.item(), rtol=1e-12)
    found = (
        problem.layout.split(gradient) if problem.network.chain is None else problem.network.split(gradient)
    )
    for key, parameter in double.named_parameters():
        if parameter.requires_grad:
            np.testing.assert_allclose(
                found[key], parameter.grad.numpy(), rtol=1e-10, atol=1e-12, err_msg=key
            )
    direction = np.random.default_rng(1).standard_normal(problem.size)
    step = 1e-6
    slope = (
        problem.value_and_grad(theta + step * direction)[1]
        - problem.value_and_grad(theta - step * direction)[1]
    ) / (2 * step)
    np.testing.assert_allclose(problem.hvp(theta, jnp.asarray(direction)), slope, rtol=2e-5, atol=2e-6)


def test_a_chain_of_dense_layers_is_the_mlp_that_it_is():
    module, x = made("tanh chain")
    problem = td.from_torch(module, td.squared, x, torch.randn(len(x), 3))
    twin = td.EmpiricalRisk(td.mlp([6, 5, 4, 3], "tanh"), td.squared, x.double().numpy(), problem.y)
    theta = problem.init(KEY)
    assert problem.hessian_method == "structured"
    assert problem.layout.shapes == twin.layout.shapes
    assert len(problem.layout.neurons) == 9
    np.testing.assert_allclose(problem.hessian(theta), twin.hessian(theta), rtol=1e-12, atol=1e-14)
    assert td.from_torch(made("leaky chain")[0], td.squared, x, torch.randn(len(x), 3)).network.chain is None


@pytest.mark.parametrize("name", ["functional", "resnet"])
def test_state_dicts_go_both_ways(name):
    module, x = made(name)
    outputs = module.eval()(x).shape[1:]
    problem = td.from_torch(module, td.squared, x, torch.zeros(len(x), *outputs))
    theta = problem.init(KEY)
    np.testing.assert_array_equal(load_torch(problem, module.state_dict()), theta)
    moved = theta + 0.01 * np.random.default_rng(0).standard_normal(problem.size)
    state = td.to_torch(problem, moved)
    fresh = type(module)().eval() if name != "resnet" else ResNet().eval()
    fresh.load_state_dict(state)
    np.testing.assert_allclose(
        fresh.double()(x.double()).detach(), problem.predict(moved, x.double().numpy()), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(load_torch(problem, state), moved)
    with pytest.raises(ShapeError, match="has no"):
        load_torch(problem, {})
    with pytest.raises(ShapeError, match="in the state_dict"):
        load_torch(problem, {key: torch.zeros(2, 2) for key in state})
    with pytest.raises(NetworkError, match="does not come from from_torch"):
        td.to_torch(td.EmpiricalRisk(td.mlp([6, 3]), td.squared, np.ones((5, 6)), np.zeros((5, 3))), theta)


def test_a_flow_of_an_imported_classifier_is_certified():
    torch.manual_seed(1)
    x, y = td.data.iris()
    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    problem = td.from_torch(module, nn.CrossEntropyLoss(), x, y)
    assert problem.description == "PyTorch Sequential of 43 parameters, cross-entropy, 150 samples of iris"
    torch_loss = nn.CrossEntropyLoss()(
        module.double()(torch.tensor(np.asarray(x))), torch.tensor(np.asarray(y))
    ).item()
    theta = problem.init(KEY)
    np.testing.assert_allclose(problem.loss(theta), torch_loss, rtol=1e-12)
    path = td.flow(problem, theta, until=td.Until(time=5.0), accuracy=1e-5, certify=True, progress=False)
    assert path.accuracy.certified
    assert path.losses[-1] < 0.9 * path.losses[0]


def test_modules_that_are_not_known_are_refused_by_the_name_of_the_layer():
    x, y = torch.randn(4, 6), torch.zeros(4, 2)

    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 2)

        def forward(self, x):
            return self.layer(x) if x.sum() > 0 else self.layer(-x)

    class Pair(Branches):
        def forward(self, x):
            return self.layer(x), x

    cases = {
        r"0 \(Embedding\) is not known": nn.Sequential(nn.Embedding(3, 2)),
        r"1 \(Bilinear|1 \(RNN\)": nn.Sequential(nn.Linear(6, 6), nn.RNN(6, 2)),
        "cannot be taken apart by torch.fx": Branches(),
        "must return one tensor": Pair(),
        r"0 \(MaxPool1d\)": nn.Sequential(nn.MaxPool1d(2, ceil_mode=True)),
        r"0 \(BatchNorm1d\)": nn.Sequential(nn.BatchNorm1d(6, track_running_stats=False), nn.Linear(6, 2)),
    }
    for message, module in cases.items():
        for parameter in module.parameters():
            parameter.requires_grad_(True)
        if not list(module.parameters()):
            module.add_module("extra", nn.Linear(1, 1))
        with pytest.raises(UnsupportedLayerError, match=message):
            td.from_torch(module, td.squared, x, y)
    with pytest.raises(NetworkError, match="no trainable parameters"):
        td.from_torch(nn.Sequential(nn.Tanh()), td.squared, x, y)
    with pytest.raises(NetworkError, match=r"MSELoss\(\) has no equal here"):
        td.from_torch(nn.Linear(6, 2), nn.MSELoss(), x, y)
    with pytest.raises(PrecisionError, match="float32"):
        td.from_torch(nn.Linear(6, 2), td.squared, x.numpy(), y.numpy())


@pytest.mark.parametrize("kind", ["value", "slope"])
def test_an_import_that_disagrees_is_refused_by_the_name_of_the_layer(monkeypatch, kind):
    wrong = {
        "value": lambda z: jnp.tanh(z) + 1e-8 * jnp.sin(z),
        "slope": lambda z: jnp.where(z == z, jax.lax.stop_gradient(jnp.tanh(z) - z) + z, z),
    }[kind]
    monkeypatch.setitem(operations.OPERATIONS, "tanh", wrong)
    jax.clear_caches()  # compiled networks know the right one
    module = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2), nn.Tanh())
    message = {
        "value": r"layer 1 \(Tanh\) is the first that differs",
        "slope": r"gradient with respect to 0.weight differs",
    }
    with pytest.raises(ImportMismatchError, match=message[kind]):
        td.from_torch(module, td.squared, torch.randn(4, 6), torch.zeros(4, 2))


def test_an_imported_problem_runs_where_there_is_no_pytorch(tmp_path):
    module, x = made("mixed")
    problem = td.from_torch(module, td.squared, x, torch.zeros(len(x), 3))
    theta = np.asarray(problem.init(KEY))
    (tmp_path / "problem.pickle").write_bytes(pickle.dumps((problem, theta)))
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import pickle, thetadot\n"
        f"problem, theta = pickle.load(open({str(tmp_path / 'problem.pickle')!r}, 'rb'))\n"
        "print(float(problem.loss(theta)).hex())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float.fromhex(found.strip()) == pytest.approx(float(problem.loss(theta)), rel=1e-13)
