"""The judge from nothing to its file: rendered, trained, scored, written."""

import json
import time
from pathlib import Path
from typing import Any

from speak_jax.common import files
from speak_jax.models import judge as models
from speak_jax.tools.train_judge.faces import FRAMINGS, Render, collect, render
from speak_jax.tools.train_judge.learning import centre, train
from speak_jax.tools.train_judge.scoring import score

RENDER_SHARE = 0.2  # of the time goes into rendering
HELD_OUT = 384  # frames of each framing


def make(
  out: Path,
  minutes: float,
  seed: int,
  renderer: Render = render,
  frames: int | None = None,
  steps: int | None = None,
) -> dict[str, Any]:
  """Renders, learns, scores; writes the weights and the JSON beside them.

  Args:
    out: Path of the weights.
    minutes: Time for rendering and learning together.
    seed: Seed of people, draws and initial weights.
    renderer: Gives the faces; held-out ones have seeds of their own.
    frames: Renders so many frames instead of by time.
    steps: Learns so many steps instead of by time.

  Returns:
    What the JSON holds: a score for each framing and for all.
  """
  start = time.monotonic()
  held = {
    framing: renderer(10_000_000 + seed * 100 + i, HELD_OUT, framing)
    for i, framing in enumerate(FRAMINGS)
  }
  budget = 60 * minutes - (time.monotonic() - start)
  faces = collect(renderer, 1000 * seed, RENDER_SHARE * budget, frames)
  left = 60 * minutes - (time.monotonic() - start)
  params = centre(train(faces, seed, left, steps), faces)
  out.parent.mkdir(parents=True, exist_ok=True)
  models.save(params, out)
  params = models.load(out)  # what is scored is what is shipped
  report = {
    "what": "the judge on held-out rendered frames, chance: emotion 0.125",
    "seed": seed,
    "minutes": round((time.monotonic() - start) / 60, 2),
    "frames": len(faces.frames),
    "people": int(faces.identity.max()) + 1,
  }
  for framing, part in held.items():
    figures = score(params, part)
    report[framing] = {k: round(v, 4) for k, v in figures.items()}
  text = json.dumps(report, indent=2) + "\n"
  files.write(out.with_suffix(".json"), text)
  return report
