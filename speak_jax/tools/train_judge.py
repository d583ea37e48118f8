"""Trains the judge that reads pose, emotion, lips and identity off frames.

  python -m speak_jax.tools.train_judge \
    --out speak_jax/assets/judge.safetensors --minutes 8

It learns from rendered faces of people whom no data set holds, each frame
with a background and a light of its own, and never from generated frames.
Its score on held-out rendered frames is written beside the weights as JSON.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

from data_pipelines.sampling.augment import MIRROR
from data_pipelines.synthetic.render import random_frames
from speak_jax import spec
from speak_jax.common import command_line, files, outputs
from speak_jax.common.progress import Progress
from speak_jax.losses import disentangle
from speak_jax.metrics import identity as identity_metrics
from speak_jax.metrics import sums
from speak_jax.models import judge as models

FRAMINGS = ("tight", "medium", "wide")
RENDER_SHARE = 0.2  # of the time goes into rendering
BATCH = 64
HELD_OUT = 384  # frames of each framing
CHUNK = 192  # frames rendered at a time
PEAK_RATE = 2e-3
# Level 1 shows next to nothing at 64 px: it is learned, at little weight.
LEVEL_WEIGHT = np.array([0.1, 0.1, 1.0, 1.0], np.float32)


class Faces(NamedTuple):
  """Rendered frames and everything that is known of them, NumPy or JAX."""

  frames: UInt8[Any, "n h w 3"]
  landmarks: Float[Any, "n 68 2"]
  pose: Float[Any, "n 3"]
  emotion: Int[Any, "n"]
  level: Int[Any, "n"]
  identity: Int[Any, "n"]
  mouth_open: Float[Any, "n"]


Render = Callable[[int, int, str], Faces]  # seed, frames, framing


def render(seed: int, n: int, framing: str) -> Faces:
  """Frames of `random_frames` at the judge's size."""
  made = random_frames(seed, n, models.SIZE, framing, per_identity=8)
  return Faces(
    frames=made.frames,
    landmarks=made.landmarks.astype(np.float32),
    pose=made.pose.astype(np.float32),
    emotion=made.emotion.astype(np.int32),
    level=made.level.astype(np.int32),
    identity=made.identity.astype(np.int32),
    mouth_open=made.mouth_open.astype(np.float32),
  )


def collect(
  renderer: Render, seed: int, seconds: float, most: int | None = None
) -> Faces:
  """Renders all framings in turn until the time, or `most` frames, is over.

  Every chunk shows people of its own, numbered from 0 over all chunks.
  """
  start, parts, people, count = time.monotonic(), [], 0, 0
  with Progress("render", "frame", most) as progress:
    while time.monotonic() - start < seconds and count < (most or sys.maxsize):
      part = renderer(seed + len(parts), CHUNK, FRAMINGS[len(parts) % 3])
      names, numbers = np.unique(part.identity, return_inverse=True)
      parts.append(part._replace(identity=(numbers + people).astype(np.int32)))
      people += len(names)
      count += len(part.frames)
      progress.update(count)
  return Faces(*map(np.concatenate, zip(*parts, strict=True)))


