"""Frames from a trained model: latent -> frames -> video, without training.

Goes in: uint8 pictures, int16 sound, weights from a run or a bundle. Comes
out: uint8 frames. Pixels and sound cross the border to the device as integers
and are scaled there, once, inside the functions that a bundle ships.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange, repeat
from flax import traverse_util
from jax import export
from jaxtyping import Array, Float, Int16, UInt8

from speak_jax import bundle as bundles
from speak_jax import spec
from speak_jax.models.audio import WAVE_FRONTS
from speak_jax.models.irfd import IdentityFeatures
from speak_jax.nn import precision
from speak_jax.nn.pixels import as_audio, as_bytes, as_frames
from speak_jax.stages.init import networks

Variables = Mapping[str, Any]  # {"encoders": ..., "speak": ...} for .apply

PLATFORMS = ("cpu", "cuda", "tpu")


class Functions(NamedTuple):
  """The five pure functions of inference; `variables` come first.

  A portrait is a plain tuple of the fields of `models.irfd.IdentityFeatures`: a
  bundle's functions know no class of ours. In bundles of format 1 the speech of
  a window is its sound, and `frames` encodes it.
  """

  portrait: Callable  # (variables, u8 (b h w 3), landmarks (b 68 2)) -> tuple
  pose: Callable  # (variables, u8 (b h w 3)) -> (b p)
  emotion: Callable  # (variables, u8 (b f f 3)) -> (b e)
  speech: Callable  # (variables, audio int16 (b s), level (b 11)) -> (b n a)
  frames: Callable  # (variables, portrait, pose (b t p), emotion (b e),
  #                    speech (b t a)) -> u8 (b t h w 3)


class Framing(NamedTuple):
  """Where the training data's square crops lie round the landmarks.

  Pictures must be cut as those that the model learned from, or heads come out
  larger or smaller than any it has seen. The default is that of
  `faces.align.square`, by which recordings are cut.
  """

  side: float = 1.3  # of the square, over the larger side of a clip's landmarks
  up: float = 0.04  # its centre over that of the landmarks, in sides
  still_side: float = 1.3  # the same for a single picture
  still_up: float = 0.04


class Settings(NamedTuple):
  """What the functions expect of their inputs."""

  image: int  # px, side of a frame
  emotion: int  # px, side of the picture that the emotion encoder sees
  emotion_input: str  # "face": aligned face; "frame": the whole crop
  frames: int  # t, frames of one window
  context: int  # frames of sound heard on each side of a window
  fps: float
  framing: Framing = Framing()
  stretch: int = 0  # frames whose speech is encoded at once; 0: of a window

  @property
  def heard(self) -> int:
    """n, frames whose speech is encoded at once: one window or several."""
    return self.stretch or self.frames

  @property
  def samples(self) -> int:
    """Samples of sound that are heard for these, context included."""
    span = self.heard + 2 * self.context
    return round(span * spec.samples_per_frame(self.fps))


def settings_of(config: Any) -> Settings:
  """Settings out of a run's config."""
  model = config.model
  whole = model.emotion_input == "frame"
  return Settings(
    image=model.image,
    emotion=model.image if whole else model.face,
    emotion_input=model.emotion_input,
    frames=model.frames,
    context=model.context,
    fps=float(config.data.fps),
    # Of the mel front end's codes .2 to .3 of their deviation would change.
    stretch=config.speak.stretch if model.audio.front in WAVE_FRONTS else 0,
  )


def settings_to_json(settings: Settings) -> dict[str, Any]:
  """Plain data for a bundle's config."""
  return {**settings._asdict(), "framing": settings.framing._asdict()}


def settings_from_json(stored: Mapping[str, Any]) -> Settings:
  """The inverse of `settings_to_json`."""
  return Settings(**{**stored, "framing": Framing(**stored["framing"])})


def functions_of(nets: Any, settings: Settings) -> Functions:
  """The pure functions of a set of networks (`models.build.Networks`).

  Encoders and decoder run as at evaluation: no noise, no dropout.
  """
  encoders, speak = nets.encoders, nets.speak

  def portrait(variables, frame, landmarks):
    out = encoders.apply(
      variables["encoders"], as_frames(frame), landmarks, method="portrait"
    )
    return tuple(out)

  def pose(variables, frames):
    return encoders.apply(
      variables["encoders"], as_frames(frames), method="pose"
    )

  def emotion(variables, faces):
    return encoders.apply(
      variables["encoders"], as_frames(faces), method="emotion"
    )

  def speech(variables, audio, level):
    return speak.apply(
      variables["speak"],
      as_audio(audio),
      settings.heard,
      level,
      method="hear",
    )

  def frames(variables, portrait, pose, emotion, speech):
    out = speak.apply(
      variables["speak"],
      IdentityFeatures(*portrait),
      pose,
      emotion,
      speech,
      train=False,
      method="draw",
    )
    return as_bytes(out.frames)

  return Functions(portrait, pose, emotion, speech, frames)


