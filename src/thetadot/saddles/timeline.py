"""When the loss of a predicted walk falls through the means between its visits, kept as gaps."""

from collections.abc import Sequence

import numpy as np

from thetadot.saddles.jumps import Segment


class Timeline:
    """Waits on plateaus and segments of jumps, one after another."""

    def __init__(self):
        self._pieces: list[tuple[float, Segment | None]] = []

    def wait(self, duration: float) -> None:
        """Stand still on a plateau."""
        self._pieces.append((duration, None))

    def follow(self, segment: Segment) -> None:
        """Go along a segment, whole."""
        self._pieces.append((segment.duration, segment))

    def dwells(self, losses: Sequence[float]) -> np.ndarray:
        """Gaps (S,) between successive crossings of the means of neighbours; nan for the last, and what is not reached.

        Gaps are sums over the pieces between two crossings: at times of 10³⁰ a difference of sums would be nothing.
        """
        found = np.full(len(losses), np.nan)
        number, since, offset, spent = 0, 0, 0.0, 0.0
        while number + 1 < len(losses) and since < len(self._pieces):
            duration, segment = self._pieces[since]
            crossing = (
                None if segment is None else segment.crossing(0.5 * (losses[number] + losses[number + 1]))
            )
            if crossing is None:
                since, spent, offset = since + 1, spent + duration - offset, 0.0
            else:
                crossing = max(crossing, offset)
                found[number] = spent + crossing - offset
                number, spent, offset = number + 1, 0.0, crossing
        return found
