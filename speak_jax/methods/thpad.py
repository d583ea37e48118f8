"""TH-PAD, from a run, as a method that can be evaluated: two modes.

"": nothing but a picture and sound; the prior draws how the head moves, window
after window, each of which goes on from the last frames of the one before.
"teacher": f_nl of a video's frames in its place: what the prior could be at
best.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int16, UInt8

from data_pipelines.dataset.pictures import resize, scale_landmarks
from speak_jax.common.batching import in_batches
from speak_jax.methods import base
from speak_jax.methods.base import Method, Request, Restored
from speak_jax.models.thpad import SAMPLES
from speak_jax.nn.diffusion import Given
from speak_jax.nn.pixels import as_bytes, as_frames
from speak_jax.stages import thpad_lip
from speak_jax.stages.base import apply
from speak_jax.stages.thpad_lip import SENSES
from speak_jax.stages.thpad_prior import PRIOR, PriorLosses
from speak_jax.stages.thpad_space import DRAWS

CHUNK = 16  # frames that are seen or drawn at a time
CODE = (
  "speak_jax.models",
  "speak_jax.stages.thpad_lip",
  "speak_jax.stages.thpad_prior",
  "speak_jax.stages.thpad_space",
  "speak_jax.methods.thpad",
)


class Networks(NamedTuple):
  """The networks, compiled for windows and chunks of one size."""

  portrait: Callable  # (u8 picture, landmarks) -> features, of one example
  see: Callable  # u8 frames -> f_nl
  hear: Callable  # int16 sound of a window -> f_a of its frames
  speak: Callable  # f_a of frames -> f_l
  draw: Callable  # (f_a, known codes, which are known, noise) -> f_nl
  paint: Callable  # (features, f_nl, f_a) -> u8 frames
  size: int  # px
  frames: int  # of a window
  given: int  # of them, those that it has of the window before
  context: int  # frames of sound on each side
  width: int  # of f_nl


class Inputs(NamedTuple):
  """A request in TH-PAD's own terms."""

  picture: UInt8[np.ndarray, "n n 3"]
  landmarks: Float[np.ndarray, "68 2"]  # of it
  # Of each window of frames, with context.
  windows: Int16[np.ndarray, "w s"]
  pose: UInt8[np.ndarray, "t n n 3"] | None  # the teacher's frames
  frames: int
  size: int  # px, of the canonical crop


def restore(path: Path, frames: int) -> Restored:
  """Opens a run; windows have one size, so that clips may be of any length.

  Raises:
    ValueError: damaged, or of another version of the code; one line.
  """
  del frames
  return base.restored_run(path, (PRIOR,), CODE, _compiled)


def prepare(networks: Networks, request: Request) -> Inputs:
  """Everything at the model's size; the sound in windows of frames."""
  size = networks.size
  pose = None
  if request.pose is not None:
    pose = np.stack([resize(frame, size) for frame in request.pose.frames])
  return Inputs(
    picture=resize(request.identity, size),
    landmarks=scale_landmarks(
      request.landmarks, len(request.identity), size
    ).astype(np.float32),
    windows=_windows(networks, request.audio, request.frames),
    pose=pose,
    frames=request.frames,
    size=len(request.identity),
  )


def generate(
  networks: Networks, inputs: Inputs, key: int
) -> UInt8[np.ndarray, "t n n 3"]:
  """One frame for each of the sound, of a head that moves as `key` has it."""
  new = networks.frames - networks.given
  random = jax.random.key(key)
  sounds, motions = [], []
  codes = np.zeros((networks.frames, networks.width), np.float32)
  for i, window in enumerate(inputs.windows):
    # The last frames of the window before are the first of this one.
    known = np.arange(networks.frames) < (networks.given if i else 0)
    codes = np.roll(codes, -new, 0)
    sound = networks.hear(window[None])
    noise = jax.random.normal(jax.random.fold_in(random, i), codes.shape)
    drawn = networks.draw(sound, codes[None], known[None], noise[None])
    codes = np.asarray(drawn[0])
    first = networks.given if i else 0
    sounds.append(np.asarray(sound[0, first:]))
    motions.append(codes[first:])
  return _paint(networks, inputs, np.concatenate(motions), sounds)


