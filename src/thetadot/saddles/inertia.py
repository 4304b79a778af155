"""How many eigenvalues of a symmetric matrix lie below a bound, without computing them."""

import numpy as np
from jaxtyping import Float
from scipy.linalg import get_lapack_funcs


def count_below(matrix: Float[np.ndarray, "n n"], bound: float) -> int:
    """Number of eigenvalues below `bound`: the negative ones of D in M − bound·1 = LDLᵀ (Sylvester), at n³/3 products.

    Example:
        >>> count_below(np.diag([-1.0, 0.0, 2.0]), -0.5), count_below(np.diag([-1.0, 0.0, 2.0]), 0.5)
        (1, 2)
    """
    size = len(matrix)
    shifted = matrix - bound * np.eye(size)
    factorise, room = get_lapack_funcs(("sytrf", "sytrf_lwork"), (shifted,))
    factors, pivots, _ = factorise(shifted, lwork=int(room(size)[0]), overwrite_a=True)
    diagonal, beside = np.diagonal(factors), np.diagonal(factors, 1)
    count, row = 0, 0
    while row < size:
        if pivots[row] > 0:
            count += bool(diagonal[row] < 0)
            row += 1
            continue
        # A block of two rows: one negative eigenvalue if the determinant is, else both have the sign of the diagonal.
        determinant = diagonal[row] * diagonal[row + 1] - beside[row] ** 2
        count += 1 if determinant < 0 else 2 * bool(diagonal[row] < 0)
        row += 2
    return count
