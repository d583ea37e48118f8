"""The paper's method: frames that the bundle `reference` draws."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import speak_jax
from data_pipelines.synthetic import demo_inputs
from speak_jax import spec
from speak_jax.bench.figure import Figure
from speak_jax.bench.inputs import NOISE
from speak_jax.bench.plan import Plan
from speak_jax.common import packaged
from speak_jax.inference.model import WINDOWS
from speak_jax.inference.synthesizer import Synthesizer

PX = 256  # longer side of the video


def figures(plan: Plan) -> Iterator[Figure]:
  """Frames alone, one window at a time and several; then from file to file."""
  for windows in (1, WINDOWS):
    made = Synthesizer.from_bundle(packaged.REFERENCE, windows=windows)
    frames = windows * made.settings.frames * plan.windows
    inputs = _inputs(made, frames)
    made.video(*inputs)
    begin = time.perf_counter()
    made.video(*inputs)
    rate = frames / (time.perf_counter() - begin)
    size, each = made.settings.image, made.settings.frames
    name = f"frames alone, {size} px, {windows} x {each} frames"
    yield Figure(name, "frames/s", (rate,), "codes included")
  model = speak_jax.load("reference")
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    demo_inputs.draw_inputs(folder, 0)
    request = speak_jax.Request(
      identity=folder / "identity.png",
      audio=folder / "speech.wav",
      pose=folder / "pose.mp4",
      emotion=folder / "emotion.mp4",
      size=PX,
    )
    for _ in range(2):  # the first compiles
      begin = time.perf_counter()
      done = model.write(
        request, folder / "out.mp4", say=lambda line: None, bar=False
      )
      seconds = time.perf_counter() - begin
    note = "faces of four files tracked, watermark, mp4 and manifest too"
    rate = done.frames / seconds
    yield Figure(f"files to file, {PX} px", "frames/s", (rate,), note)


def _inputs(made: Synthesizer, frames: int) -> tuple[np.ndarray, ...]:
  """Noise, as `Synthesizer.video` takes it."""
  rng = np.random.default_rng(0)
  settings = made.settings
  size, face = settings.image, settings.emotion
  samples = round(frames * spec.samples_per_frame(settings.fps))
  return (
    rng.integers(0, 256, (size, size, 3), np.uint8),
    rng.uniform(0, size, (68, 2)),
    rng.integers(0, 256, (frames, size, size, 3), np.uint8),
    rng.integers(0, 256, (8, face, face, 3), np.uint8),
    rng.integers(-NOISE, NOISE, samples, np.int16),
  )
