"""Which samples a step sees: functions of a key and the step number, so that any step can be replayed."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray


class Draw(eqx.Module):
    """A function n → indices (B,) of the samples of step n, which `StepMap` takes as its aux.

    A loop over consecutive steps may keep a memory from step to step: `prepare(n)`, then at each step
    `renew` and `pick`. The memory is a function of the key and n too, and only saves work.
    """

    samples: eqx.AbstractVar[int]

    @abc.abstractmethod
    def __call__(self, n: Int[Array, ""]) -> Int[Array, " B"]:
        """Indices of the samples of step n."""

    def prepare(self, n: Int[Array, ""]) -> Any:
        """The memory before step n."""
        return None

    def renew(self, memory: Any, n: Int[Array, ""]) -> Any:
        """The memory at step n, from that at step n − 1 (or at n)."""
        return memory

    def pick(self, memory: Any, n: Int[Array, ""]) -> Int[Array, " B"]:
        """Indices of the samples of step n, with the memory at step n."""
        return self(n)


class InOrder(Draw):
    """One sample at each step, n mod N."""

    samples: int = eqx.field(static=True)

    def __call__(self, n: Int[Array, ""]) -> Int[Array, " 1"]:
        """n mod N."""
        return (n % self.samples)[None]


class FreshBatch(Draw):
    """At each step a batch drawn afresh, uniformly, from (key, n)."""

    samples: int = eqx.field(static=True)
    key: PRNGKeyArray
    batch_size: int = eqx.field(static=True)
    replace: bool = eqx.field(static=True)

    def __call__(self, n: Int[Array, ""]) -> Int[Array, " B"]:
        """`batch_size` indices, distinct unless `replace`."""
        key = jax.random.fold_in(self.key, n)
        if self.replace:
            return _below(key, jnp.full((self.batch_size,), self.samples, jnp.int32))
        # A shuffle costs the data set, Floyd's sampling the square of the batch with a factor of about 1/130.
        if self.batch_size**2 > 130 * self.samples:
            return _shuffled(key, self.samples)[: self.batch_size]
        return _distinct(key, self.samples, self.batch_size)


def _below(key: PRNGKeyArray, bounds: Int[Array, " B"]) -> Int[Array, " B"]:
    """Uniform integers 0 ≤ i < bound, to a bias of 2⁻⁵² of the bound; `randint` would draw bits twice."""
    return (jax.random.uniform(key, bounds.shape) * bounds.astype(jnp.float64)).astype(jnp.int32)


def _distinct(key: PRNGKeyArray, samples: int, batch_size: int) -> Int[Array, " B"]:
    """A uniform set of distinct indices by Floyd's algorithm.

    For j = N − B … N − 1 draw t ≤ j; take t, or j if t has been taken.

    Source: J. Bentley and R. Floyd, Programming pearls: a sample of brilliance, Comm. ACM 30 (1987) 754.
    """
    first = samples - batch_size
    highest = jnp.arange(first, samples, dtype=jnp.int32)
    tries = _below(key, highest + 1)

    def take(place, chosen):
        taken = jnp.any(chosen == tries[place])
        return chosen.at[place].set(jnp.where(taken, highest[place], tries[place]))

    return jax.lax.fori_loop(0, batch_size, take, jnp.full((batch_size,), -1, jnp.int32))


def _shuffled(key: PRNGKeyArray, samples: int) -> Int[Array, " N"]:
    """A random order of all samples: sorted 64-bit numbers, high bits random, low bits the sample.

    One sort of plain integers is 10 times faster than `jax.random.permutation` (on CPU, N = 1797). Two
    samples with equal random bits, of which there are more than 40 for any data set in memory, stay in
    order.
    """
    low = jnp.asarray((1 << max(samples - 1, 1).bit_length()) - 1, jnp.uint64)
    numbers = jnp.arange(samples, dtype=jnp.uint64)
    mixed = (jax.random.bits(key, (samples,), jnp.uint64) & ~low) | numbers
    return (jnp.sort(mixed) & low).astype(jnp.int32)


class PassBatch(Draw):
    """Batches that walk through reshuffled passes, each a permutation from (key, pass number).

    Steps cut the endless sequence of passes into batches of equal size. Where the batch size does not
    divide N, a
    batch may hold the end of one pass and the beginning of the next: every sample counts the same in every
        pass.
    """

    samples: int = eqx.field(static=True)
    key: PRNGKeyArray
    batch_size: int = eqx.field(static=True)

    def __call__(self, n: Int[Array, ""]) -> Int[Array, " B"]:
        """Indices of the places n·B … n·B + B − 1 of the sequence."""
        return self.pick(self.prepare(n), n)

    def prepare(self, n: Int[Array, ""]) -> Int[Array, " orders"]:
        """The orders of the pass in which step n begins and, unless B divides N, of the next one."""
        number = self._begin(n) // self.samples
        passes = 1 if self.samples % self.batch_size == 0 else 2
        orders = [self._order(number + later) for later in range(passes)]
        return jnp.concatenate(orders)

    def renew(self, memory: Int[Array, " orders"], n: Int[Array, ""]) -> Int[Array, " orders"]:
        """New orders where step n begins in another pass than step n − 1."""
        return jax.lax.cond(self._enters_pass(n), lambda step: self.prepare(step), lambda _: memory, n)

    def pick(self, memory: Int[Array, " orders"], n: Int[Array, ""]) -> Int[Array, " B"]:
        """The places of step n in its passes."""
        place = self._begin(n) % self.samples
        return jax.lax.dynamic_slice(memory, (place,), (self.batch_size,))

    def _begin(self, n: Int[Array, ""]) -> Int[Array, ""]:
        # int64, since the number of samples seen overflows int32 in long runs.
        return jnp.asarray(n).astype(jnp.int64) * self.batch_size

    def _enters_pass(self, n: Int[Array, ""]) -> Bool[Array, ""]:
        return self._begin(n) % self.samples < self.batch_size

    def _order(self, number: Int[Array, ""]) -> Int[Array, " N"]:
        return _shuffled(jax.random.fold_in(self.key, number.astype(jnp.uint32)), self.samples)
