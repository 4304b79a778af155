"""The live viewer: runs as pages in the browser, followed by reading their store."""

from thetadot.errors import ThetadotError
from thetadot.viewer.errors import ViewerError

__all__ = ["ViewerError", "view"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str):
    if name != "view":
        raise AttributeError(f"module 'thetadot.viewer' has no attribute {name!r}")
    try:
        from thetadot.viewer.server import view
    except ModuleNotFoundError as error:
        if error.name != "panel":
            raise
        raise ThetadotError("the viewer needs Panel: pip install 'thetadot[viewer]'") from None
    return view
