"""Runs all measurements of photographs on clips, method by method."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from speak_jax.common.progress import Progress
from speak_jax.evaluation.metric_table import MetricTable
from speak_jax.evaluation.photographs import (
  cross_driven,
  emotions,
  self_driven,
  speed,
)
from speak_jax.evaluation.photographs.clips import Clip
from speak_jax.evaluation.photographs.emotions import Named
from speak_jax.evaluation.photographs.judges import Judges, Seen
from speak_jax.evaluation.photographs.methods import Method, TexturedMesh
from speak_jax.evaluation.photographs.self_driven import Truth
from speak_jax.evaluation.photographs.speed import Speed

STATIC, TRUTH = "static first frame", "ground truth"
SHOWN, CELL_PX, EACH = 8, 128, 6  # clips of the sheet, px, frames of each


class Measured(NamedTuple):
  """All that was measured; tables are by the name of a method or reference."""

  self_driven: dict[str, MetricTable]
  cross_driven: dict[str, MetricTable]
  emotions: dict[str, MetricTable]
  named: dict[str, list[Named]]  # of each photograph
  speed: dict[str, Speed]
  silence: dict[str, float]
  sheet: np.ndarray


def measure(
  methods: Sequence[Method], clips: Sequence[Clip], judges: Judges
) -> Measured:
  """Measures methods beside a still first frame and the truth.

  Args:
    methods: The first of them is on the sheet. They have made nothing yet.
    clips: Two or more.
    judges: Who looks at frames.
  """
  speeds = {x.name: speed.speed(x, clips[0]) for x in methods}
  sound = np.concatenate([clip.speech for clip in clips[:SHOWN]])
  quiet = {
    x.name: speed.silence(x.model, sound)
    for x in methods
    if isinstance(x, TexturedMesh)
  }
  with Progress("look at clips", "clip", len(clips)) as progress:
    truths = []
    for i, clip in enumerate(clips):
      seen = judges.see(clip.frames, clip.track.mesh)
      truths.append(self_driven.truth_of(clip, seen))
      progress.update(i + 1)
  own, cells = _self_driven(methods, truths, judges)
  unmoved, moved, named = _emotions(methods, clips, judges)
  return Measured(
    self_driven=own,
    cross_driven=_cross_driven(methods, truths, judges),
    emotions={**moved, STATIC: unmoved} if moved else {},
    named=named,
    speed=speeds,
    silence=quiet,
    sheet=np.concatenate(cells),
  )


def _self_driven(
  methods: Sequence[Method], truths: Sequence[Truth], judges: Judges
) -> tuple[dict[str, MetricTable], list[np.ndarray]]:
  """Metrics of each method and of the references, and the sheet's rows."""
  names = [*(method.name for method in methods), STATIC, TRUTH]
  tables = {name: MetricTable() for name in names}
  cells = []
  with Progress("self-driven", "clip", len(truths)) as progress:
    for i, truth in enumerate(truths):
      clip = truth.clip
      neighbour = truths[(i + 1) % len(truths)].clip
      still = truth.seen.still(len(clip.frames))
      rows: list[tuple[str, Seen]] = [(STATIC, still), (TRUTH, truth.seen)]
      for method in methods:
        made, other = (
          judges.see(
            np.stack([*method.frames(clip, one.speech, clip)]),
            identity=one is clip,
          )
          for one in (clip, neighbour)
        )
        self_driven.add(tables[method.name], truth, made, other)
        rows.append((method.name, made))
        if i < SHOWN and method is methods[0]:
          cells += [_strip(clip.frames), _strip(made.frames)]
      self_driven.add(tables[STATIC], truth, still, still)
      self_driven.add_beside_truth(tables[TRUTH], truth, truth.seen)
      if judges.sync is not None:
        for name, seen in rows:
          self_driven.add_sync(
            tables[name], truth, seen, judges.sync, neighbour.speech
          )
      progress.update(i + 1)
  return tables, cells


def _cross_driven(
  methods: Sequence[Method], truths: Sequence[Truth], judges: Judges
) -> dict[str, MetricTable]:
  """Photographs that other people's heads move."""
  tables = {
    name: MetricTable() for name in [*(x.name for x in methods), STATIC]
  }
  with Progress("cross-driven", "clip", len(truths)) as progress:
    for i, one in enumerate(truths):
      driver = truths[cross_driven.driver_of(i, len(truths))]
      for method in methods:
        frames = method.frames(one.clip, driver.clip.speech, driver.clip)
        made = judges.see(np.stack([*frames]))
        cross_driven.add(
          tables[method.name], one.clip, one.seen, made, driver.seen
        )
      still = one.seen.still(len(driver.seen.frames))
      cross_driven.add(tables[STATIC], one.clip, one.seen, still, driver.seen)
      progress.update(i + 1)
  return tables


def _emotions(
  methods: Sequence[Method], clips: Sequence[Clip], judges: Judges
) -> tuple[MetricTable, dict[str, MetricTable], dict[str, list[Named]]]:
  """Emotions by name: of the photographs as they are, and of each method."""
  unmoved = MetricTable()
  tables: dict[str, MetricTable] = {}
  named: dict[str, list[Named]] = {}
  for method in methods:
    if not method.takes_emotions:
      continue
    unmoved, tables[method.name] = MetricTable(), MetricTable()
    named[method.name] = []
    with Progress(f"emotions of {method.name}", "clip", len(clips)) as progress:
      for i, clip in enumerate(clips):
        seen = emotions.named(method, clip, judges)
        emotions.add(tables[method.name], unmoved, seen)
        named[method.name].append(seen)
        progress.update(i + 1)
  return unmoved, tables, named


def _strip(frames: np.ndarray) -> np.ndarray:
  """Some frames of a clip side by side, cut to squares."""
  chosen = np.linspace(0, len(frames) - 1, EACH).round().astype(int)
  side = min(frames.shape[1:3])
  top, left = (x - side for x in frames.shape[1:3])
  squares = frames[
    chosen, top // 4 : top // 4 + side, left // 2 : left // 2 + side
  ]
  cell = (CELL_PX, CELL_PX)
  return np.concatenate(
    [cv2.resize(x, cell, interpolation=cv2.INTER_AREA) for x in squares], 1
  )
