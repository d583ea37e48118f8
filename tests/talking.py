"""Videos out of files, by networks that no bundle holds."""

import functools
import os
from collections.abc import Callable
from typing import Any

from data_pipelines.faces.eyes import EyeReader
from data_pipelines.faces.follow import FaceTracker
from speak_jax.inference import stream, talking_head, talking_photograph
from speak_jax.inference.model import Model
from speak_jax.inference.motion_model import MotionModel
from speak_jax.inference.request import Request
from speak_jax.inference.synthesizer import Synthesizer
from speak_jax.inference.take import Result


def model(network: Synthesizer | MotionModel, tracker: FaceTracker) -> Model:
  """A network as `speak_jax.load` gives one of a bundle."""
  if isinstance(network, MotionModel):
    reads = functools.partial(
      talking_photograph.take, network, eyes=EyeReader()
    )
    streams = functools.partial(stream.of_photograph, network, EyeReader())
    return Model(reads, tracker, streams=streams)
  return Model(functools.partial(talking_head.take, network), tracker)


def generate(
  network: Synthesizer | MotionModel,
  *,
  output: str | os.PathLike,
  tracker: FaceTracker,
  sheet: str | os.PathLike | None = None,
  say: Callable[[str], None] = lambda line: None,
  **fields: Any,
) -> Result:
  """Writes what a request of these fields asks for."""
  request = Request(**fields)
  made = model(network, tracker)
  return made.write(request, output, sheet=sheet, say=say)
