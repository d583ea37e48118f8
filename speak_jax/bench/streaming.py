"""A photograph that talks while it hears: how soon its frames come."""

import time
from collections.abc import Iterator

import numpy as np

import speak_jax
from speak_jax import spec
from speak_jax.bench import inputs
from speak_jax.bench.figure import Figure
from speak_jax.bench.plan import Plan
from speak_jax.common import packaged

PIECE_S = 0.04  # of sound: as much as a frame shows


def figures(plan: Plan) -> Iterator[Figure]:
  """Sound comes in pieces first, and then all at once; nothing is encoded."""
  model = speak_jax.load()
  with model.stream(packaged.PORTRAIT, size=plan.sizes[0]) as stream:
    ahead = stream.look_ahead  # and what is compiled is
  for size in plan.sizes:
    begin = time.perf_counter()
    with model.stream(packaged.PORTRAIT, size=size) as stream:
      opened = time.perf_counter() - begin
      ms = 1000 * np.array(_waits(stream, plan.seconds))
    with model.stream(packaged.PORTRAIT, size=size) as stream:
      each = _each(stream, plan.seconds)
    where = f"{size} px"
    yield Figure(f"opening, {where}", "ms", (1000 * opened,), "picture read")
    behind = f"behind its sound, {where}"
    yield Figure(f"first frame {behind}", "ms", (float(ms[0]),))
    yield Figure(f"a frame {behind}, median", "ms", (float(np.median(ms)),))
    most = float(np.quantile(ms, 0.95))
    yield Figure(f"a frame {behind}, 95 %", "ms", (most,))
    yield Figure(f"a frame, all sound there, {where}", "ms", (1000 * each,))
  yield Figure("look-ahead", "s", (ahead,), "sound heard behind a frame")


def _waits(stream: speak_jax.Stream, seconds: float) -> list[float]:
  """Seconds to each frame from the piece that it has waited for."""
  voice, piece = inputs.speech(seconds), round(PIECE_S * spec.SAMPLE_RATE_HZ)
  waits = []
  for i in range(0, len(voice), piece):
    begin = time.perf_counter()
    stream.push(voice[i : i + piece], spec.SAMPLE_RATE_HZ)
    waits += [time.perf_counter() - begin for _ in stream.ready()]
  return waits


def _each(stream: speak_jax.Stream, seconds: float) -> float:
  """Seconds a frame in the mean."""
  begin = time.perf_counter()
  stream.push(inputs.speech(seconds), spec.SAMPLE_RATE_HZ)
  stream.end()
  count = sum(1 for _ in stream.ready())
  return (time.perf_counter() - begin) / count