def disturb(
  key: PRNGKeyArray, batch: Faces
) -> tuple[
  Float[Array, "b h w 3"], Float[Array, "b 68 2"], Float[Array, "b 3"]
]:
  """Mirrors, turns, zooms, shifts, recolours, blurs and adds noise.

  Blur matters most: what the judge is for is often soft.

  Returns:
    Float frames in [-1, 1], and landmarks and pose that follow.
  """
  keys = iter(jax.random.split(key, 8))
  n, size = batch.frames.shape[0], models.SIZE
  frames = batch.frames.astype(jnp.float32) / 127.5 - 1
  draw = partial(jax.random.uniform, minval=-1.0, maxval=1.0)

  flip = jax.random.bernoulli(next(keys), 0.5, (n,))
  across = jnp.array([size - 1.0, 0.0])
  mirrored = across + batch.landmarks[:, MIRROR] * jnp.array([-1.0, 1.0])
  points = jnp.where(flip[:, None, None], mirrored, batch.landmarks)
  frames = jnp.where(flip[:, None, None, None], frames[:, :, ::-1], frames)
  sign = jnp.where(flip[:, None], jnp.array([-1.0, 1.0, -1.0]), 1.0)
  pose = batch.pose * sign

  roll = 8.0 * draw(next(keys), (n,))
  zoom = jnp.exp(0.12 * draw(next(keys), (n,)))
  radians = jnp.deg2rad(roll)
  turn = jnp.stack([jnp.cos(radians), jnp.sin(radians)], -1) * zoom[:, None]
  middle = jnp.full((n, 2), (size - 1) / 2)
  moved = middle + 3.0 * draw(next(keys), (n, 2))
  # Rotation about the picture's middle, as a map of the picture onto itself.
  about = models.Similarity(turn, moved)
  points = models.place(about, points - middle[:, None])
  along = jnp.arange(size, dtype=jnp.float32)
  grid = jnp.stack(jnp.meshgrid(along, along), -1).reshape(1, -1, 2)
  places = models.unplace(about, jnp.broadcast_to(grid, (n, size**2, 2)))
  places = (places + middle[:, None]).reshape(n, size, size, 2)
  frames = models.sample(frames, places)
  pose = pose.at[:, 2].add(roll)

  gain = 1 + 0.2 * draw(next(keys), (n, 1, 1, 3))
  frames = frames * gain + 0.12 * draw(next(keys), (n, 1, 1, 3))
  soft = jnp.maximum(draw(next(keys), (n, 1, 1, 1)), 0.0)
  frames += soft * (_blur(frames) - frames)
  frames += 0.03 * jax.random.normal(next(keys), frames.shape)
  return frames.clip(-1, 1), points, pose


