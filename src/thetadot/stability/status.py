"""How far a set of exponents may be believed."""

import enum


class SpectrumStatus(enum.Enum):
    """The worst that can be said of a spectrum; the value is a sentence for summaries."""

    DIVERGED = "the state stopped being finite; what came before is kept"
    UNRESOLVED = "trailing exponents lie below rounding in single steps whose tangent is not singular"
    SUPERSTABLE = "a step's tangent is singular: some exponents are −∞"
    FINITE_TIME = "the averages have not settled over this window"
    CONVERGED = "the averages have settled"
