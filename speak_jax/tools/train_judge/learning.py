"""Losses and training of the judge."""

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from speak_jax import spec
from speak_jax.common.progress import Progress
from speak_jax.losses import disentangle
from speak_jax.models import judge as models
from speak_jax.nn.pixels import as_frames
from speak_jax.tools.train_judge.augment import augment, misplace
from speak_jax.tools.train_judge.faces import Faces

BATCH = 64
PEAK_RATE = 2e-3
# Level 1 shows next to nothing at 64 px: it is learned, at little weight.
LEVEL_WEIGHT = np.array([0.1, 0.1, 1.0, 1.0], np.float32)


def loss_fn(
  params: Any, key: PRNGKeyArray, batch: Faces
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
  """All of the judge's losses, weighted, and each of them alone.

  Args:
    params: {"judge": its parameters, "people": (64, identities)}.
    key: Draws the augmentation.
    batch: Rendered faces.
  """
  key, other = jax.random.split(key)
  frames, points, pose = augment(key, batch)
  learned: Any = models.Judge().apply(
    {"params": params["judge"]},
    frames,
    misplace(other, points),
    method="learn",
  )
  first, judged = learned
  people = params["people"] / jnp.linalg.norm(params["people"], axis=0)
  who = optax.softmax_cross_entropy_with_integer_labels(
    16.0 * judged.identity @ people, batch.identity
  )
  mood = disentangle.classification(judged.emotion, batch.emotion, 0.1)
  weight = jnp.asarray(LEVEL_WEIGHT)[batch.level]
  # A neutral face is neutral at every level.
  weight = jnp.where(batch.emotion == 0, 0.5, weight)
  lips = jnp.abs(judged.landmarks - points)[:, spec.MOUTH]
  terms = {
    "found": jnp.abs(first - points).mean(),
    "points": jnp.abs(judged.landmarks - points).mean() + 0.5 * lips.mean(),
    "pose": jnp.abs(judged.pose - pose).mean() / 10,
    "emotion": (mood * weight).sum() / weight.sum(),
    "opening": 3 * jnp.abs(judged.opening - batch.mouth_open).mean(),
    "identity": 0.2 * who.mean(),
  }
  return jnp.asarray(sum(terms.values())), terms


def train(faces: Faces, seed: int, seconds: float, steps: int | None) -> Any:
  """Learns for a time, or for `steps`, and returns the averaged weights.

  Args:
    faces: Rendered.
    seed: Seed of the initial weights, batches and augmentation.
    seconds: Time for learning.
    steps: Instead of the time; None: the time counts.
  """
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
  start_time, count, terms = time.monotonic(), 0, {}
  with Progress("learn", "step", steps) as progress:
    while True:
      spent = time.monotonic() - start_time
      share = count / steps if steps else min(spent / seconds, 1.0)
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
    _, captured = models.Judge().apply(
      {"params": params},
      as_frames(frames),
      capture_intermediates=lambda net, _: net.name == "identity",
    )
    return captured["intermediates"]["identity"]["__call__"][0]

  parts = [
    raw(params, some[i : i + BATCH])
    for i in range(0, len(some) - BATCH + 1, BATCH)
  ]
  shift = jnp.concatenate(parts).mean(0)
  layer = params["identity"]
  return {**params, "identity": {**layer, "bias": layer["bias"] - shift}}
