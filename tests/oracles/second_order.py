"""Second-order equations y'' = r y whose differential Galois groups are textbook facts."""

import sympy

x = sympy.Symbol("x")
_R = sympy.Rational


def bessel(order):
    """y'' = ((ν² − ¼)/x² − 1) y; Liouvillian exactly for half-odd ν."""
    return (sympy.sympify(order) ** 2 - _R(1, 4)) / x**2 - 1


def reduced(p, q):
    """r of y'' + p y' + q y = 0, by sympy alone."""
    return sympy.cancel(sympy.diff(p, x) / 2 + p**2 / 4 - q)


def hypergeometric(first, second, third):
    """r with regular singular points 0, 1, ∞ and these exponent differences."""
    first, second, third = map(_R, (first, second, third))
    return (
        (first**2 - 1) / (4 * x**2)
        + (second**2 - 1) / (4 * (x - 1) ** 2)
        + (1 - first**2 - second**2 + third**2) / (4 * x * (x - 1))
    )


_LAME = 4 * x**3 - 4 * x
GROUPS = {
    "Airy": (x, "SL2"),
    **{f"Bessel {n}": (bessel(_R(n)), "TORUS") for n in ("1/2", "3/2", "5/2")},
    **{f"Bessel {n}": (bessel(_R(n)), "SL2") for n in ("0", "1/3")},
    **{f"Weber {c}": (x**2 + c, "BOREL") for c in (1, 3, -5, 41, 401)},
    **{f"Weber {c}": (x**2 + c, "SL2") for c in (2, 402)},
    "quartic with a solution": (x**4 + 2 * x, "BOREL"),
    "quartic": (x**4, "SL2"),
    "Kovacic's dihedral": (1 / x - _R(3, 16) / x**2, "DIHEDRAL"),
    "Kovacic's reducible": (
        (4 * x**6 - 8 * x**5 + 12 * x**4 + 4 * x**3 + 7 * x**2 - 20 * x + 4) / (4 * x**4),
        "BOREL",
    ),
    "icosahedral": (hypergeometric("1/2", "1/3", "1/5"), "ICOSAHEDRAL"),
    "octahedral": (hypergeometric("1/2", "1/3", "1/4"), "OCTAHEDRAL"),
    "tetrahedral": (hypergeometric("2/3", "1/3", "1/3"), "TETRAHEDRAL"),
    "triangle group (2,3,7)": (hypergeometric("1/2", "1/3", "1/7"), "SL2"),
    "modular": (hypergeometric(0, 0, 0), "SL2"),
    "reducible hypergeometric": (hypergeometric("1/3", "1/3", "1/3"), "BOREL"),
    "dihedral hypergeometric": (hypergeometric("1/2", "1/2", "1/7"), "DIHEDRAL"),
    "Legendre 2": (reduced(-2 * x / (1 - x**2), 6 / (1 - x**2)), "UNIPOTENT"),
    "Legendre 1/2": (reduced(-2 * x / (1 - x**2), _R(3, 4) / (1 - x**2)), "SL2"),
    "Mathieu": (reduced((1 - 2 * x) / (2 * x * (1 - x)), (3 - 4 * x) / (4 * x * (1 - x))), "SL2"),
    "Lamé": (reduced(sympy.diff(_LAME, x) / (2 * _LAME), -2 * x / _LAME), "BOREL"),
    "Whittaker (1, 1/2)": (_R(1, 4) - 1 / x, "BOREL"),
    "Whittaker (0, 0)": (_R(1, 4) - _R(1, 4) / x**2, "SL2"),
    "free": (sympy.S.Zero, "TORUS"),
    "exponential": (sympy.S.One, "TORUS"),
    "exponential, irrational rate": (sympy.Integer(2), "TORUS"),
    "Euler": (2 / x**2, "TORUS"),
}
"""{name: (r, group)}, cases 1 to 13 of the specification."""

NOT_ABELIAN = ("quartic with a solution", "Whittaker (1, 1/2)", "Kovacic's reducible")
NOT_ABELIAN += tuple(f"Weber {c}" for c in (1, 3, -5, 41, 401))
"""Their solution exp ∫u is no radical."""
