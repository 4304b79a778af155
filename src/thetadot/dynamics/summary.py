"""A path on one screen: as text, and as a small table with a picture for notebooks."""

import html
import textwrap

import numpy as np

from thetadot.dynamics.path import Path
from thetadot.dynamics.wording import count, duration, number

_SHOWN = 4
_WIDTH = 100


def path_summary(path: Path) -> str:
    """What was run, how it ended, how accurate it is and what it cost, in lines of at most 100 signs."""
    lines = textwrap.wrap(title(path), _WIDTH, subsequent_indent="  ")
    for name, text in summary_rows(path):
        lines += textwrap.wrap(
            text, _WIDTH, initial_indent=f"  {name:<11} ", subsequent_indent=" " * 14, break_on_hyphens=False
        )
    return "\n".join(lines)


def title(path: Path) -> str:
    """The kind of run, its problem and its method in one line."""
    kind = {"flow": "flow", "descent": "descent", "integrate": "path"}.get(str(path.info.get("kind")), "path")
    problem = path.info.get("problem")
    method = path.info.get("method")
    return f"Path: {kind}" + (f" of {problem}" if problem else "") + (f", by {method}" if method else "")


def summary_rows(path: Path) -> list[tuple[str, str]]:
    """(name, text) of every line of the summary."""
    saves, size = path.thetas.shape
    rows = [
        ("outcome", f"{path.outcome.name}: {path.reason or path.outcome.value}"),
        ("time", _span(path.ts) + f" in {count(path.stats.accepted, 'step')}, {count(saves, 'row')} saved"),
    ]
    if path.degenerate:
        rows.append(("minimum", "degenerate: the Hessian has zero eigenvalues there"))
    if np.isfinite(path.losses).any():
        rows += [("loss", _span(path.losses)), ("‖∇L‖", _span(path.grad_norms))]
    if path.polished is not None:
        end = path.polished
        rows.append(("polished", f"loss {number(end.loss)}, ‖∇L‖ {number(end.grad_norm)}; {end.note}"))
    rows.append(("accuracy", str(path.accuracy)))
    rows += [(name, _observed(np.asarray(values))) for name, values in list(path.observed.items())[:_SHOWN]]
    if len(path.observed) > _SHOWN:
        rows.append(("observed", "and " + ", ".join(list(path.observed)[_SHOWN:])))
    if path.events:
        rows.append(("events", _events(path)))
    rows += [("cost", cost(path)), ("parameters", _parameters(path, size))]
    if path.info.get("normalisation"):
        rows.append(("units", str(path.info["normalisation"])))
    if path.info.get("time_scale", 1.0) != 1.0:
        rows.append(("time scale", f"{number(path.info['time_scale'])}: θ̇ = −time_scale·∇L"))
    return rows


def cost(path: Path) -> str:
    """What the run cost, with the solvers that worked."""
    stats = path.stats
    parts = [count(stats.gradients, "gradient")]
    if stats.hessian_vector_products:
        parts.append(count(stats.hessian_vector_products, "Hessian-vector product"))
    if stats.hessians:
        parts.append(count(stats.hessians, "Hessian"))
    if stats.rejected:
        parts.append(count(stats.rejected, "rejected step"))
    text = ", ".join(parts) + f", {duration(stats.seconds)}"
    if stats.solvers:
        first, *switches = stats.solvers
        text += f"; {first[1]}" + "".join(f", from t = {number(t)} {name}" for t, name in switches[:_SHOWN])
        text += f" and {count(len(switches) - _SHOWN, 'more switch', 'more switches')}" * (
            len(switches) > _SHOWN
        )
    return text


def path_html(path: Path) -> str:
    """The summary as a small table with a sparkline of the loss, for notebooks, light or dark."""
    rows = "".join(
        f'<tr><th scope="row" style="text-align:left;vertical-align:top;padding:1px 12px 1px 0">'
        f'{html.escape(name)}</th><td style="text-align:left;padding:1px 0">{html.escape(text)}</td></tr>'
        for name, text in summary_rows(path)
    )
    return (
        f'<div style="max-width:56em"><strong>{html.escape(title(path))}</strong>{sparkline(path)}'
        f'<table style="border-collapse:collapse;margin:0">{rows}</table></div>'
    )


def sparkline(path: Path, width: int = 260, height: int = 44) -> str:
    """The loss against time, both on logarithmic axes, as an inline SVG in the colour of the text; empty if
    fewer than two points can be drawn."""
    drawn = np.isfinite(path.losses) & (path.losses > 0) & np.isfinite(path.ts) & (path.ts > 0)
    if drawn.sum() < 2:
        return ""
    across, up = np.log10(path.ts[drawn]), np.log10(path.losses[drawn])
    x = 2 + (width - 4) * (across - across[0]) / max(across[-1] - across[0], 1e-12)
    y = 2 + (height - 4) * (up.max() - up) / max(float(np.ptp(up)), 1e-12)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    label = f"loss against time, both logarithmic: {_span(path.losses)}"
    return (
        f'<svg role="img" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'style="display:block;margin:4px 0"><title>{html.escape(label)}</title>'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/></svg>'
    )


def _span(values: np.ndarray) -> str:
    return f"{number(values[0])} → {number(values[-1])}" if len(values) else "nothing saved"


def _observed(values: np.ndarray) -> str:
    if values.ndim == 1:
        return _span(values)
    return "array (" + ", ".join(map(str, ("saves", *values.shape[1:]))) + ")"


def _events(path: Path) -> str:
    shown = ", ".join(f"{event.name} at t = {number(event.time)}" for event in path.events[:_SHOWN])
    more = len(path.events) - _SHOWN
    return f"{len(path.events)}: {shown}" + (f" and {more} more" if more > 0 else "")


def _parameters(path: Path, size: int) -> str:
    if path.layout is None:
        return f"{size:,} entries of the state"
    parts = [f"{name} {'×'.join(map(str, shape)) or 'scalar'}" for name, shape in path.layout.shapes.items()]
    shown = ", ".join(parts[:_SHOWN]) + (f" and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else "")
    return f"{size:,}: {shown}"
