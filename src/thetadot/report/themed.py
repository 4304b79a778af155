"""An interactive figure in the reader's theme: its colours are the palette's light ones or their dark twins."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from bokeh.core.property.vectorization import Value
from bokeh.model import Model
from bokeh.models import ColumnDataSource

from thetadot.dynamics.palette import DARK

_LIGHT = {dark: light for light, dark in DARK.items()}


def in_theme(plot: Model, dark: bool) -> None:
    """Swap the palette's colours in all models of a figure, in place; colours of others stay as they are.

    Swapping to a theme twice changes nothing, swapping there and back restores the figure.

    Arguments:
        plot: the figure, or a layout of several.
        dark: which theme.

    Example:
        >>> import numpy as np
        >>> from thetadot.report.chart import Chart, Line
        >>> from thetadot.report.interactive import interactive_figure
        >>> plot = interactive_figure(Chart("", "x", "y", lines=(Line(np.arange(3.0), np.ones(3), ""),)))
        >>> in_theme(plot, dark=True)
        >>> plot.background_fill_color == DARK["#fefefe"]
        True
    """
    twins = DARK if dark else _LIGHT
    for model in plot.references():
        changed = {}
        for name, value in model.properties_with_values(include_defaults=False).items():
            if name.endswith(("color", "palette", "tooltips")):
                swapped = _swapped(value, twins)
                if swapped != value:
                    changed[name] = swapped
        if changed:
            model.update(**changed)
        if isinstance(model, ColumnDataSource):
            _swap_columns(model, twins)


def _swap_columns(source: ColumnDataSource, twins: Mapping[str, str]) -> None:
    """Columns of colours: those of which the name ends in "color"."""
    data: Any = dict(source.data)
    colours = {name: list(column) for name, column in data.items() if name.endswith("color")}
    swapped = {name: _swapped(column, twins) for name, column in colours.items()}
    if swapped != colours:
        source.data = data | swapped


def _swapped(value: Any, twins: Mapping[str, str]) -> Any:
    """The value with its colours swapped, an opacity behind a colour (#rrggbbaa) kept."""
    if isinstance(value, str):
        return re.sub("#[0-9a-f]{6}", lambda found: twins.get(found[0], found[0]), value)
    if isinstance(value, Value):
        return dataclasses.replace(value, value=_swapped(value.value, twins))
    if isinstance(value, (list, tuple)):
        return type(value)(_swapped(part, twins) for part in value)
    return value