def serialize(
  functions: Functions, variables: Variables, settings: Settings
) -> dict[str, bytes]:
  """StableHLO of every function, for any batch size and every platform.

  Weights stay outside, as the first argument.

  Returns:
    {name in bundle.FUNCTIONS: bytes}.
  """
  (b,) = export.symbolic_shape("b")
  size, face = settings.image, settings.emotion
  weights = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(jnp.shape(x), x.dtype), dict(variables)
  )

  def lower(function, *arguments):
    return export.export(jax.jit(function), platforms=PLATFORMS)(
      weights, *arguments
    )

  def u8(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.uint8)

  landmarks = jax.ShapeDtypeStruct((b, 68, 2), jnp.float32)
  portrait = lower(functions.portrait, u8(b, size, size, 3), landmarks)
  pose = lower(functions.pose, u8(b, size, size, 3))
  emotion = lower(functions.emotion, u8(b, face, face, 3))
  speech = lower(
    functions.speech,
    jax.ShapeDtypeStruct((b, settings.samples), jnp.int16),
    jax.ShapeDtypeStruct((b, spec.LEVEL), jnp.float32),
  )
  pose_code, emotion_code = pose.out_avals[0], emotion.out_avals[0]
  speech_code = speech.out_avals[0]
  frames = lower(
    functions.frames,
    jax.tree.unflatten(portrait.out_tree, map(_struct, portrait.out_avals)),
    jax.ShapeDtypeStruct(
      (b, settings.frames, pose_code.shape[-1]), pose_code.dtype
    ),
    _struct(emotion_code),
    jax.ShapeDtypeStruct(
      (b, settings.frames, *speech_code.shape[2:]), speech_code.dtype
    ),
  )
  lowered = dict(
    portrait=portrait, pose=pose, emotion=emotion, speech=speech, frames=frames
  )
  return {name: bytes(one.serialize()) for name, one in lowered.items()}


def deserialize(artifacts: Mapping[str, bytes]) -> Functions:
  """The functions of `serialize`, callable again on this machine.

  Raises:
    ValueError: this version of jax cannot read them; one line.
  """
  calls: dict[str, Callable] = {}
  for name, blob in artifacts.items():
    try:
      exported = export.deserialize(bytearray(blob))
      exported.mlir_module()  # reads what would else fail at the first call
    except (jax.errors.JaxRuntimeError, ValueError) as error:
      raise ValueError(
        f"{name}: written by another jax than {jax.__version__}, which cannot"
        " read it; use the newer one, or export again"
      ) from error
    calls[name] = exported.call
  return Functions(**({"speech": _as_sound} | calls))


