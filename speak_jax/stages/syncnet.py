"""Stage 1: SyncNet, lips and sound of the same moment close together.

The loss is a method and can be called alone, as in a notebook:

  losses = syncnet.SyncNetLosses.of(config)
  params, collections = losses.init(0, {})
  out = losses.contrast(params, collections, batch, step, jax.random.key(0))
"""

import dataclasses
import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from einops import rearrange, repeat
from jaxtyping import Array, Float, Int, PRNGKeyArray
from ml_collections import ConfigDict

from speak_jax.losses import sync
from speak_jax.models.syncnet import Change, SyncNet, window_frames
from speak_jax.nn import hearing, shake
from speak_jax.nn.pixels import as_audio, as_bytes, as_frames
from speak_jax.stages import base, batch_shapes, init, optimizers
from speak_jax.stages.base import (
  Group,
  Groups,
  LossOut,
  Metrics,
  Phase,
  Sampler,
  Stage,
)

LOSSES = ("info_nce", "contrastive")


@dataclasses.dataclass(frozen=True, eq=False)
class SyncNetLosses:
  """The loss of stage 1 and what it needs.

  Attributes:
    config: The run's.
    net: SyncNet, group "sync".
  """

  config: ConfigDict
  net: SyncNet

  @classmethod
  def of(cls, config: ConfigDict) -> "SyncNetLosses":
    """Builds it from a run's config.

    Raises:
      ValueError: an unknown word in config.syncnet.loss.
    """
    loss = config.syncnet.loss
    if loss not in LOSSES:
      raise ValueError(
        f"config.syncnet.loss {loss!r} is not {' or '.join(LOSSES)}"
      )
    return cls(config, init.networks(config).sync)

  def init(
    self, seed: int, earlier: Mapping[str, Group]
  ) -> tuple[Groups, Groups]:
    """Makes group "sync", unless it was trained before; see `Stage.init`."""
    group = earlier.get("sync") or initial_group(self.config, self.net, seed)
    return init.split_kinds({"sync": group})

  def codes(
    self,
    params: Groups,
    collections: Groups,
    mouth: Float[Array, "b n t h w c"],
    audio: Float[Array, "b n s"],
    change: Change | None = None,
  ) -> tuple[Float[Array, "b n d"], Float[Array, "b n d"]]:
    """Encodes n windows of each of b clips: codes of the lips and of the sound.

    Args:
      params: Group "sync" among others.
      collections: Of the same groups.
      mouth: Pictures in [-1, 1].
      audio: 16 kHz in [-1, 1].
      change: Of the sound's spectra, all of a clip's windows one after the
        other; None: it is heard as it is.
    """
    n = mouth.shape[1]

    def change_windows(spectra: Float[Array, "bn t m"]) -> Array:
      assert change is not None
      clips = rearrange(spectra, "(b n) t m -> b (n t) m", n=n)
      return rearrange(change(clips), "b (n t) m -> (b n) t m", n=n)

    lips, sound = base.apply(
      self.net,
      "sync",
      params,
      collections,
      rearrange(mouth, "b n ... -> (b n) ..."),
      rearrange(audio, "b n s -> (b n) s"),
      None if change is None else change_windows,
    )
    return (
      rearrange(lips, "(b n) d -> b n d", n=n),
      rearrange(sound, "(b n) d -> b n d", n=n),
    )

  def contrast(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.SyncWindows,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """Eq. 11, or InfoNCE over a clip's windows (ours).

    Mouths and sound are changed, by one draw a clip.
    """
    del step
    settings = self.config.syncnet
    augment_key, shift_key = jax.random.split(key)
    mouth = as_frames(batch.mouth)
    changes = shake.Shake(**settings.augment)
    if any(changes):
      mouth = shake.shake(mouth, augment_key, changes)
    heard = hearing.Changes(**settings.hearing)
    change = None
    if hearing.changes_any(heard):
      hear_key = jax.random.fold_in(key, 2)  # the others stay what they were
      change = functools.partial(hearing.change, key=hear_key, changes=heard)
    lips, sound = self.codes(
      params, collections, mouth, as_audio(batch.audio), change
    )
    if settings.loss == "info_nce":
      losses = sync.info_nce(sound, lips, settings.temperature)
    else:
      losses = shifted_contrastive(sound, lips, settings.margin, shift_key)
    return LossOut(losses.mean(), _metrics(lips, sound), {})

  def sample_grids(
    self, params: Groups, collections: Groups, batch: batch_shapes.SyncWindows
  ) -> dict[str, Array]:
    """Draws how near each window's lips are to each window's sound, per clip.

    1 - d^2 / 2, which is the cosine of unit vectors.
    """
    lips, sound = self.codes(
      params, collections, as_frames(batch.mouth), as_audio(batch.audio)
    )
    near = 1 - 0.5 * _squared_distances(lips, sound)
    cells = repeat(near, "b i j -> 1 b (i p) (j q) 3", p=8, q=8)
    return {"similarity": as_bytes(cells)}


def make(config: ConfigDict) -> Stage:
  """Makes the stage that trains group "sync".

  Raises:
    ValueError: an unknown loss.
  """
  settings, losses = config.syncnet, SyncNetLosses.of(config)
  return Stage(
    name="syncnet",
    init=losses.init,
    pretrained_from={},
    optims={"sync": optimizers.adam(("sync",), settings.optim, settings.steps)},
    phases=(Phase("contrast", "sync", losses.contrast),),
    ema_groups=("sync",),
    ema_decay=settings.optim.ema,
    batch=batch_shapes.sync_windows(config, settings.batch, settings.windows),
    microbatch=settings.microbatch,
    scaling=base.scaling(config),
    sample_grids=losses.sample_grids,
  )


def sampler(config: ConfigDict) -> Sampler:
  """Says how its batches are made: n windows of each clip."""
  settings, model, fps = config.syncnet, config.model, config.data.fps
  return Sampler(
    "sync_windows",
    {
      "frames": window_frames(fps),
      "windows": settings.windows,
      "reach": round(settings.reach * fps),
      "size": model.image,
      "lips": model.lips,
      "square": model.lips_square,
    },
  )


def initial_group(config: ConfigDict, net: SyncNet, seed: int) -> Group:
  """Makes a fresh group "sync"."""
  return init.initialise(
    net,
    seed,
    "sync",
    batch_shapes.float32(2, *batch_shapes.window_pictures(config)),
    batch_shapes.float32(2, batch_shapes.window_samples()),
  )


def two_way(
  speech: Float[Array, "b n d"], mouth: Float[Array, "b n d"]
) -> Float[Array, ""]:
  """Measures how often lips are nearer to their own sound than to another's.

  The others are all of the same clip.
  """
  apart = _squared_distances(mouth, speech)
  own = jnp.diagonal(apart, axis1=1, axis2=2)[..., None]
  n = apart.shape[-1]
  return ((own < apart).sum() / (apart.shape[0] * n * (n - 1))).astype(
    jnp.float32
  )


def shifted_contrastive(
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
    mouth: Codes of the same windows' lips.
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


def _metrics(
  lips: Float[Array, "b n d"], sound: Float[Array, "b n d"]
) -> Metrics:
  # A healthy code has a std of 1 after this scaling if it is a unit vector,
  # and one of about the margin if not.
  scale = sound.shape[-1] ** 0.5
  codes = {"speech": sound * scale, "mouth": lips * scale}
  return base.code_metrics(codes) | {"two_way": two_way(sound, lips)}


def _squared_distances(
  mouth: Float[Array, "b n d"], speech: Float[Array, "b n d"]
) -> Float[Array, "b n n"]:
  """Between each window's lips and each window's sound."""
  apart = mouth[:, :, None].astype(jnp.float32) - speech[:, None]
  return (apart**2).sum(-1)
