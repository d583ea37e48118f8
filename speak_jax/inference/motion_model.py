"""Sound, lids and an emotion to how a face's points move, frame by frame."""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Float32, Int16

from data_pipelines.synthetic.motion import ByFrame
from speak_jax import bundle as bundles
from speak_jax import spec
from speak_jax.inference.functions import called
from speak_jax.inference.windows import cut_sound, frames_of

CALM = np.zeros(len(spec.EMOTIONS), np.float32)


class MotionSettings(NamedTuple):
  """What the function expects of its inputs."""

  frames: int  # of a stretch
  context: int  # frames of sound heard on each side of it
  fps: float

  @property
  def heard(self) -> int:
    """Frames that are made at once."""
    return self.frames

  @property
  def samples(self) -> int:
    """Samples of sound that are heard for these, context included."""
    span = self.frames + 2 * self.context
    return round(span * spec.samples_per_frame(self.fps))


class MotionModel:
  """Trained weights with their function."""

  def __init__(
    self,
    expression: Callable,
    variables: Mapping[str, Any],
    settings: MotionSettings,
  ):
    """Puts the weights on the device.

    Args:
      expression: From `motion_lowering.expression_of`, or a bundle.
      variables: Weights, its first argument.
      settings: Sizes of its inputs.
    """
    self.settings = settings
    self._variables = jax.device_put(dict(variables))
    self._expression = jax.jit(expression)

  @classmethod
  def from_run(
    cls, path: str | Path, *, step: int | None = None
  ) -> "MotionModel":
    """Loads the EMA weights of a training run's stage `motion`.

    Raises:
      ValueError: no such run, or its stage has no checkpoint yet.
    """
    # Here alone: networks and orbax are slow to import; a bundle needs none.
    from speak_jax.inference import motion_lowering as lowering
    from speak_jax.nn import precision
    from speak_jax.training import run_config, weights

    config = precision.for_inference(run_config.read(path))
    variables = weights.of_stage(path, config, "motion", step)
    settings = lowering.settings_of(config)
    return cls(lowering.expression_of(config), variables, settings)

  @classmethod
  def from_bundle(
    cls, path: str | Path, *, content: bundles.Bundle | None = None
  ) -> "MotionModel":
    """Loads an exported bundle; none of the network's code is needed.

    Args:
      path: The bundle's folder.
      content: What it holds, if it was read before; None: it is read now.

    Raises:
      BundleError: it is damaged, of a newer jax, or moves no photographs.
    """
    bundle = bundles.read(path) if content is None else content
    if not bundle.moves_photographs:
      raise bundles.BundleError(path, "draws frames and moves no photographs")
    try:
      expression = called(bundle.artifacts, bundle.written_by)["expression"]
    except ValueError as error:
      raise bundles.BundleError(path, str(error)) from error
    return cls(
      expression,
      bundle.variables,
      MotionSettings(**bundle.config["settings"]),
    )

  def length(self, audio: spec.Samples) -> int:
    """Counts the frames of a 16 kHz sound: round(seconds x fps).

    Raises:
      ValueError: it is too short for one.
    """
    return frames_of(audio, self.settings.fps)

  @functools.cached_property
  def shut(self) -> Float[np.ndarray, "468 3"]:
    """How points of shut lids lie beside those of open ones, canonical."""
    return self._in_silence(1.0, CALM) - self._silent

  @functools.cached_property
  def _silent(self) -> Float32[np.ndarray, "468 3"]:
    """How points lie in silence, lids open and calm."""
    return self._in_silence(0.0, CALM)

  @functools.cached_property
  def _emotions(self) -> Float32[np.ndarray, "8 468 3"]:
    """What each emotion adds at full strength."""
    moods = np.eye(len(spec.EMOTIONS), dtype=np.float32)
    shown = [self._in_silence(0.0, mood) for mood in moods]
    return np.stack(shown) - self._silent

  def _in_silence(
    self, lids: float, emotion: Float[np.ndarray, "8"]
  ) -> Float32[np.ndarray, "468 3"]:
    """How points lie where nothing is heard."""
    nothing = np.zeros(self.settings.samples, np.int16)
    return next(iter(self.stream(nothing, [lids], emotion)))

  def stream(
    self,
    audio: spec.Samples,
    lids: Iterable[float],
    emotion: Float[np.ndarray, "8"] | ByFrame,
    mouth: float = 1.0,
  ) -> Iterator[Float[np.ndarray, "468 3"]]:
    """Yields how the points lie beside the face at rest, frame by frame.

    Args:
      audio: 16 kHz; frame i hears the sound round i / fps.
      lids: Of each of the n frames to make: 0 as at rest, 1 shut. Taken a
        stretch ahead.
      emotion: Strength of each of `spec.EMOTIONS`, 0 to 1; of all frames, or
        what gives those of frames by their indices.
      mouth: How far speech moves the points away from where silence has them,
        over how far the network moves them.

    Yields:
      Canonical offsets (`data_pipelines.faces.canonical`).
    """
    lids, each = iter(lids), self.settings.frames
    for number in itertools.count():
      closed = list(itertools.islice(lids, each))
      if not closed:
        return
      start, n = number * each, len(closed)
      sound = cut_sound(audio, number, 1, self.settings)
      if isinstance(emotion, np.ndarray):
        shown = emotion
      else:
        shown = emotion(np.arange(start, start + n))
      yield from self.stretch(sound, closed, shown, mouth)

  def stretch(
    self,
    sound: Int16[np.ndarray, "1 a"],
    lids: Sequence[float],
    emotion: Float[np.ndarray, "8"] | Float[np.ndarray, "n 8"],
    mouth: float = 1.0,
  ) -> Float32[np.ndarray, "n 468 3"]:
    """Makes the first n frames of a stretch; see `stream`.

    Args:
      sound: Of the stretch, as `cut_sound` cuts it.
      lids: Of each of the n frames.
      emotion: Of all of them, or of each.
      mouth: As for `stream`.
    """
    shown = emotion if emotion.ndim == 1 else emotion[0]
    points = self._points(sound, lids, shown)
    # Speech, lids and emotion add up: what differs from this is added.
    if emotion.ndim == 2:
      points += np.tensordot(emotion - shown, self._emotions, 1)
    if mouth != 1:
      said = self._points(sound, [0.0] * len(lids), CALM)
      points += (mouth - 1) * (said - self._silent)
    return points

  def _points(
    self,
    sound: Int16[np.ndarray, "1 a"],
    lids: Sequence[float],
    emotion: Float[np.ndarray, "8"],
  ) -> Float32[np.ndarray, "n 468 3"]:
    """Makes a stretch of n frames at most."""
    padded = np.zeros((1, self.settings.frames), np.float32)
    padded[0, : len(lids)] = lids
    points = self._expression(
      self._variables, sound, padded, np.asarray(emotion, np.float32)[None]
    )
    return np.array(points)[0, : len(lids)]
