"""A path as labelled arrays."""

import json

import numpy as np
import xarray

from tests.dynamics.handmade import LAYOUT, SIZE, handmade
from thetadot.dynamics.labels import strict_json


def test_the_dataset_has_the_dimensions_and_the_numbers_of_the_path():
    path = handmade(rows=30)
    dataset = path.to_xarray()
    assert dict(dataset.sizes) == {"save": 30, "parameter": SIZE, "event": 2, "layer_norms_component": 4}
    assert dataset.theta.dims == ("save", "parameter")
    assert dataset.layer_norms.dims == ("save", "layer_norms_component")
    for name, values in {
        "theta": path.thetas,
        "loss": path.losses,
        "grad_norm": path.grad_norms,
        "step": path.steps,
        "sharpness": path.observed["sharpness"],
        "time": path.ts,
    }.items():
        assert dataset[name].values.tobytes() == values.tobytes()
    assert dataset.event_name.values.tolist() == ["minimum of ‖∇L‖", "plateau"]
    assert dataset.event_time.values.tolist() == [0.7, 55.0]
    assert np.array_equal(dataset.event_theta.values[1], path.events[1].theta)


def test_every_parameter_carries_its_layer_and_role():
    dataset = handmade().to_xarray()
    for name, where in LAYOUT.slices.items():
        layer, role = name.split(".")
        assert set(dataset.layer.values[where]) == {layer}
        assert set(dataset.role.values[where]) == {role}
    chosen = dataset.theta.sel(parameter=(dataset.layer == "layer2") & (dataset.role == "bias"))
    assert chosen.sizes["parameter"] == 2


def test_attributes_tell_outcome_accuracy_cost_and_settings_as_strict_json():
    path = handmade()
    attributes = path.to_xarray().attrs
    assert attributes["outcome"] == "REACHED_TIME"
    assert attributes["degenerate"] == 1
    assert json.loads(attributes["accuracy"])["global_error"] == 3.25e-7
    assert json.loads(attributes["accuracy"])["energy_defect"] is None
    assert json.loads(attributes["stats"])["solvers"] == [[0.0, "Tsit5"], [1 / 3, "Kvaerno5"]]
    assert json.loads(attributes["settings"]) == dict(path.info)


def test_strict_json_never_holds_what_json_does_not_know():
    text = strict_json({"a": float("nan"), "b": [np.float64(np.inf), np.arange(2)], 3: object})

    def refuse(word):
        raise AssertionError(word)

    assert json.loads(text, parse_constant=refuse) == {"a": None, "b": [None, [0, 1]], "3": str(object)}


def test_a_path_without_layout_events_or_observables_has_labels_too():
    dataset = handmade(layout=None, events=(), observed={}).to_xarray()
    assert dataset.sizes["event"] == 0
    assert "layer" not in dataset.coords


def test_an_observable_named_like_a_variable_does_not_hide_it():
    path = handmade(observed={"loss": np.arange(40.0)})
    dataset = path.to_xarray()
    assert np.array_equal(dataset.loss.values, path.losses)
    assert np.array_equal(dataset.observed_loss.values, np.arange(40.0))


def test_the_dataset_survives_a_zarr_store_bit_for_bit(tmp_path):
    dataset = handmade().to_xarray()
    dataset.to_zarr(tmp_path / "path.zarr", consolidated=False)
    with xarray.open_zarr(tmp_path / "path.zarr", consolidated=False) as back:
        assert back.theta.values.tobytes() == dataset.theta.values.tobytes()
        assert back.layer.values.tolist() == dataset.layer.values.tolist()
        assert back.attrs == dataset.attrs
