"""A sketch of the network, drawn from the names and shapes of its parameters."""

import itertools
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

from thetadot.problems import Layout

_MOST_CIRCLES = 7
_COLUMN, _ROW, _RADIUS, _HEIGHT = 118, 22, 7, 190


def network_sketch(layout: Layout | None) -> Markup:
    """An inline SVG of the network: columns of neurons for fully connected chains, boxes for other layers;
    empty if nothing is known. It is drawn in the page's colours and has a title that says the same in
    words."""
    if layout is None or not layout.shapes:
        return Markup("")
    widths = chain_widths(layout.shapes)
    return _circles(widths, layout) if widths else _boxes(layout.shapes)


def chain_widths(shapes: Mapping[str, Sequence[int]]) -> list[int]:
    """Widths of the layers, input first, if all weights are matrices (out, in) that fit one after the other;
    else empty."""
    weights = [tuple(shape) for name, shape in shapes.items() if name.rpartition(".")[2] == "weight"]
    others = [shape for name, shape in shapes.items() if name.rpartition(".")[2] not in ("weight", "bias")]
    if not weights or others or any(len(shape) != 2 for shape in weights):
        return []
    if any(before[0] != after[1] for before, after in itertools.pairwise(weights)):
        return []
    return [weights[0][1], *(shape[0] for shape in weights)]


def _circles(widths: Sequence[int], layout: Layout) -> Markup:
    width = _COLUMN * (len(widths) - 1) + 2 * 46
    columns = [_heights(amount) for amount in widths]
    parts = []
    for number, (left, right) in enumerate(itertools.pairwise(columns)):
        x = 46 + _COLUMN * number
        lines = "".join(
            f'<line x1="{x + _RADIUS}" y1="{a:g}" x2="{x + _COLUMN - _RADIUS}" y2="{b:g}"/>'
            for a in left
            for b in right
        )
        parts.append(f'<g class="edge">{lines}</g>')
    for number, (amount, heights) in enumerate(zip(widths, columns, strict=True)):
        x = 46 + _COLUMN * number
        circles = "".join(f'<circle cx="{x}" cy="{y:g}" r="{_RADIUS}"/>' for y in heights)
        parts.append(f'<g class="{"unit" if 0 < number < len(widths) - 1 else "port"}">{circles}</g>')
        if amount > _MOST_CIRCLES:
            middle = sum(heights) / len(heights)
            parts.append(f'<text x="{x}" y="{middle + 4:g}" class="dots">⋮</text>')
        role = "input" if number == 0 else "output" if number == len(widths) - 1 else f"hidden {number}"
        parts.append(f'<text x="{x}" y="{_HEIGHT - 22}" class="strong">{amount:,}</text>')
        parts.append(f'<text x="{x}" y="{_HEIGHT - 6}">{role}</text>')
    words = f"Network: {' to '.join(map(str, widths))} neurons, {layout.size:,} parameters"
    return _svg(width, _HEIGHT, words, "".join(parts))


def _heights(amount: int) -> list[float]:
    """Heights of the circles of a column, with a gap in the middle if not all are drawn."""
    middle = (_HEIGHT - 44) / 2 + 2
    if amount <= _MOST_CIRCLES:
        return [middle + _ROW * (k - (amount - 1) / 2) for k in range(amount)]
    half = _MOST_CIRCLES // 2
    return [middle + _ROW * k for k in (*range(-half, 0), *range(1, half + 1))]


def _boxes(shapes: Mapping[str, Sequence[int]]) -> Markup:
    layers: dict[str, list[str]] = {}
    for name, shape in shapes.items():
        layer, _, role = name.rpartition(".")
        layers.setdefault(layer or name, []).append(f"{role} {'×'.join(map(str, shape)) or 'scalar'}")
    shown = list(layers.items())[:8]
    rows = []
    for number, (layer, parts) in enumerate(shown):
        y = 8 + 44 * number
        if number:
            rows.append(f'<line class="link" x1="170" y1="{y - 8}" x2="170" y2="{y}"/>')
        rows.append(f'<rect x="20" y="{y}" width="300" height="36" rx="6" class="box"/>')
        rows.append(f'<text x="170" y="{y + 15}" class="strong">{escape(layer)}</text>')
        rows.append(f'<text x="170" y="{y + 30}">{escape(", ".join(parts)[:52])}</text>')
    height = 8 + 44 * len(shown)
    if len(layers) > len(shown):
        height += 20
        rows.append(f'<text x="170" y="{height - 8}">and {len(layers) - len(shown)} more layers</text>')
    return _svg(340, height, f"Network of {len(layers)} layers: {', '.join(list(layers)[:8])}", "".join(rows))


def _svg(width: int, height: int, words: str, content: str) -> Markup:
    return Markup(
        f'<svg class="sketch" role="img" viewBox="0 0 {width} {height}" style="max-width:{width}px">'
        f"<title>{escape(words)}</title>{content}</svg>"
    )
