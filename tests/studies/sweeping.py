"""A small sweep, and what its tests ask of it."""

import numpy as np

from thetadot.studies import Study

TEXT = """\
name: rates
problem:
  kind: empirical
  network: {kind: linear, widths: [3, 2, 1]}
  data: {kind: teacher_student, samples: 12, seed: 0}
  loss: squared
init: {scale: 0.5, seed: 3, members: 3}
rule: {kind: minibatch, learning_rate: 0.05, batch_size: 4, steps: 200, seed: 1}
compare:
- {kind: gradient_descent, learning_rate: 0.05, steps: 50}
sweep:
  rule.learning_rate: [0.05, 1.0e+6]
  init.scale: [0.5, 1.0]
"""


def study(tmp_path, *settings, text=TEXT):
    """The small sweep, from a file, with settings."""
    file = tmp_path / "rates.yaml"
    file.write_text(text)
    return Study.load(file, set=settings)


def bits(run):
    """Everything that a run computed: {array: bytes}."""
    return member_bits(run, 0)


def member_bits(run, member):
    """The same of one member of a run that has several."""
    found = {}
    for compare in (None, *run.compared):
        name = "0/path" if compare is None else f"0/compare/{compare}"
        path = run.path(member, compare)
        for array in ("ts", "thetas", "losses", "grad_norms", "steps"):
            found[name, array] = getattr(path, array).tobytes()
        found[name, "outcome"] = path.outcome, path.stats.gradients, path.stats.accepted
    return found


def assert_all_once(sweep, whole):
    """Every task of a sweep is done, and has the bits of the same task of another."""
    assert sweep.states() == ["done"] * len(sweep)
    twins = {task.name: index for index, task in enumerate(whole.plan.tasks)}
    for index, task in enumerate(sweep.plan.tasks):
        assert bits(sweep.run(index)) == bits(whole.run(twins[task.name])), sweep.plan.title(task)
    table = sweep.table
    np.testing.assert_array_equal(table.loss.values, whole.table.loss.sel(table.loss.coords).values)
