"""Addition on a clock: all of its table, in a random order."""

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from thetadot.problems.chain import whole_numbers
from thetadot.problems.checks import known_name
from thetadot.problems.data.dataset import SPLITS, Dataset
from thetadot.problems.errors import DataError


def modular_addition(
    key: PRNGKeyArray, *, modulus: int = 23, train: float = 0.7, split: str = "all"
) -> Dataset:
    """All pairs (a, b) of numbers below the modulus, each number one-hot, labelled with (a + b) mod modulus.

    Arguments:
        key: draws which pairs belong to the train part.
        modulus: p; there are p² pairs and p classes.
        train: share of the pairs in the train part; the others are the test part.
        split: "all", "train" or "test".

    Returns:
        x (N, 2p) of zeros and ones, integer classes y (N,).

    Raises:
        DataError: a share that leaves one of the parts empty.

    Source: A. Power, Y. Burda, H. Edwards, I. Babuschkin, V. Misra, Grokking: generalization beyond overfitting on
        small algorithmic datasets, arXiv 2201.02177, asks for such tables; there the network is a transformer.

    Example:
        >>> import jax
        >>> x, y = modular_addition(jax.random.key(0), modulus=5, split="train")
        >>> x.shape, bool((x.sum(axis=1) == 2).all())
        ((17, 10), True)
    """
    whole_numbers(modulus=modulus)
    known_name(split, SPLITS, "split")
    kept = int(train * modulus**2)
    if not 0 < kept < modulus**2:
        raise DataError(
            f"train is {train}: of {modulus**2} pairs that leaves {kept}, expected a share between 0 and 1"
        )
    order = np.asarray(jax.random.permutation(key, modulus**2))
    rows = np.sort({"all": order, "train": order[:kept], "test": order[kept:]}[split])
    first, second = np.divmod(rows, modulus)
    one_hot = np.eye(modulus)
    x = np.concatenate([one_hot[first], one_hot[second]], axis=1)
    y = ((first + second) % modulus).astype(np.int64)
    return Dataset(
        x, y, name=f"addition modulo {modulus}", split=split, details={"modulus": modulus, "train": train}
    )
