"""What to cite for a run: this program, and the methods that computed it, as BibTeX."""

from collections.abc import Sequence

from thetadot import __version__
from thetadot.report.series import Series

_METHODS = {
    "Tsit5": """@article{tsitouras2011,
  author = {Tsitouras, Ch.},
  title = {Runge--Kutta pairs of order 5(4) satisfying only the first column simplifying assumption},
  journal = {Computers \\& Mathematics with Applications},
  volume = {62}, number = {2}, pages = {770--775}, year = {2011}
}""",
    "Dopri8": """@article{princedormand1981,
  author = {Prince, P. J. and Dormand, J. R.},
  title = {High order embedded Runge--Kutta formulae},
  journal = {Journal of Computational and Applied Mathematics},
  volume = {7}, number = {1}, pages = {67--75}, year = {1981}
}""",
    "Kvaerno5": """@article{kvaerno2004,
  author = {Kv{\\ae}rn{\\o}, A.},
  title = {Singly diagonally implicit Runge--Kutta methods with an explicit first stage},
  journal = {BIT Numerical Mathematics}, volume = {44}, number = {3}, pages = {489--502}, year = {2004}
}""",
}
_DIFFRAX = """@phdthesis{kidger2021,
  author = {Kidger, Patrick},
  title = {On Neural Differential Equations}, school = {University of Oxford}, year = {2021}
}"""
_EDGE = """@inproceedings{cohen2021,
  author = {Cohen, Jeremy and Kaur, Simran and Li, Yuanzhi and Kolter, J. Zico and Talwalkar, Ameet},
  title = {Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability},
  booktitle = {International Conference on Learning Representations}, year = {2021}
}"""


def own_citation() -> str:
    """BibTeX of this version of thetadot."""
    return f"""@software{{thetadot,
  author = {{The thetadot developers}},
  title = {{thetadot: the training of neural networks as a dynamical system}},
  version = {{{__version__}}}
}}"""


def citations(series: Sequence[Series], sharpness: bool = False) -> str:
    """BibTeX of thetadot and of the methods that computed these paths.

    Arguments:
        series: the paths.
        sharpness: whether the report speaks of the edge of stability.
    """
    names = " ".join(name for item in series for _, name in item.path.stats.solvers).lower()
    used = [entry for name, entry in _METHODS.items() if name.lower() in names]
    return "\n\n".join(
        [own_citation(), *used, *([_DIFFRAX] if used else []), *([_EDGE] if sharpness else [])]
    )