def loss_fn(
  params: Any, key: PRNGKeyArray, batch: Faces
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
  """All of the judge's losses, weighted, and each of them alone.

  Args:
    params: {"judge": its parameters, "people": (64, identities)}.
    key: For the disturbances.
    batch: Rendered faces.
  """
  key, other = jax.random.split(key)
  frames, points, pose = disturb(key, batch)
  learned: Any = models.Judge().apply(
    {"params": params["judge"]},
    frames,
    _misplace(other, points),
    method="learn",
  )
  first, seen = learned
  people = params["people"] / jnp.linalg.norm(params["people"], axis=0)
  who = optax.softmax_cross_entropy_with_integer_labels(
    16.0 * seen.identity @ people, batch.identity
  )
  mood = disentangle.classification(seen.emotion, batch.emotion, 0.1)
  weight = jnp.asarray(LEVEL_WEIGHT)[batch.level]
  # A neutral face is neutral at every level.
  weight = jnp.where(batch.emotion == 0, 0.5, weight)
  lips = jnp.abs(seen.landmarks - points)[:, spec.MOUTH]
  terms = {
    "found": jnp.abs(first - points).mean(),
    "points": jnp.abs(seen.landmarks - points).mean() + 0.5 * lips.mean(),
    "pose": jnp.abs(seen.pose - pose).mean() / 10,
    "emotion": (mood * weight).sum() / weight.sum(),
    "opening": 3 * jnp.abs(seen.opening - batch.mouth_open).mean(),
    "identity": 0.2 * who.mean(),
  }
  return jnp.asarray(sum(terms.values())), terms


def train(faces: Faces, seed: int, seconds: float, steps: int | None) -> Any:
  """Learns for a time, or for `steps`, and returns the averaged weights."""
  key = jax.random.key(seed)
  key, start, start_people = jax.random.split(key, 3)
  people = int(faces.identity.max()) + 1
  params: Any = {
    "judge": models.init(start),
    "people": jax.random.normal(start_people, (models.IDENTITY, people)),
  }
  tx = optax.inject_hyperparams(
    lambda rate: optax.chain(
      optax.clip_by_global_norm(1.0), optax.adam(rate, 0.9, 0.99)
    )
  )(rate=PEAK_RATE)

  @partial(jax.jit, donate_argnums=(0, 1, 2))
  def step(params: Any, average, state, key, rate, keep, batch):
    (_, terms), slope = jax.value_and_grad(loss_fn, has_aux=True)(
      params, key, batch
    )
    state.hyperparams["rate"] = rate
    change, state = tx.update(slope, state, params)
    moved: Any = optax.apply_updates(params, change)
    average = jax.tree.map(
      lambda a, p: keep * a + (1 - keep) * p, average, moved["judge"]
    )
    return moved, average, state, terms

  average = jax.tree.map(jnp.copy, params["judge"])
  state: Any = tx.init(params)
  rng = np.random.default_rng(seed)
  begun, count, terms = time.monotonic(), 0, {}
  with Progress("learn", "step", steps) as progress:
    while True:
      gone = time.monotonic() - begun
      share = count / steps if steps else min(gone / seconds, 1.0)
      if share >= 1:
        break
      pick = rng.integers(0, len(faces.frames), BATCH)
      batch = Faces(*(jnp.asarray(x[pick]) for x in faces))
      warm = min((count + 1) / 50, 1.0)
      rate = PEAK_RATE * warm * (0.5 + 0.5 * np.cos(np.pi * share)) + 2e-5
      keep = min(0.98, (1 + count) / (10 + count))
      key, now = jax.random.split(key)
      params, average, state, terms = step(
        params, average, state, now, rate, keep, batch
      )
      count += 1
      if count % 25 == 0:
        progress.update(
          count, "  ".join(f"{k} {float(v):.3f}" for k, v in terms.items())
        )
  return average


def centre(params: Any, faces: Faces) -> Any:
  """Moves the identity embedding's mean to zero.

  What all faces have in common would else give any two people a high cosine.
  """
  some = faces.frames[:: max(len(faces.frames) // 1024, 1)][:1024]

  @jax.jit
  def raw(params, frames):
    _, seen = models.Judge().apply(
      {"params": params},
      frames.astype(jnp.float32) / 127.5 - 1,
      capture_intermediates=lambda net, _: net.name == "identity",
    )
    return seen["intermediates"]["identity"]["__call__"][0]

  parts = [
    raw(params, some[i : i + BATCH])
    for i in range(0, len(some) - BATCH + 1, BATCH)
  ]
  shift = jnp.concatenate(parts).mean(0)
  layer = params["identity"]
  return {**params, "identity": {**layer, "bias": layer["bias"] - shift}}


def judge_all(params: Any, frames: UInt8[np.ndarray, "n h w 3"]) -> Any:
  """`models.apply` over any number of frames, in batches of one shape."""
  parts = []
  for start in range(0, len(frames), BATCH):
    part = frames[start : start + BATCH]
    lack = BATCH - len(part)
    padded = np.pad(part, ((0, lack), (0, 0), (0, 0), (0, 0)), mode="edge")
    seen = _apply(params, padded)
    parts.append([np.asarray(x)[: len(part)] for x in seen])
  return models.Judgement(*map(np.concatenate, zip(*parts, strict=True)))


_apply = jax.jit(models.apply)


def score(params: Any, faces: Faces) -> dict[str, float]:
  """How well the judge reads rendered frames, in flat figures."""
  seen = judge_all(params, faces.frames)
  miss = np.linalg.norm(seen.landmarks - faces.landmarks, axis=-1)
  clear = (faces.level >= 2) & (faces.emotion > 0) | (faces.emotion == 0)
  right = seen.emotion.argmax(-1) == faces.emotion
  out = {
    "frames": float(len(faces.frames)),
    "people": float(len(np.unique(faces.identity))),
    "landmarks_px": float(miss.mean()),
    "mouth_landmarks_px": float(miss[:, spec.MOUTH].mean()),
    "emotion": float(right[clear].mean()),
    "opening_r": sums.pearson(
      sums.pearson_row(seen.opening, faces.mouth_open)[None]
    ),
    "identity_auc": identity_metrics.auc(seen.identity, faces.identity),
    **_cosines(seen.identity, faces.identity),
  }
  for i, name in enumerate(("yaw", "pitch", "roll")):
    pred, true = seen.pose[:, i : i + 1], faces.pose[:, i : i + 1]
    out[f"{name}_mae"] = float(np.abs(pred - true).mean())
    out[f"{name}_r2"] = sums.r2(sums.r2_row(pred, true)[None])
  for level in (1, 2, 3):
    chosen = (faces.level == level) & (faces.emotion > 0)
    if chosen.any():
      out[f"emotion_level{level}"] = float(right[chosen].mean())
  return out


def _cosines(
  embeddings: Float[np.ndarray, "n d"], people: Int[np.ndarray, "n"]
) -> dict[str, float]:
  """Mean cosine of two frames of one person, and of two people."""
  near = embeddings @ embeddings.T
  same = people[:, None] == people
  np.fill_diagonal(near, np.nan)
  return {
    "identity_same": float(np.nanmean(near[same])),
    "identity_other": float(np.nanmean(near[~same])),
  }


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
    seed: Of people, draws and initial weights.
    renderer: Gives the faces; held-out ones have seeds of their own.
    frames: Renders so many frames instead of by time.
    steps: Learns so many steps instead of by time.

  Returns:
    What the JSON holds: a score for each framing and for all.
  """
  begun = time.monotonic()
  held = {
    framing: renderer(10_000_000 + seed * 100 + i, HELD_OUT, framing)
    for i, framing in enumerate(FRAMINGS)
  }
  budget = 60 * minutes - (time.monotonic() - begun)
  faces = collect(renderer, 1000 * seed, RENDER_SHARE * budget, frames)
  left = 60 * minutes - (time.monotonic() - begun)
  params = centre(train(faces, seed, left, steps), faces)
  out.parent.mkdir(parents=True, exist_ok=True)
  models.save(params, out)
  params = models.load(out)  # what is scored is what is shipped
  report = {
    "what": "the judge on held-out rendered frames, chance: emotion 0.125",
    "seed": seed,
    "minutes": round((time.monotonic() - begun) / 60, 2),
    "frames": len(faces.frames),
    "people": int(faces.identity.max()) + 1,
  }
  for framing, part in held.items():
    figures = score(params, part)
    report[framing] = {k: round(v, 4) for k, v in figures.items()}
  text = json.dumps(report, indent=2) + "\n"
  files.write(out.with_suffix(".json"), text)
  return report


def _misplace(
  key: PRNGKeyArray, points: Float[Array, "b 68 2"]
) -> Float[Array, "b 68 2"]:
  """Landmarks as wrong as `find` has them: the pieces are cut along these."""
  keys = jax.random.split(key, 4)
  n = points.shape[0]
  middle = points.mean(1, keepdims=True)
  angle = jnp.deg2rad(4.0) * jax.random.normal(keys[0], (n,))
  zoom = jnp.exp(0.05 * jax.random.normal(keys[1], (n,)))
  turn = jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1) * zoom[:, None]
  shift = middle[:, 0] + 0.8 * jax.random.normal(keys[2], (n, 2))
  wobble = 0.4 * jax.random.normal(keys[3], points.shape)
  return models.place(models.Similarity(turn, shift), points - middle) + wobble


def _blur(frames: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
  """3x3 binomial blur, twice; borders are replicated."""
  for _ in range(2):
    for axis in (1, 2):
      pad = [(0, 0)] * 4
      pad[axis] = (1, 1)
      x = jnp.pad(frames, pad, mode="edge")
      size = frames.shape[axis]
      low, mid, high = (
        jax.lax.slice_in_dim(x, i, i + size, axis=axis) for i in range(3)
      )
      frames = 0.25 * low + 0.5 * mid + 0.25 * high
  return frames


FLAGS = flags.FLAGS


def main(_: list[str]) -> int:
  """Reads the flags and trains; 0, or 1 and a line if it cannot."""
  out = Path(FLAGS.out)
  try:
    out.parent.mkdir(parents=True, exist_ok=True)
    outputs.check_file(out, [], (".safetensors",))
  except (ValueError, OSError) as error:
    return command_line.fail("judge", str(error))
  report = make(out, FLAGS.minutes, FLAGS.seed)
  print(json.dumps(report, indent=2))
  return 0


if __name__ == "__main__":
  flags.DEFINE_string("out", str(models.WEIGHTS), "where the weights go")
  flags.DEFINE_float("minutes", 8.0, "time for rendering and learning", 0.1)
  flags.DEFINE_integer("seed", 0, "of people, draws and initial weights", 0)
  app.run(main, flags_parser=command_line.parser("judge"))
