"""Pictures and sound in, video out: trained weights with their functions."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from einops import rearrange, repeat
from jaxtyping import Array, Float, UInt8

from speak_jax import bundle as bundles
from speak_jax import spec
from speak_jax.inference.functions import Functions, Variables, deserialize
from speak_jax.inference.settings import Settings, settings_from_json
from speak_jax.inference.windows import cut_poses, cut_sound, drive, frames_of


class Synthesizer:
  """Weights and functions together: pictures and sound in, video out.

  Every function is compiled once: batches have one size, the last is padded.
  """

  def __init__(
    self,
    functions: Functions,
    variables: Variables,
    settings: Settings,
    *,
    windows: int = 8,
    neutral: Float[np.ndarray, "e"] | None = None,
  ):
    """Puts the weights on the device.

    Args:
      functions: Of `lowering.functions_of`, or `deserialize`.
      variables: Weights by group, "encoders" and "speak".
      settings: Sizes of the functions' inputs.
      windows: Windows made at a time, the batch size of every function.
      neutral: Emotion code of a neutral face, where the model knows one.

    Raises:
      ValueError: `settings.heard` is no multiple of `settings.frames`.
    """
    if settings.heard % settings.frames:
      raise ValueError(
        f"a stretch of {settings.heard} frames is no multiple of"
        f" {settings.frames}"
      )
    self.settings = settings
    self.windows = windows
    self.neutral = neutral
    self.variables = jax.device_put(dict(variables))
    self._portrait = jax.jit(functions.portrait)
    self._pose = jax.jit(functions.pose)
    self._emotion = jax.jit(functions.emotion)

    def speech(variables, audio, level):
      rows, each = len(audio), settings.heard // settings.frames
      level = repeat(level, "l -> b l", b=rows)
      codes = functions.speech(variables, audio, level)
      shape = rows * each, codes.shape[1] // each, *codes.shape[2:]
      return codes.reshape(shape)  # window by window

    def frames(variables, portrait, pose, emotion, speech):
      n = pose.shape[0]  # one portrait and one emotion serve all windows
      portrait, emotion = jax.tree.map(
        lambda x: repeat(x, "1 ... -> n ...", n=n), (portrait, emotion)
      )
      return functions.frames(variables, portrait, pose, emotion, speech)

    self._speech = jax.jit(speech)
    self._frames = jax.jit(frames)

  @classmethod
  def from_run(
    cls, path: str | Path, *, step: int | None = None, **kwargs: Any
  ) -> "Synthesizer":
    """Loads the EMA weights of a training run's last stage.

    Args:
      path: The run's folder.
      step: Which checkpoint, verified before; None: the newest good one.
      **kwargs: Passed to the constructor.

    Raises:
      ValueError: No such run, or its stage `speak` has no checkpoint yet or
        one of another version of the code.
    """
    # Here alone: networks and orbax are slow to import; a bundle needs none.
    from speak_jax.inference import lowering
    from speak_jax.nn import precision
    from speak_jax.stages.init import networks
    from speak_jax.training import run_config, weights

    config = precision.for_inference(run_config.read(path))
    variables = weights.of_stage(path, config, "speak", step)
    settings = lowering.settings_of(config)
    functions = lowering.functions_of(networks(config), settings)
    return cls(functions, variables, settings, **kwargs)

  @classmethod
  def from_bundle(
    cls,
    path: str | Path,
    *,
    content: bundles.Bundle | None = None,
    **kwargs: Any,
  ) -> "Synthesizer":
    """Loads an exported bundle; none of the networks' code is needed.

    Args:
      path: The bundle's folder.
      content: What it holds, if it was read before; None: it is read now.
      **kwargs: Passed to the constructor.

    Raises:
      BundleError: The bundle is damaged, or of a newer jax; one line.
    """
    bundle = bundles.read(path) if content is None else content
    try:
      functions = deserialize(bundle.artifacts, bundle.written_by)
    except ValueError as error:
      raise bundles.BundleError(path, str(error)) from error
    neutral = bundle.config.get("neutral")  # bundles have it since 0.2
    return cls(
      functions,
      bundle.variables,
      settings_from_json(bundle.config["settings"]),
      neutral=None if neutral is None else np.array(neutral, np.float32),
      **kwargs,
    )

  def portrait(
    self,
    frame: UInt8[np.ndarray, "h w 3"],
    landmarks: Float[np.ndarray, "68 2"],
  ) -> Any:
    """Encodes the identity picture, once for all windows (batch axis 1).

    Args:
      frame: A square crop of the model's size.
      landmarks: Its 68 points, px of the crop.
    """
    return self._portrait(
      self.variables,
      frame[None],
      np.asarray(landmarks, np.float32)[None],
    )

  def pose(
    self, frames: UInt8[np.ndarray, "n h w 3"]
  ) -> Float[np.ndarray, "n p"]:
    """Encodes the head pose of every frame."""
    return self._batched(self._pose, frames)

  def poses(
    self, frames: Iterable[UInt8[np.ndarray, "h w 3"] | None]
  ) -> Iterator[Float[np.ndarray, "p"] | None]:
    """Encodes poses of frames as they come; None where there is no frame."""
    frames = iter(frames)
    while batch := list(itertools.islice(frames, self.windows)):
      pictures = [frame for frame in batch if frame is not None]
      codes = iter(self.pose(np.stack(pictures)) if pictures else ())
      for frame in batch:
        yield None if frame is None else next(codes)

  def emotion(
    self, faces: UInt8[np.ndarray, "k f f 3"]
  ) -> Float[np.ndarray, "k e"]:
    """Encodes the emotion of every face, each of `settings.emotion` px."""
    return self._batched(self._emotion, faces)

  def stream(
    self,
    portrait: Any,
    pose: Iterable[Float[np.ndarray, "p"]],
    emotion: Float[np.ndarray, "e"],
    audio: spec.Samples,
  ) -> Iterator[UInt8[np.ndarray, "k h w 3"]]:
    """Yields the video piece by piece, a few windows of frames at a time.

    Poses are taken, and sound is cut, for these few windows alone. Sound is
    normalised by its level as a whole, and its speech encoded a stretch of
    `settings.heard` frames at a time, each heard with what lies around it.

    Args:
      portrait: From `portrait`.
      pose: One code for each of the n frames to make.
      emotion: One code for the whole video.
      audio: 16 kHz; frame i hears the sound round i / fps.
    """
    emotion = np.asarray(emotion, np.float32)[None]
    pose, frames = iter(pose), self.windows * self.settings.frames
    speech, pending = self._heard(audio), None
    while codes := list(itertools.islice(pose, frames)):
      poses = cut_poses(np.stack(codes), self.settings)
      drawn = self._frames(
        self.variables,
        portrait,
        _pad(poses, self.windows),
        emotion,
        np.stack(list(itertools.islice(speech, self.windows))),
      )
      # One batch ahead: the device works while the last one is fetched.
      if pending is not None:
        yield self._fetch(*pending)
      pending = drawn, len(codes)
    if pending is not None:
      yield self._fetch(*pending)

  def video(
    self,
    portrait_frame: UInt8[np.ndarray, "h w 3"],
    landmarks: Float[np.ndarray, "68 2"],
    pose_frames: UInt8[np.ndarray, "m h w 3"],
    emotion_faces: UInt8[np.ndarray, "k f f 3"],
    audio: spec.Samples,
    *,
    smooth: bool = True,
  ) -> UInt8[np.ndarray, "n h w 3"]:
    """Makes a talking head of n = round(seconds of sound x fps) frames.

    Source: SPEAK (arXiv 2405.07257), inference: identity, pose and emotion
    from three donors, lips from the sound. ours: pose codes are smoothed over
    three frames and looped back and forth.

    Args:
      portrait_frame: The identity, a square crop of the model's size.
      landmarks: Its 68 points in crop pixels.
      pose_frames: Crops of the pose donor, at the model's frame rate.
      emotion_faces: Pictures of the emotion donor, of `settings.emotion` px;
        their codes are averaged.
      audio: 16 kHz mono.
      smooth: Whether to smooth the pose.

    Raises:
      ValueError: Less than half a frame of sound.
    """
    pieces = self.stream(
      self.portrait(portrait_frame, landmarks),
      drive(self.pose(pose_frames), self.length(audio), smooth=smooth),
      self.emotion(emotion_faces).mean(0),
      audio,
    )
    return np.concatenate(list(pieces))

  def length(self, audio: spec.Samples) -> int:
    """Counts the frames of a 16 kHz sound: round(seconds x fps).

    Raises:
      ValueError: It is too short for one.
    """
    return frames_of(audio, self.settings.fps)

  def _heard(self, audio: spec.Samples) -> Iterator[np.ndarray]:
    """Yields the speech codes of each window, of silence after the last."""
    each = self.settings.heard // self.settings.frames
    rows = -(-self.windows // each)  # stretches at a time
    level = spec.sound_level(audio)
    pending = None
    for first in itertools.count(0, rows):
      sounds = cut_sound(audio, first, rows, self.settings)
      codes = self._speech(self.variables, sounds, level)
      # One batch ahead: the device works while frames before it are drawn.
      if pending is not None:
        yield from np.asarray(pending)
      pending = codes

  def _batched(self, function: Callable, pictures: np.ndarray) -> np.ndarray:
    """Encodes pictures in batches of one size."""
    codes = []
    for start in range(0, len(pictures), self.windows):
      batch = pictures[start : start + self.windows]
      padded = function(self.variables, _pad(batch, self.windows))
      codes.append(np.asarray(padded)[: len(batch)])
    return np.concatenate(codes)

  def _fetch(
    self, windows: UInt8[Array, "b t h w 3"], n: int
  ) -> UInt8[np.ndarray, "n h w 3"]:
    """Brings windows to the host as n consecutive frames, without padding."""
    return rearrange(np.asarray(windows), "b t h w c -> (b t) h w c")[:n]


def _pad(x: np.ndarray, size: int) -> np.ndarray:
  """Repeats the last row until there are `size` rows."""
  return np.pad(x, [(0, size - len(x))] + [(0, 0)] * (x.ndim - 1), mode="edge")
