"""The conditions that conftest promises hold, so that the other tests mean what they say."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import TypeCheckError

from thetadot import Until


def test_arrays_are_float64():
    assert jnp.ones(1).dtype == jnp.float64


def test_mixing_precisions_raises():
    with pytest.raises(jax.dtypes.TypePromotionError):
        jnp.ones(2, jnp.float32) + jnp.ones(2, jnp.float64)


def test_mixing_ranks_raises():
    with pytest.raises(ValueError, match="rank_promotion"):
        jnp.ones(3) + jnp.ones((2, 3))


def test_annotations_are_checked_and_an_int_is_a_float():
    assert Until(time=1).time == 1
    with pytest.raises(TypeCheckError):
        Until(time="1")


def test_spawned_processes_share_precision_and_compilation_cache():
    script = "import thetadot, jax; print(jax.config.jax_enable_x64, jax.config.jax_compilation_cache_dir)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", os.environ["JAX_COMPILATION_CACHE_DIR"]]


def test_compilation_counter_counts_a_new_program_once(count_compilations):
    @jax.jit
    def double(x):
        return x + x

    x, y, longer = jnp.arange(3.0), jnp.ones(3), jnp.arange(4.0)
    with count_compilations() as first:
        double(x)
    with count_compilations() as same_shape:
        double(y)
    with count_compilations() as new_shape:
        double(longer)
    assert first.compiled == ["jit(double)"]
    assert same_shape.total == 0
    assert new_shape.traced == ["double"]
