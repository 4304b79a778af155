"""Work beside a page's event loop, always for what was asked last."""

import asyncio
import functools
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from bokeh.document import Document

Asked = TypeVar("Asked")
Found = TypeVar("Found")


class Latest(Generic[Asked, Found]):
    """Computes in a thread, one question at a time, and passes over those that a later one has replaced.

    Arguments:
        document: of the page.
        compute: answers a question; runs in a thread.
        show: called with question and answer in the page's own turn.
        rest: seconds for which a question must stay the last before it is worked on.
    """

    def __init__(
        self,
        document: Document,
        compute: Callable[[Asked], Found],
        show: Callable[[Asked, Found], Any],
        rest: float = 0.0,
    ):
        self._document, self._compute, self._show, self._rest = document, compute, show, rest
        self._wanted: Asked | None = None
        self._task: asyncio.Task[None] | None = None
        document.on_session_destroyed(self._close)

    def ask(self, question: Asked) -> None:
        """Answer this question as soon as may be."""
        self._wanted = question
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._work())

    async def _work(self) -> None:
        while self._wanted is not None:
            question = self._wanted
            if self._rest:
                await asyncio.sleep(self._rest)
                if self._wanted is not question:
                    continue
            found = await asyncio.to_thread(self._compute, question)
            if self._wanted is None:
                return
            self._document.add_next_tick_callback(functools.partial(self._show, question, found))
            if self._wanted is question:
                self._wanted = None

    def _close(self, _: object) -> None:
        """The visitor is gone."""
        self._wanted = None
