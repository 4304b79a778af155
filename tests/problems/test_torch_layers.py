"""Every layer that is taken from PyTorch, as module and as function, gives PyTorch's outputs and gradients."""

import jax
import numpy as np
import pytest

from tests.needs import needs_torch

torch = needs_torch()

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

import thetadot as td  # noqa: E402

KEY = jax.random.key(0)


class Branches(nn.Module):
    """The sum of many layers, each of a linear map of the same input."""

    def __init__(self, inputs, layers):
        super().__init__()
        self.before, self.layers = nn.Linear(inputs, inputs), nn.ModuleList(layers)

    def forward(self, x):
        hidden = self.before(x)
        total = 0.1 * hidden
        for number, layer in enumerate(self.layers, start=1):
            total = total + layer(number**0.5 * hidden)
        return total


class Calls(nn.Module):
    """One function of a parameter and the batch."""

    def __init__(self, function, shape):
        super().__init__()
        self.weight, self.function = nn.Parameter(torch.randn(*shape)), function

    def forward(self, x):
        return self.function(x, self.weight)


ACTIVATIONS = [
    nn.ReLU(), nn.ReLU6(), nn.Tanh(), nn.Sigmoid(), nn.LeakyReLU(0.3), nn.GELU(), nn.GELU("tanh"), nn.Softplus(1.5),
    nn.SiLU(), nn.Mish(), nn.ELU(1.3),  nn.SELU(), nn.Hardtanh(-0.6, 0.8),
    nn.Hardswish(), nn.LogSigmoid(), nn.Softsign(), nn.Tanhshrink(), nn.PReLU(), nn.PReLU(6), nn.Softmax(-1),
    nn.LogSoftmax(1), nn.LayerNorm(6), nn.LayerNorm(6, elementwise_affine=False), nn.GroupNorm(2, 6),
    nn.AlphaDropout(0.2), nn.Identity(),
]  # fmt: skip
LAYERS = {
    "activations and normalisations": (lambda: Branches(6, ACTIVATIONS), (6,)),
    "groups and means": (
        lambda: nn.Sequential(nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2),
                              nn.PReLU(6), nn.AvgPool2d((2, 3), stride=1, padding=1), nn.AdaptiveAvgPool2d((2, None))),
        (4, 7, 6),
    ),
    "largest": (
        lambda: nn.Sequential(nn.Conv2d(1, 3, 2, bias=False), nn.MaxPool2d(3, stride=1, padding=1, dilation=2),
                              nn.AdaptiveMaxPool2d((3, 2)), nn.LayerNorm([3, 3, 2])),
        (1, 8, 9),
    ),
    "series": (
        lambda: nn.Sequential(nn.Conv1d(2, 4, 3, padding="same", dilation=2), nn.BatchNorm1d(4), nn.AvgPool1d(2),
                              nn.MaxPool1d(2, 1), nn.AdaptiveMaxPool1d(3)),
        (2, 11),
    ),
    "functions of images": (
        lambda: Calls(lambda x, w: functional.adaptive_max_pool2d(functional.avg_pool2d(functional.max_pool2d(
            functional.conv2d(x, w, padding=1), 2, stride=1), (2, 1), count_include_pad=False), 2), (3, 1, 3, 3)),
        (1, 6, 7),
    ),
    "functions of series": (
        lambda: Calls(lambda x, w: functional.group_norm(functional.adaptive_avg_pool1d(
            functional.conv1d(input=x, weight=w, stride=2), 4), 1).mean(-1), (3, 2, 3)),
        (2, 13),
    ),
    "functions of vectors": (
        lambda: Calls(lambda x, w: functional.prelu(functional.layer_norm(functional.linear(x, weight=w), (4,),
                                                                          eps=1e-3), w[0, :1]), (4, 5)),
        (5,),
    ),
    "axes": (
        lambda: Calls(lambda x, w: torch.squeeze(torch.cat([x @ w, x.transpose(1, 2)[:, :3] @ w.t()[:, :3].t()], dim=-1)
                                                 .permute(0, 2, 1).flatten(1).unsqueeze(1)), (3, 4)),
        (3, 3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_gives_outputs_and_gradients_of_pytorch(name):
    build, shape = LAYERS[name]
    torch.manual_seed(0)
    module, x = build().double(), torch.randn(6, *shape, dtype=torch.float64)
    module(x)  # normalisations see statistics
    wanted = module.eval()(x)
    y = torch.randn(wanted.shape, dtype=torch.float64)
    problem = td.from_torch(module, td.squared, x, y)
    theta = problem.init(KEY)
    np.testing.assert_allclose(problem.predict(theta, x.numpy()), wanted.detach(), rtol=1e-10, atol=1e-12)
    (0.5 * ((wanted - y) ** 2).flatten(1).sum(1).mean()).backward()
    found = problem.layout.split(problem.value_and_grad(theta)[1])
    for key, parameter in module.named_parameters():
        np.testing.assert_allclose(found[key], parameter.grad, rtol=1e-9, atol=1e-11, err_msg=key)


def group(module, problem, layer, index):
    """Indices of a neuron's parameters, read off the state_dict by hand."""
    neuron = next(one for one in problem.layout.neurons if (one.layer, one.index) == (layer, index))
    names = problem.layout.parameter_names()
    return [[names[k] for k in part] for part in (neuron.incoming, neuron.bias, neuron.outgoing)]


def test_hidden_neurons_and_channels_of_a_convolutional_module_are_named():
    module = nn.Sequential(
        nn.Conv2d(1, 2, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 4, 1, groups=2, bias=False), nn.Tanh(),
        nn.Flatten(), nn.Linear(16, 2), nn.LeakyReLU(), nn.Linear(2, 1),
    )  # fmt: skip
    problem = td.from_torch(module, td.squared, torch.randn(3, 1, 5, 5), torch.randn(3, 1))
    assert [(n.layer, n.index) for n in problem.layout.neurons] == [
        (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, 3), (3, 0), (3, 1)
    ]  # fmt: skip
    assert group(module, problem, 1, 1) == [
        ["0.weight[1,0,0,0]", "0.weight[1,0,0,1]", "0.weight[1,0,1,0]", "0.weight[1,0,1,1]"],
        ["0.bias[1]"],
        ["3.weight[2,0,0,0]", "3.weight[3,0,0,0]"],
    ]
    assert group(module, problem, 2, 2) == [
        ["3.weight[2,0,0,0]"], [], [f"6.weight[{row},{column}]" for column in range(8, 12) for row in range(2)]
    ]  # fmt: skip
    assert group(module, problem, 3, 0)[2] == ["8.weight[0,0]"]


def test_exchanging_two_neurons_with_all_that_is_theirs_changes_no_output():
    torch.manual_seed(6)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc1, self.fc2 = nn.Conv2d(1, 3, 3), nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.fc2(
                torch.sigmoid(self.fc1(functional.softplus(self.conv(x)).mean(dim=(2, 3)) * 2 + 1))
            )

    problem = td.from_torch(Net(), td.squared, torch.randn(4, 1, 6, 6), torch.randn(4, 2))
    theta = np.array(problem.init(KEY))
    wanted = problem.predict(theta, problem.x)
    neurons = problem.layout.neurons
    assert [neuron.layer for neuron in neurons] == [1, 1, 1, 2, 2, 2, 2]
    for a, b in ((neurons[0], neurons[2]), (neurons[3], neurons[5])):
        moved = theta.copy()
        moved[a.indices], moved[b.indices] = theta[b.indices], theta[a.indices]
        assert not np.array_equal(moved, theta)
        np.testing.assert_allclose(problem.predict(moved, problem.x), wanted, rtol=1e-12)


def test_what_is_normalised_added_or_shared_is_no_neuron():
    class Skips(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.inner, self.outer, self.norm = (
                nn.Linear(5, 4),
                nn.Linear(4, 3),
                nn.Linear(3, 4),
                None,
            )
            self.norm, self.twice, self.head = nn.LayerNorm(4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            stem = self.stem(x)
            state = self.norm(stem + self.outer(torch.relu(self.inner(stem))))
            return self.head(torch.tanh(self.twice(torch.tanh(self.twice(state)))))

    problem = td.from_torch(Skips(), td.squared, torch.randn(4, 5), torch.randn(4, 2))
    names = problem.layout.parameter_names()
    assert [(n.layer, n.index, names[n.bias[0]]) for n in problem.layout.neurons] == [
        (1, 0, "inner.bias[0]"), (1, 1, "inner.bias[1]"), (1, 2, "inner.bias[2]")
    ]  # fmt: skip


def test_cross_entropy_conserves_sums_over_the_outputs_of_an_imported_readout():
    from thetadot import conservation

    torch.manual_seed(8)
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.SiLU(), nn.Flatten(), nn.LayerNorm(8), nn.Linear(8, 3))
    problem = td.from_torch(module, "cross_entropy", torch.randn(6, 1, 4, 4), torch.arange(6) % 3)
    laws = conservation.outer_laws(problem)
    assert (len(laws), laws.names[0]) == (9, "sum of weights from input of 4.0")
    path = td.descend(problem, problem.init(KEY), td.GradientDescent(0.3), 30, progress=False)
    sums = path.thetas[:, problem.layout.indices("4.weight")].sum(axis=1)
    assert np.ptp(sums, axis=0).max() < 1e-13
    assert np.ptp(path.thetas, axis=0).max() > 0.1

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return self.layer(torch.tanh(self.layer(x)))

    tied = td.from_torch(Tied(), "cross_entropy", torch.randn(6, 4), torch.arange(6) % 4)
    assert tied.network.readout is None
    assert len(conservation.outer_laws(tied)) == 0
