"""The studies that come with thetadot: all are valid, and each shows what its description promises."""

import subprocess
import sys

import numpy as np
import pytest

from thetadot import papers
from thetadot.studies import bundled, bundled_names
from thetadot.studies.build import check_rules, starts


@pytest.mark.parametrize("name", bundled.names())
def test_every_bundled_study_is_valid_and_says_what_it_shows(name):
    study = getattr(bundled, name)
    assert study.name == name
    assert study.spec.takes
    assert bundled.overview()[name].description == study.spec.description
    assert len(bundled.overview()[name].sentence) > 60
    problem = study.problem
    check_rules(study.spec, problem, study.origin)
    assert np.isfinite(starts(study.spec, problem, study.origin)).all()


def test_unknown_bundled_studies_are_refused_by_the_names_of_the_known():
    assert bundled_names()[0] == "quickstart"
    with pytest.raises(AttributeError, match=r"it has quickstart, "):
        _ = bundled.gone


def test_every_paper_has_a_study_beside_it():
    for paper in papers.names():
        assert any(name.startswith(f"{paper}_") for name in bundled.names()), paper


def test_an_overview_loads_neither_jax_nor_a_lens():
    code = (
        "import sys; from thetadot import papers; from thetadot.studies import bundled; "
        "bundled.overview(), papers.titles(); sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """Name → the finished run of that study."""
    place = tmp_path_factory.mktemp("bundled")

    def run(name):
        found = getattr(bundled, name).run(place / name, progress=False)
        assert found.status == "done"
        assert not [line for line in found.lenses() if line.status == "failed"]
        return found

    return run


def summary_of(run, lens, compare=None):
    """What a lens says of the first member."""
    return next(
        line.summary
        for line in run.lenses()
        if (line.member, line.lens, line.compare) == (0, lens, compare) and line.status == "done"
    )


@pytest.mark.slow
def test_descent_stays_at_the_edge_of_stability_and_the_flow_goes_beyond(run_of):
    run = run_of("edge_of_stability")
    flow = run.path(0)
    for compare, bound in ((0, 2 / 0.5), (1, 2 / 0.8)):
        path = run.path(0, compare=compare)
        late = path.ts > 0.75 * path.ts[-1]
        sharpness = path.observed["sharpness"]
        assert abs(np.median(sharpness[late]) / bound - 1) < 0.1
        assert sharpness[0] < 0.8 * bound  # it grew to that value
        assert flow.observed["sharpness"][-1] > 1.3 * bound
        assert path.losses[-1] < 0.7 * path.losses[np.argmax(sharpness > bound)]


@pytest.mark.slow
def test_held_out_sums_are_understood_long_after_the_others_are_known(run_of):
    path = run_of("grokking_small").path(0)
    train, test = path.observed["accuracy"], path.observed["test_accuracy"]
    known = int(np.argmax(train == 1.0))
    assert path.steps[known] < 200
    assert test[known] < 0.05
    understood = int(np.argmax(test > 0.9))
    assert test[-1] > 0.9
    assert path.steps[understood] > 20 * path.steps[known]
    loss = path.observed["test_loss"]
    assert loss[known] > loss[0]  # it grows while the samples are learned by heart,
    assert loss[-1] < 0.2 * loss[known]  # and falls at last
    assert path.losses[known] < 0.4 * path.losses[0]


@pytest.mark.slow
def test_modes_are_learned_one_after_another(run_of):
    run = run_of("analytic_modes")
    for member in run.members:
        path = run.path(member)
        assert path.accuracy.certified
        assert path.accuracy.global_error <= 1e-6
        found = run.lens(member, "saddles")
        assert np.isfinite(found["plateau_loss"].values).sum() >= 2  # a staircase
        assert found["index_along"].values[0] > 0
        assert found["index_along"].values[-1] == 0
        assert found.attrs["itinerary_status"] == "REACHED_MINIMUM"
        # Depth, norms and singular values apart, what is known of the end is that it interpolates.
        assert path.losses[-1] < 1e-12
    assert "CONSERVED" in summary_of(run, "conservation")


@pytest.mark.slow
def test_the_escape_from_the_origin_comes_when_it_is_predicted_and_like_one_over_the_size(run_of):
    found = run_of("homogeneous_escape").lens(0, "saddles")
    predicted, measured = found["escape_scale_predicted"].values, found["escape_scale_measured"].values
    scales = found["scale"].values
    np.testing.assert_allclose(predicted, measured, rtol=0.05)
    slope = np.polyfit(np.log(scales), np.log(measured), 1)[0]
    assert slope == pytest.approx(-1.0, abs=0.05)
    norms = found["group_norm"].values
    alive = (norms > 0.1 * norms[-1].max()).sum(axis=1)
    middle = int(np.argmax(norms.max(axis=1) > 0.5 * norms.max()))
    assert 1 <= alive[middle] < norms.shape[1] / 2


@pytest.mark.slow
def test_early_exponents_get_a_verdict_that_sixty_starts_cannot_confirm(run_of):
    run = run_of("weights_exponents")
    assert "prediction of the final loss: NOT_CONFIRMED" in summary_of(run, "stability")


@pytest.mark.slow
def test_twins_part_at_the_large_learning_rate_only_and_all_learn(run_of):
    run = run_of("trajectories_iris")
    ratios = []
    for compare in (None, 0, 1):
        distances = run.lens(0, "stability", compare)["orbital_mean_distance"].values
        ratios.append(distances[-1] / distances[0])
        assert run.path(0, compare=compare).observed["accuracy"][-1] > 0.9
    assert ratios[0] < 10
    assert ratios[1] < 100
    assert ratios[2] > 1e6
    assert np.any(np.diff(run.path(0, compare=1).losses) > 0)


@pytest.mark.slow
def test_the_flow_keeps_what_descent_leaves(run_of):
    run = run_of("intrinsic_laws")
    flow, descent, batches = (run.path(0, compare=k).observed["balancedness"] for k in (None, 0, 1))
    moved = [float(np.abs(rows - rows[0]).max()) for rows in (flow, descent, batches)]
    assert moved[0] < 1e-9
    assert min(moved[1:]) > 1e-4
    assert "PROVED" in summary_of(run, "conservation")
    assert "reduced flow" in summary_of(run, "conservation")
    assert float(run.lens(0, "conservation")["reduced_error"].max()) < 1e-6


@pytest.mark.slow
def test_wider_networks_are_nearer_to_the_reduced_flow(run_of):
    distances = run_of("symmetries_odd").lens(0, "symmetry")["width_distance"].values
    assert len(distances) == 3
    assert np.all(np.diff(distances) < 0)
    assert distances[-1] < 0.5 * distances[0]


@pytest.mark.slow
def test_one_neuron_is_followed_to_ten_digits_and_has_no_formula(run_of):
    run = run_of("integrability_narrow")
    assert run.path(0).accuracy.global_error <= 1e-10
    assert "NON_INTEGRABLE" in summary_of(run, "integrability")
    assert run.lens(0, "integrability")["map_group"].shape == (3, 2)


@pytest.mark.slow
def test_fluctuations_are_those_of_the_theory_and_no_equilibrium(run_of):
    run = run_of("fluctuations_sgd")
    said = summary_of(run, "fluctuations")
    assert "variance predicted by multiplicative within" in said
    share = float(said.split("multiplicative within ")[1].split("%")[0])
    assert share <= 5
    assert "detailed balance broken" in said
    variances = np.linalg.eigvalsh(run.lens(0, "fluctuations")["theory_covariance"].values)
    assert variances.max() > 2 * variances.min()


@pytest.mark.slow
def test_what_learned_a_rotation_blows_up(run_of):
    run = run_of("instabilities_rotation")
    assert run.path(0).losses[-1] < 1e-25
    said = summary_of(run, "simulators")
    assert "2 of 12 input directions carry energy" in said
    assert "unstable" in said


@pytest.mark.slow
def test_predictions_on_familiar_states_are_accepted(run_of):
    run = run_of("graph_predictions_epidemic")
    accepted = float(summary_of(run, "simulators").partition("%")[0])
    assert 88 <= accepted <= 100
    assert run.path(0).losses[-1] < 0.2 * run.path(0).losses[0]


@pytest.mark.slow
def test_quickstart_and_the_population_study_run_with_every_lens(run_of):
    run = run_of("quickstart")
    assert {line.lens for line in run.lenses()} == {"stability", "conservation", "saddles", "integrability"}
    assert all(run.path(member).accuracy.certified for member in run.members)
    sharpness = run.path(0, compare=1).observed["sharpness"]
    assert sharpness.max() > 2 / 0.6
    population = run_of("teacher_student_population")
    alignment = population.lens(0, "symmetry")["alignment"].values
    (plus_before, minus_before), (plus, minus) = alignment[[0, -1], 1]  # mean sin² of the angle to the plane
    assert plus < 0.2 * plus_before
    assert minus > minus_before
