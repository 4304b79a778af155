"""Why one may believe a path: its stated accuracy, and what it cost."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """The accuracy of a path, all numbers relative and dimensionless.

    Attributes:
        target: the wanted global error of θ along the path (None where none was asked).
        global_error: estimate of max over save times of ‖θ − θ*‖/‖θ*‖ from a second run at a tighter
            tolerance; None if the run was not certified.
        energy_defect: |L(0) − L(T) − time_scale·∫‖∇L‖²dt| / (L(0) − L(T)); NaN where there is no loss.
        rtol: the local tolerance of the run that is returned (NaN for maps).
        note: one sentence that says what the estimate rests on.
        expectation_error: largest bound over the rows on the error of a population risk's own expectations, absolute;
            None for other problems.
        expectation_tolerance: the tolerance that the problem was given for it.
    """

    target: float | None
    global_error: float | None
    energy_defect: float
    rtol: float
    note: str = ""
    expectation_error: float | None = None
    expectation_tolerance: float | None = None

    @property
    def certified(self) -> bool:
        """Whether a second run measured the global error."""
        return self.global_error is not None

    @property
    def missed(self) -> bool:
        """Whether a measured error exceeds what was asked; such a path is flagged everywhere."""
        return self._drifted or self._beyond

    @property
    def _drifted(self) -> bool:
        return (
            self.global_error is not None and self.target is not None and not self.global_error <= self.target
        )

    @property
    def _beyond(self) -> bool:
        asked = self.expectation_tolerance
        return (
            self.expectation_error is not None and asked is not None and not self.expectation_error <= asked
        )

    def __str__(self) -> str:
        if self.global_error is None:
            text = self.note or f"accuracy not certified, rtol = {self.rtol:.1e}"
        else:
            verdict = "MISSED" if self._drifted else "met"
            target = "" if self.target is None else f", asked {self.target:.1e}: {verdict}"
            text = f"global error {self.global_error:.1e}{target}"
        if self.energy_defect == self.energy_defect:
            text += f"; energy defect {self.energy_defect:.1e}"
        if self.expectation_error is not None:
            verdict = "MISSED" if self._beyond else "met"
            asked = f", asked {self.expectation_tolerance:.1e}: {verdict}"
            text += f"; expectations within {self.expectation_error:.1e}{asked}"
        return text


@dataclasses.dataclass(frozen=True)
class Stats:
    """What a run cost. All fields count the returned run and, if it was certified, its second runs.

    Attributes:
        gradients: evaluations of the vector field (with the loss).
        hessian_vector_products, hessians: second-order evaluations, by their kind.
        accepted, rejected: steps.
        seconds: wall-clock time, compilation included.
        solvers: (time, name) of the first solver and of each switch.
    """

    gradients: int = 0
    hessian_vector_products: int = 0
    hessians: int = 0
    accepted: int = 0
    rejected: int = 0
    seconds: float = 0.0
    solvers: tuple[tuple[float, str], ...] = ()

    def __add__(self, other: "Stats") -> "Stats":
        """Add the counts of `other`; the solvers stay those of `self`."""
        return Stats(
            self.gradients + other.gradients,
            self.hessian_vector_products + other.hessian_vector_products,
            self.hessians + other.hessians,
            self.accepted + other.accepted,
            self.rejected + other.rejected,
            self.seconds + other.seconds,
            self.solvers,
        )