def _as_sound(variables: Any, audio: Array, level: Array) -> Array:
  """The speech of a window where `frames` encodes its sound."""
  del variables, level
  return audio


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
    """Takes what `from_run` and `from_bundle` find; `windows` go at a time.

    `neutral` is the emotion code of a neutral face, where a bundle has it.

    Raises:
      ValueError: a stretch that is not a whole number of windows.
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
  def from_run(cls, path: str | Path, **kwargs: Any) -> "Synthesizer":
    """From a training run: the averaged (EMA) weights of its last stage.

    Raises:
      ValueError: no such run, or its stage `speak` has no checkpoint yet or
        one of another version of the code.
    """
    # Here alone: orbax is slow to import, and a bundle has no use for it.
    from speak_jax.training import run_config, weights

    config = precision.for_inference(run_config.read(path))
    variables = weights.of_stage(path, config, "speak")
    settings = settings_of(config)
    functions = functions_of(networks(config), settings)
    return cls(functions, variables, settings, **kwargs)

  @classmethod
  def from_bundle(cls, path: str | Path, **kwargs: Any) -> "Synthesizer":
    """From an exported bundle; none of the networks' code is needed.

    Raises:
      BundleError: the bundle is damaged, or of a newer jax; one line.
    """
    found = bundles.read(path)
    try:
      functions = deserialize(found.artifacts)
    except ValueError as error:
      raise bundles.BundleError(path, str(error)) from error
    neutral = found.config.get("neutral")  # bundles have it since 0.2
    return cls(
      functions,
      traverse_util.unflatten_dict(found.weights, sep="/"),
      settings_from_json(found.config["settings"]),
      neutral=None if neutral is None else np.array(neutral, np.float32),
      **kwargs,
    )

  def portrait(
    self,
    frame: UInt8[np.ndarray, "h w 3"],
    landmarks: Float[np.ndarray, "68 2"],
  ) -> Any:
    """The identity picture, encoded once for all windows (batch axis 1)."""
    return self._portrait(
      self.variables,
      frame[None],
      np.asarray(landmarks, np.float32)[None],
    )

  def pose(
    self, frames: UInt8[np.ndarray, "n h w 3"]
  ) -> Float[np.ndarray, "n p"]:
    """Pose code of every frame."""
    return self._batched(self._pose, frames)

  def poses(
    self, frames: Iterable[UInt8[np.ndarray, "h w 3"] | None]
  ) -> Iterator[Float[np.ndarray, "p"] | None]:
    """Pose codes of frames as they come; None where there is no frame."""
    frames = iter(frames)
    while part := list(itertools.islice(frames, self.windows)):
      there = [x for x in part if x is not None]
      codes = iter(self.pose(np.stack(there)) if there else ())
      for frame in part:
        yield None if frame is None else next(codes)

  def emotion(
    self, faces: UInt8[np.ndarray, "k f f 3"]
  ) -> Float[np.ndarray, "k e"]:
    """Emotion code of every face."""
    return self._batched(self._emotion, faces)

  def stream(
    self,
    portrait: Any,
    pose: Iterable[Float[np.ndarray, "p"]],
    emotion: Float[np.ndarray, "e"],
    audio: Int16[np.ndarray, "s"],
  ) -> Iterator[UInt8[np.ndarray, "k h w 3"]]:
    """The video piece by piece: all of its n frames, a few windows at a time.

    Poses are taken, and sound is cut, for these few windows alone. Sound is
    normalised by its level as a whole, and its speech encoded a stretch of
    `settings.heard` frames at a time, each heard with what lies around it.

    Args:
      portrait: From `portrait`.
      pose: One code for each of the n frames to make.
      emotion: One code for the whole video.
      audio: 16 kHz; frame i hears the sound round i / fps.
    """
    mood = np.asarray(emotion, np.float32)[None]
    pose, frames = iter(pose), self.windows * self.settings.frames
    speech, pending = self._heard(audio), None
    while codes := list(itertools.islice(pose, frames)):
      poses = cut_poses(np.stack(codes), self.settings)
      made = self._frames(
        self.variables,
        portrait,
        _pad(poses, self.windows),
        mood,
        np.stack(list(itertools.islice(speech, self.windows))),
      )
      # One batch ahead: the device works while the last one is fetched.
      if pending is not None:
        yield self._fetch(*pending)
      pending = made, len(codes)
    if pending is not None:
      yield self._fetch(*pending)

  def video(
    self,
    portrait_frame: UInt8[np.ndarray, "h w 3"],
    landmarks: Float[np.ndarray, "68 2"],
    pose_frames: UInt8[np.ndarray, "m h w 3"],
    emotion_faces: UInt8[np.ndarray, "k f f 3"],
    audio: Int16[np.ndarray, "s"],
    *,
    smooth: bool = True,
  ) -> UInt8[np.ndarray, "n h w 3"]:
    """A talking head: n = round(seconds of sound x fps) frames.

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
      ValueError: less than half a frame of sound.
    """
    pieces = self.stream(
      self.portrait(portrait_frame, landmarks),
      drive(self.pose(pose_frames), self.length(audio), smooth=smooth),
      self.emotion(emotion_faces).mean(0),
      audio,
    )
    return np.concatenate(list(pieces))

  def length(self, audio: Int16[np.ndarray, "s"]) -> int:
    """Frames that a sound asks for: round(seconds x fps).

    Raises:
      ValueError: it asks for none.
    """
    n = round(len(audio) * self.settings.fps / spec.SAMPLE_RATE_HZ)
    if n < 1:
      raise ValueError(f"sound too short ({len(audio)} samples at 16 kHz)")
    return n

  def _heard(self, audio: Int16[np.ndarray, "s"]) -> Iterator[np.ndarray]:
    """The speech of one window after the other, silence after the last."""
    each = self.settings.heard // self.settings.frames
    rows = -(-self.windows // each)  # stretches at a time
    level = spec.sound_level(audio)
    pending = None
    for first in itertools.count(0, rows):
      sounds = cut_sound(audio, first, rows, self.settings)
      made = self._speech(self.variables, sounds, level)
      # One ahead, so that it is there when the frames before are still made.
      if pending is not None:
        yield from np.asarray(pending)
      pending = made

  def _batched(self, function: Callable, pictures: np.ndarray) -> np.ndarray:
    """Codes of pictures, in batches of one size."""
    codes = []
    for start in range(0, len(pictures), self.windows):
      part = pictures[start : start + self.windows]
      made = function(self.variables, _pad(part, self.windows))
      codes.append(np.asarray(made)[: len(part)])
    return np.concatenate(codes)

  def _fetch(self, made: Array, n: int) -> np.ndarray:
    """Windows to n consecutive frames on the host, padding dropped."""
    return rearrange(np.asarray(made), "b t h w c -> (b t) h w c")[:n]


def drive(
  codes: Iterable[Float[np.ndarray, "p"]], n: int, *, smooth: bool = True
) -> Iterator[Float[np.ndarray, "p"]]:
  """Pose codes for n frames: smoothed over time, then back and forth.

  Codes are taken as they are needed, each but one frame ahead.

  Raises:
    ValueError: there are none.
  """
  kept = []
  for code in itertools.islice(smoothed(codes) if smooth else codes, n):
    kept.append(code)
    yield code
  for i in ping_pong(len(kept), n)[len(kept) :]:
    yield kept[i]


def smoothed(
  codes: Iterable[Float[np.ndarray, "p"]],
) -> Iterator[Float[np.ndarray, "p"]]:
  """Each code with a quarter of each neighbour; the ends are repeated."""
  before = now = None
  for after in itertools.chain(codes, [None]):
    if now is not None:
      left = now if before is None else before
      right = now if after is None else after
      yield 0.25 * left + 0.5 * now + 0.25 * right
    before, now = now, after


def bridge(
  codes: Iterable[Float[np.ndarray, "p"] | None],
) -> Iterator[Float[np.ndarray, "p"]]:
  """Codes of all frames: None is interpolated between those round it.

  Before the first and after the last code they are held. A gap's codes come
  when it has ended.
  """
  last, missing = None, 0
  for code in codes:
    if code is None:
      missing += 1
      continue
    start = code if last is None else last
    for i in range(missing):
      share = (i + 1) / (missing + 1)
      yield (start + share * (code - start)).astype(code.dtype)
    yield code
    last, missing = code, 0
  if last is not None:
    yield from itertools.repeat(last, missing)


def ping_pong(m: int, n: int) -> np.ndarray:
  """n indices into m items, back and forth: 0 1 2 1 0 1 ...; ends once."""
  if m < 1:
    raise ValueError("nothing to loop over")
  period = max(2 * (m - 1), 1)
  index = np.arange(n) % period
  return np.minimum(index, period - index) if m > 1 else index


def cut_poses(
  pose: Float[np.ndarray, "n p"], settings: Settings
) -> Float[np.ndarray, "w t p"]:
  """Windows of `settings.frames` poses; the last one is held to fill them."""
  t = settings.frames
  count = -(-len(pose) // t)
  pose = np.pad(pose, ((0, count * t - len(pose)), (0, 0)), mode="edge")
  return rearrange(pose, "(w t) p -> w t p", t=t)


def cut_sound(
  audio: Int16[np.ndarray, "s"], first: int, count: int, settings: Settings
) -> Int16[np.ndarray, "w a"]:
  """Sound of `count` stretches of `settings.heard` frames from `first` on.

  It reaches `settings.context` frames over both ends of each; there is silence
  outside the recording, as at training.
  """
  per_frame = spec.samples_per_frame(settings.fps)
  before = round(settings.context * per_frame)
  sounds = np.zeros((count, settings.samples), audio.dtype)
  for i, sound in enumerate(sounds, first):
    start = round(i * settings.heard * per_frame) - before
    heard = audio[max(start, 0) : max(start + len(sound), 0)]
    at = max(-start, 0)
    sound[at : at + len(heard)] = heard
  return sounds


def _pad(x: np.ndarray, size: int) -> np.ndarray:
  """Repeats the last row until there are `size`."""
  return np.pad(x, [(0, size - len(x))] + [(0, 0)] * (x.ndim - 1), mode="edge")


def _struct(aval: Any) -> jax.ShapeDtypeStruct:
  """An abstract value as an argument's description."""
  return jax.ShapeDtypeStruct(aval.shape, aval.dtype)
