"""The independent integrators and hand-written derivatives agree with closed forms, slopes and each other."""

import numpy as np
import pytest

from tests.oracles import deep_linear, quadratic, squared_relu, tanh_network
from tests.oracles.differences import slope
from tests.oracles.radau import radau_flow
from tests.oracles.sundials import cvode_flow

TS = np.concatenate([[0.0], np.geomspace(1e-2, 1e4, 8)])


@pytest.fixture(scope="module")
def stiff_quadratic():
    factor = quadratic.ill_conditioned_factor(6, 1e6, seed=2)
    theta0 = np.arange(1.0, 7.0)
    return factor.T @ factor, theta0, quadratic.QuadraticFlow(factor, theta0).thetas(TS)


def relative_error(thetas, truth):
    return (np.linalg.norm(thetas - truth, axis=1) / np.linalg.norm(truth, axis=1)).max()


def test_cvode_follows_a_stiff_quadratic(stiff_quadratic):
    matrix, theta0, truth = stiff_quadratic
    thetas = cvode_flow(lambda theta: matrix @ theta, theta0, TS, hessian=lambda _: matrix)
    assert relative_error(thetas, truth) < 1e-9
    differenced = cvode_flow(lambda theta: matrix @ theta, theta0, TS)
    assert relative_error(differenced, truth) < 1e-9


def test_cvode_gives_both_rows_when_asked_for_one_time(stiff_quadratic):
    matrix, theta0, truth = stiff_quadratic
    thetas = cvode_flow(lambda theta: matrix @ theta, theta0, TS[[0, 3]], hessian=lambda _: matrix)
    assert thetas.shape == (2, 6)
    assert relative_error(thetas, truth[[0, 3]]) < 1e-9


def test_radau_follows_a_stiff_quadratic(stiff_quadratic):
    matrix, theta0, truth = stiff_quadratic
    thetas = radau_flow(lambda theta: matrix @ theta, lambda _: matrix, theta0, TS)
    assert relative_error(thetas, truth) < 1e-10


def test_cvode_follows_a_deep_linear_network():
    flow = deep_linear.spectral_flow((3, 3, 3, 3), (2.0, 0.7), (0.2, 0.1), 4)
    x, y = flow.data(12, seed=6)
    ts = np.linspace(0.0, 12.0, 5)

    def gradient(theta):
        w1, w2, w3 = theta.reshape(3, 3, 3)
        back = (x @ (w3 @ w2 @ w1).T - y).T @ x / len(x)
        return np.concatenate(
            [(w2.T @ w3.T @ back).ravel(), (w3.T @ back @ w1.T).ravel(), (back @ w1.T @ w2.T).ravel()]
        )

    assert relative_error(cvode_flow(gradient, flow.thetas([0.0])[0], ts), flow.thetas(ts)) < 1e-8


@pytest.mark.parametrize("make", [tanh_network.teacher_student, squared_relu.benchmark_network])
def test_hand_written_gradients_are_the_slopes_of_the_loss(make):
    network, start = make()
    theta = start / np.linalg.norm(start) * 2.0
    slopes = [slope(lambda u, e=e: network.loss(theta + u * e), 0.0, 1e-4) for e in np.eye(theta.size)]
    assert np.abs(network.gradient(theta) - slopes).max() < 1e-8  # squared ReLU has kinks in its curvature


def test_hand_written_hessian_is_the_slope_of_the_gradient():
    network, theta = tanh_network.teacher_student()
    columns = [slope(lambda u, e=e: network.gradient(theta + u * e), 0.0, 1e-3) for e in np.eye(theta.size)]
    assert np.abs(network.hessian(theta) - np.array(columns)).max() < 1e-9


@pytest.mark.slow
def test_cvode_and_radau_agree_on_the_tanh_teacher_and_student():
    network, theta0 = tanh_network.teacher_student()
    by_cvode = cvode_flow(network.gradient, theta0, TS, hessian=network.hessian)
    by_radau = radau_flow(network.gradient, network.hessian, theta0, TS, rtol=1e-11)
    assert relative_error(by_cvode, by_radau) < 1e-9


def test_the_predicted_escape_is_where_the_escape_happens():
    network, start = squared_relu.benchmark_network()
    prediction = squared_relu.predict_escape(network, start)
    assert prediction.blow_up_time == pytest.approx(96.1173, abs=1e-4)
    scale = 1e-2
    ts = np.array([0.0, prediction.time(scale) - 0.05, prediction.time(scale) + 0.05])
    thetas = cvode_flow(network.gradient, scale * start / np.linalg.norm(start), ts, rtol=1e-9)
    assert network.loss(thetas[1]) > prediction.level > network.loss(thetas[2])
