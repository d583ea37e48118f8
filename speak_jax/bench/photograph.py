"""A photograph that talks: from files to a file."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import speak_jax
from speak_jax.bench import inputs
from speak_jax.bench.figure import Figure
from speak_jax.bench.plan import Plan
from speak_jax.common import packaged
from speak_jax.inference.take import Result


def figures(plan: Plan) -> Iterator[Figure]:
  """Reads, moves, marks, encodes and signs; the second video of each size.

  The first has shorter speech and compiles what is compiled.
  """
  model = speak_jax.load()
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    voice = folder / "voice.wav"
    inputs.voice(voice, plan.seconds)
    for size in plan.sizes:

      def write(sound: Path, size: int = size) -> Result:
        request = speak_jax.Request(
          identity=packaged.PORTRAIT, audio=sound, size=size
        )
        return model.write(
          request, folder / "out.mp4", say=lambda line: None, bar=False
        )

      write(packaged.SENTENCE)
      begin = time.perf_counter()
      made = write(voice)
      took = time.perf_counter() - begin
      note = f"{made.seconds:g} s of sound; watermark, mp4 and manifest too"
      yield Figure(
        f"files to file, {size} px", "frames/s", (made.frames / took,), note
      )
