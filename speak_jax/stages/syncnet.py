"""Stage 1: SyncNet, lips and sound of the same moment close together."""

from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange, repeat
from jaxtyping import Array, Float, PRNGKeyArray
from ml_collections import ConfigDict

from speak_jax import spec
from speak_jax.losses import sync
from speak_jax.nn import shake
from speak_jax.stages import base
from speak_jax.stages.base import LossOut, Phase, Stage

WINDOW_S = 0.2  # of sound and picture


def frames_of(fps: float) -> int:
  """Frames of one window: 5 at 25 fps, 6 at 30."""
  return round(WINDOW_S * fps)


def window_shape(config: ConfigDict) -> tuple[int, int, int, int]:
  """Of a window's pictures: grey aligned mouths, or frames' lower halves."""
  model, window = config.model, frames_of(config.data.fps)
  if model.lips:
    return window, model.lips, model.lips, 1
  return window, model.image // 2, model.image, 3


def make(config: ConfigDict) -> Stage:
  """The stage that trains group "sync".

  Raises:
    ValueError: an unknown loss.
  """
  settings = config.syncnet
  if settings.loss not in ("info_nce", "contrastive"):
    raise ValueError(
      f"config.syncnet.loss {settings.loss!r} is not info_nce or contrastive"
    )
  net = base.networks(config).sync
  how = shake.Shake(**settings.augment)
  samples = round(WINDOW_S * spec.SAMPLE_RATE_HZ)
  lead = (settings.batch, settings.windows)
  batch = spec.SyncWindows(
    mouth=base.struct((*lead, *window_shape(config)), jnp.uint8),
    audio=base.struct((*lead, samples), jnp.int16),
  )

  def init(seed, given):
    if "sync" in given:
      params, extra = given["sync"]
    else:
      mouth = base.struct((2, *batch.mouth.shape[2:]))
      audio = base.struct((2, samples))
      params, extra = base.initialise(net, seed, "sync", mouth, audio)
    return {"sync": params}, {"sync": extra}

  def codes(params, vars, batch, key=None) -> Any:
    windows = batch.mouth.shape[1]
    mouth = base.as_frames(batch.mouth)
    if key is not None and any(how):
      mouth = shake.shake(mouth, key, how)
    made: Any = net.apply(
      {"params": params["sync"], **vars["sync"]},
      rearrange(mouth, "b n ... -> (b n) ..."),
      base.as_audio(rearrange(batch.audio, "b n s -> (b n) s")),
    )
    return [rearrange(x, "(b n) d -> b n d", n=windows) for x in made]

  def contrast(params, vars, batch, step, key) -> LossOut:
    del step
    changing, shifting = jax.random.split(key)
    mouth, speech = codes(params, vars, batch, changing)
    if settings.loss == "info_nce":
      losses = sync.info_nce(speech, mouth, settings.temperature)
    else:
      losses = shifted(speech, mouth, settings.margin, shifting)
    # A healthy code has a std of 1 after this scaling if it is a unit vector,
    # and one of about the margin if not.
    scale = speech.shape[-1] ** 0.5
    metrics = base.spreads({"speech": speech * scale, "mouth": mouth * scale})
    metrics["two_way"] = two_way(speech, mouth)
    return LossOut(losses.mean(), metrics, {})

  def inspect(params, vars, batch):
    """How near each window's lips are to each window's sound, per clip.

    1 - d^2 / 2, which is the cosine of unit vectors.
    """
    mouth, speech = codes(params, vars, batch)
    near = 1 - 0.5 * _squared_distances(mouth, speech)
    cells = repeat(near, "b i j -> 1 b (i p) (j q) 3", p=8, q=8)
    return {"similarity": base.as_bytes(cells)}

  return Stage(
    name="syncnet",
    init=init,
    takes={},
    optims={"sync": base.adam(("sync",), settings.optim, settings.steps)},
    phases=(Phase("contrast", "sync", contrast),),
    averaged=("sync",),
    decay=settings.optim.ema,
    batch=batch,
    microbatch=settings.microbatch,
    scaling=base.scaling(config),
    inspect=inspect,
  )


def two_way(
  speech: Float[Array, "b n d"], mouth: Float[Array, "b n d"]
) -> Float[Array, ""]:
  """How often lips are nearer to their own sound than to another's.

  The others are all of the same clip.
  """
  apart = _squared_distances(mouth, speech)
  own = jnp.diagonal(apart, axis1=1, axis2=2)[..., None]
  n = apart.shape[-1]
  return ((own < apart).sum() / (apart.shape[0] * n * (n - 1))).astype(
    jnp.float32
  )


def shifted(
  speech: Float[Array, "b n d"],
  mouth: Float[Array, "b n d"],
  margin: float,
  key: PRNGKeyArray,
) -> Float[Array, "b"]:
  """Eq. 11 on every window, and on each with the sound of another moment.

  Source: Chung and Zisserman 2016: half of the pairs match; the others' sound
  is shifted, at random, within the clip (`config.syncnet.reach`).

  Args:
    speech: Codes of n windows of each clip.
    mouth: Of the same windows.
    margin: Distance from which what does not match is left alone.
    key: Draws one shift a clip, in windows, from 1 to n - 1.
  """
  clips, n = speech.shape[:2]
  shift = jax.random.randint(key, (clips, 1), 1, n)
  other = (jnp.arange(n) + shift) % n
  moved = jnp.take_along_axis(speech, other[..., None], 1)
  true = jnp.ones((clips, n), bool)
  near = sync.contrastive(speech, mouth, true, margin)
  apart = sync.contrastive(moved, mouth, ~true, margin)
  return 0.5 * (near + apart).mean(1)


def _squared_distances(
  mouth: Float[Array, "b n d"], speech: Float[Array, "b n d"]
) -> Float[Array, "b n n"]:
  """Between each window's lips and each window's sound."""
  apart = mouth[:, :, None].astype(jnp.float32) - speech[:, None]
  return (apart**2).sum(-1)
