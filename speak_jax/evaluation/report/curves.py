"""Curves of a run's training: read from its files, drawn as small SVGs."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from speak_jax.evaluation.report import markup
from speak_jax.stages.registry import STAGES

_POINTS = 240  # of a curve
_END = 'text-anchor="end"'
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 200, 92, 46, 6, 16
# What tells that training was sound rather than what it learned.
_HEALTH = re.compile(
  r"/(bad|grad_norm|std|spread|lr|skipped|loss_scale)(/|$)"
  r"|^data_wait$|^(data|machine)/"
)


class Curve(NamedTuple):
  """One metric of a stage's training."""

  stage: str
  metric: str
  steps: Sequence[int]
  values: Sequence[float]


def read(run: Path) -> list[Curve]:
  """What RUN/<stage>/metrics.jsonl holds, the stages in their order.

  A step that was trained again after a restart counts once, the last time;
  a line that breaks off, as a killed run leaves it, is passed over.
  """
  curves = []
  for path in sorted(run.glob("*/metrics.jsonl"), key=_stage_order):
    rows = dict(_rows(path))
    names = dict.fromkeys(name for row in rows.values() for name in row)
    for name in names:
      steps = [step for step in sorted(rows) if name in rows[step]]
      values = [rows[step][name] for step in steps]
      curves.append(Curve(path.parent.name, name, steps, values))
  return curves


def html(curves: Sequence[Curve]) -> list[str]:
  """A heading and small pictures for each stage, the health of it folded."""
  parts = []
  for stage in dict.fromkeys(curve.stage for curve in curves):
    own = [curve for curve in curves if curve.stage == stage]
    health = [curve for curve in own if _HEALTH.search(curve.metric)]
    learned = [curve for curve in own if curve not in health]
    parts.append(f"<h3>{markup.name(stage)}</h3>")
    parts.append(f'<div class="curves">{"".join(map(_svg, learned))}</div>')
    if health:
      parts.append(
        "<details><summary>norms of gradients, learning rates, spread of codes,"
        " waiting</summary>"
        f'<div class="curves">{"".join(map(_svg, health))}</div></details>'
      )
  return parts


def _stage_order(path: Path) -> tuple[int, str]:
  order, name = list(STAGES), path.parent.name
  return (order.index(name) if name in order else len(order), name)


def _rows(path: Path) -> Iterable[tuple[int, dict[str, float]]]:
  """(step, values by metric) of every whole line."""
  for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
    try:
      row = json.loads(line)
      step = int(row.pop("step"))
    except (ValueError, KeyError, TypeError, AttributeError):
      continue
    yield (
      step,
      {
        name: float(value)
        for name, value in row.items()
        if isinstance(value, int | float)
      },
    )


def _svg(curve: Curve) -> str:
  steps = np.asarray(curve.steps, float)
  values = np.asarray(curve.values, float)
  known = np.isfinite(values)
  metric = markup.name(curve.metric)
  if not known.any():
    return f"<figure><figcaption>{metric}: no number</figcaption></figure>"
  steps, values = _thin(steps[known]), _thin(values[known])
  low, high = values.min(), values.max()
  x = _scaled(steps, _LEFT, _WIDTH - 6)
  y = _scaled(values, _HEIGHT - _BOTTOM, _TOP)
  if len(x) == 1:  # a dot, where there is no line yet
    x, y = np.array([x[0] - 1, x[0] + 1]), y.repeat(2)
  path = "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))
  base = _HEIGHT - _BOTTOM
  marks = [f'<text x="{_LEFT - 4}" y="{base}" {_END}>{low:.2g}</text>']
  if high > low:
    marks.append(
      f'<text x="{_LEFT - 4}" y="{_TOP + 8}" {_END}>{high:.2g}</text>'
    )
  about = f"{curve.metric}, step {steps[-1]:.0f}: {values[-1]:.4g}"
  return (
    f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
    f' aria-label="{markup.text(about)}"><title>{markup.text(about)}</title>'
    f'<line x1="{_LEFT}" y1="{base}" x2="{_WIDTH - 6}" y2="{base}"/>'
    f'<line x1="{_LEFT}" y1="{_TOP}" x2="{_LEFT}" y2="{base}"/>'
    f'<path d="M{path}"/>{"".join(marks)}'
    f'<text x="{_WIDTH - 6}" y="{_HEIGHT - 4}" {_END}>{steps[-1]:.0f}</text>'
    f"</svg><figcaption>{metric} {values[-1]:.3g}</figcaption>"
    "</figure>"
  )


def _thin(values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "m"]:
  """Means of neighbours, at most _POINTS of them."""
  groups = np.array_split(values, min(len(values), _POINTS))
  return np.array([group.mean() for group in groups])


def _scaled(
  values: Float[np.ndarray, "n"], start: float, stop: float
) -> Float[np.ndarray, "n"]:
  """From the least value at `start` to the largest at `stop`."""
  low, span = values.min(), np.ptp(values)
  share = (values - low) / span if span else np.full(len(values), 0.5)
  return start + share * (stop - start)
