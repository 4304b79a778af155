"""What a measure works with: full or quick sizes, set-ups shared between claims, progress."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Made = TypeVar("Made")


class Workbench:
    """Handed to every measure of one reproduction.

    Attributes:
        quick: whether the reduced sizes are wanted.
    """

    def __init__(self, quick: bool = False, say: Callable[[str], None] | None = None):
        self.quick = quick
        self._say = say
        self._made: dict[Hashable, tuple[Any, BaseException | None]] = {}

    def choose(self, *, full: Made, quick: Made) -> Made:
        """The full or the quick variant of a size, list or setting."""
        return quick if self.quick else full

    def shared(self, setup: Callable[..., Made], *arguments: Hashable) -> Made:
        """setup(workbench, *arguments), run once in this reproduction however many claims ask for it.

        A set-up that raised raises the same again for every claim that rests on it, without running twice.

        Example:
            >>> runs = []
            >>> def expensive(workbench, size):
            ...     runs.append(size)
            ...     return size**2
            >>> workbench = Workbench()
            >>> workbench.shared(expensive, 3) + workbench.shared(expensive, 3), runs
            (18, [3])
        """
        key = (setup, arguments)
        if key not in self._made:
            try:
                self._made[key] = (setup(self, *arguments), None)
            except Exception as error:
                self._made[key] = (None, error)
        made, error = self._made[key]
        if error is not None:
            raise error
        return made

    def say(self, message: str) -> None:
        """Tell the reader what is being worked on."""
        if self._say is not None:
            self._say(message)
