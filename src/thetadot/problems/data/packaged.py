"""Real data sets that come with scikit-learn: no download."""

import functools

import numpy as np

from thetadot.problems.data.dataset import Dataset, one_column, split_indices, standardised


@functools.cache
def _loaded(name: str):
    from sklearn import datasets

    return getattr(datasets, f"load_{name}")(**({"scaled": False} if name == "diabetes" else {}))


def _packaged(name: str, title: str, standardise: bool, split: str, regression: bool) -> Dataset:
    bunch = _loaded(name)
    x = np.asarray(bunch.data, dtype=np.float64)
    y = one_column(np.asarray(bunch.target, np.float64)) if regression else np.asarray(bunch.target, np.int64)
    rows = split_indices(split, y)
    if standardise:
        x = standardised(x)[0]
        y = standardised(y)[0] if regression else y
    details = {"columns": tuple(map(str, bunch.feature_names)), "standardised": standardise}
    if not regression:
        details["classes"] = tuple(map(str, bunch.target_names))
    return Dataset(x[rows], y[rows], name=title, split=split, details=details)


def digits(standardise: bool = True, split: str = "all") -> Dataset:
    """Hand-written digits: 1797 images of 8 × 8 pixels, flattened to x (N, 64); classes y (N,) 0 … 9.

    Three pixels (0, 32 and 39) are blank in every image; standardised, they are 0 everywhere.

    Arguments:
        standardise: give every pixel mean 0 and variance 1. The statistics are those of the whole set,
            whatever the split.
        split: "all" (1797), or one of the two fixed parts "train" and "test": every fifth sample of each
            class is a test sample.

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI (1998); test part, as
        packaged by scikit-learn.

    Example:
        >>> digits().shapes
        ((1797, 64), (1797,))
    """
    return _packaged("digits", "digits", standardise, split, regression=False)


def iris(standardise: bool = True, split: str = "all") -> Dataset:
    """Iris flowers: x (N, 4) lengths in cm, classes y (N,) 0 … 2; 150 samples, 120 train and 30 test.

    Arguments:
        standardise: give every column mean 0 and variance 1 over the whole set, whatever the split.
        split: "all", "train" or "test" (every fifth sample of each class).

    Source: R. A. Fisher, Annals of Eugenics 7 (1936) 179; as packaged by scikit-learn.

    Example:
        >>> iris(standardise=False, split="train").N
        120
    """
    return _packaged("iris", "iris", standardise, split, regression=False)


def breast_cancer(standardise: bool = True, split: str = "all") -> Dataset:
    """Breast cancer, Wisconsin: x (569, 30) features of cell nuclei, classes y (N,): 0 malignant, 1 benign.

    Arguments:
        standardise: give every column mean 0 and variance 1 over the whole set, whatever the split.
        split: "all", "train" or "test" (every fifth sample of each class).

    Source: W. Street, W. Wolberg, O. Mangasarian, SPIE 1905 (1993) 861; as packaged by scikit-learn.

    Example:
        >>> breast_cancer().shapes
        ((569, 30), (569,))
    """
    return _packaged("breast_cancer", "breast cancer", standardise, split, regression=False)


def diabetes(standardise: bool = True, split: str = "all") -> Dataset:
    """Diabetes progression: x (442, 10) measurements, y (N, 1) the progression after a year.

    Arguments:
        standardise: give every column of x, and y, mean 0 and variance 1 over the whole set, whatever the
            split.
        split: "all", "train" or "test" (every fifth sample).

    Source: B. Efron, T. Hastie, I. Johnstone, R. Tibshirani, Annals of Statistics 32 (2004) 407; as
        packaged by scikit-learn, in the original units unless standardised.

    Example:
        >>> diabetes().shapes
        ((442, 10), (442, 1))
    """
    return _packaged("diabetes", "diabetes", standardise, split, regression=True)