def teach(
  networks: Networks, inputs: Inputs, key: int
) -> UInt8[np.ndarray, "t n n 3"]:
  """One frame for each of the pose video's: its f_nl, the lips of the sound."""
  del key
  assert inputs.pose is not None
  [motion] = in_batches(
    lambda frames: [networks.see(frames)], inputs.pose, size=CHUNK
  )
  sounds = [
    np.asarray(networks.hear(window[None])[0, networks.given if i else 0 :])
    for i, window in enumerate(inputs.windows)
  ]
  return _paint(networks, inputs, motion, sounds)


def place(
  frames: UInt8[np.ndarray, "t n n 3"], inputs: Inputs
) -> UInt8[np.ndarray, "t s s 3"]:
  """The model's crop is the canonical one, at another size."""
  return np.stack([resize(frame, inputs.size) for frame in frames])


def _windows(
  networks: Networks, audio: Int16[np.ndarray, "s"], frames: int
) -> Int16[np.ndarray, "w n"]:
  """The sound of each window, silence beyond its ends."""
  new = networks.frames - networks.given
  count = max(-(-(frames - networks.given) // new), 1)
  around = networks.context * SAMPLES
  whole = ((count - 1) * new + networks.frames) * SAMPLES
  padded = np.zeros(whole + 2 * around, np.int16)
  heard = audio[: whole + around]
  padded[around : around + len(heard)] = heard
  length = networks.frames * SAMPLES + 2 * around
  return np.stack([padded[i * new * SAMPLES :][:length] for i in range(count)])


def _paint(
  networks: Networks,
  inputs: Inputs,
  motion: Float[np.ndarray, "f m"],
  sounds: list[np.ndarray],
) -> UInt8[np.ndarray, "t n n 3"]:
  """The frames that were asked for, of their codes."""
  features = networks.portrait(inputs.picture[None], inputs.landmarks[None])
  motion, sound = (x[: inputs.frames] for x in (motion, np.concatenate(sounds)))
  [frames] = in_batches(
    lambda *codes: [networks.paint(features, *codes)], motion, sound, size=CHUNK
  )
  return frames


def _compiled(trained: base.Trained) -> Networks:
  """The networks of a run's last stage, which has them all."""
  config, losses = trained.config, PriorLosses.of(trained.config)
  settings: Any = config[PRIOR]
  variables = jax.device_put(trained.variables)
  params = {group: x["params"] for group, x in variables.items()}
  collections = {
    group: {k: v for k, v in x.items() if k != "params"}
    for group, x in variables.items()
  }

  def sensed(params, collections, method, x):
    return apply(losses.senses, SENSES, params, collections, x, method=method)

  def drawn(params, collections, method, *inputs):
    return apply(
      losses.space, DRAWS, params, collections, *inputs, method=method
    )

  @jax.jit
  def portrait(params, collections, picture, landmarks):
    return drawn(params, collections, "portrait", as_frames(picture), landmarks)

  @jax.jit
  def see(params, collections, frames):
    seen = sensed(params, collections, "see", as_frames(frames))
    return drawn(params, collections, "motion", seen)[1]

  @jax.jit
  def hear(params, collections, audio):
    spectra = thpad_lip.hear(config, audio, settings.frames)[0]
    return sensed(params, collections, "hear", spectra)[None]

  @jax.jit
  def speak(params, collections, sound):
    return drawn(params, collections, "speak", sound)

  @jax.jit
  def draw(params, collections, sound, codes, known, noise):
    given = Given(codes, known)
    return losses.draw(params, collections, sound, given, noise)

  @jax.jit
  def paint(params, collections, features, motion, sound):
    features = jax.tree.map(lambda x: jnp.repeat(x, CHUNK, 0), features)
    lips = drawn(params, collections, "speak", sound)
    drawing = drawn(params, collections, "draw", features, motion, lips)
    return as_bytes(drawing.frames)

  def bound(program: Any) -> Callable:
    return partial(program, params, collections)

  return Networks(
    portrait=bound(portrait),
    see=bound(see),
    hear=bound(hear),
    speak=bound(speak),
    draw=bound(draw),
    paint=bound(paint),
    size=config.model.image,
    frames=settings.frames,
    given=settings.given,
    context=config.model.context,
    width=losses.width,
  )


SAMPLED = Method(
  name="TH-PAD",
  needs=frozenset(),
  sees="first frame",
  samples=True,
  restore=restore,
  prepare=prepare,
  generate=generate,
  place=place,
)
TEACHER = SAMPLED._replace(
  name="TH-PAD, teacher",
  needs=frozenset({"pose"}),
  sees="every frame through the narrow code f_nl",
  samples=False,
  generate=teach,
)
METHODS = {"": SAMPLED, "teacher": TEACHER}
