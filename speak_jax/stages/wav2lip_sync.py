"""Wav2Lip's first stage: the expert that says whether lips are in sync.

It learns from stretches of a clip and five frames of it that do not match their
sound. The loss is a method and can be called alone.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jaxtyping import Array, Float, Int, PRNGKeyArray
from ml_collections import ConfigDict

from speak_jax.losses import sync
from speak_jax.models.wav2lip import BANDS, FRAMES, STEPS, SyncExpert
from speak_jax.stages import base, batch_shapes, init, optimizers
from speak_jax.stages.base import (
  Group,
  Groups,
  LossOut,
  Phase,
  Sampler,
  Stage,
)
from speak_jax.stages.wav2lip_input import (
  as_rgb,
  batch_of,
  below,
  cut,
  face_boxes,
  folded,
  sampler_of,
  spectra_at,
)

SYNC = "wav2lip_sync"  # the stage
EXPERT = "wav2lip_expert"  # its group; public weights are called so too


class Moments(NamedTuple):
  """What the expert makes of stretches: moments of five frames each."""

  faces: Float[Array, "b n+1 t h w 3"]  # lower halves, the last of another
  seen: Float[Array, "b n+1 d"]  # codes of these
  heard: Float[Array, "b n d"]
  changed: Groups  # collections, by training

  def cosines(self) -> Float[Array, "b 2"]:
    """How near the first moment and the other are to the first one's sound."""
    ends = self.seen[:, np.array([0, -1])]
    return (ends * self.heard[:, :1]).sum(-1)


@dataclasses.dataclass(frozen=True, eq=False)
class SyncLosses:
  """The loss of the first stage and what it needs.

  Attributes:
    config: The run's.
    net: The expert.
    weights: {term: weight} as used.
    notes: What is to be said of them, for the log.
  """

  config: ConfigDict
  net: SyncExpert
  weights: Mapping[str, float]
  notes: tuple[str, ...] = ()

  @classmethod
  def of(cls, config: ConfigDict) -> "SyncLosses":
    """Builds it from a run's config."""
    asked = config[SYNC].weights.to_dict()
    return cls(config, expert(config), *base.resolve_weights(asked, {}))

  def init(
    self, seed: int, earlier: Mapping[str, Group]
  ) -> tuple[Groups, Groups]:
    """Makes group "wav2lip_expert". See `Stage.init`."""
    group = earlier.get(EXPERT) or fresh_expert(self.config, seed)
    return init.split_kinds({EXPERT: group})

  def codes(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Stretch,
    train: bool = False,
  ) -> Moments:
    """Encodes the moments of each stretch, and mouths of one that is apart."""
    settings, size = self.config[SYNC], self.config.model.image
    starts = settings.apart * np.arange(settings.moments)
    pictures = jnp.concatenate([batch.frames, batch.others], 1)
    points = jnp.concatenate([batch.landmarks, batch.other_landmarks], 1)
    faces = below(cut(folded(pictures), face_boxes(folded(points)), size))
    faces = rearrange(faces, "(b t) h w c -> b t h w c", b=len(pictures))
    # The one that is apart stands behind the stretch.
    starts = np.append(starts, batch.frames.shape[1])
    faces = faces[:, starts[:, None] + np.arange(FRAMES)]
    ((seen, heard), changed) = base.apply(
      self.net,
      EXPERT,
      params,
      collections,
      rearrange(faces, "b n t h w c -> (b n) h w (t c)"),
      spectra_at(self.config, batch, starts[:-1]),
      train=train,
      mutable=["batch_stats"] if train else (),
    )
    return Moments(
      faces=faces,
      seen=rearrange(seen, "(b n) d -> b n d", b=len(pictures)),
      heard=rearrange(heard, "(b n) d -> b n d", b=len(pictures)),
      changed={EXPERT: dict(changed)},
    )

  def fit(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Stretch,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """Cross-entropy of cosines, and which moment of the stretch is heard."""
    del step, key
    moments = self.codes(params, collections, batch, True)
    near, matches = moments.cosines(), jnp.array([True, False])
    heard, seen = moments.heard, moments.seen[:, :-1]
    loss, means = base.weighted_sum(
      {
        "cosine": lambda: sync.cosine_cross_entropy(near, matches),
        "contrast": lambda: sync.info_nce(
          heard, seen, self.config[SYNC].temperature
        ),
      },
      self.weights,
    )
    right = ((near > 0.5) == matches).mean()
    order = (near[:, 0] > near[:, 1]).mean()
    # What the second stage's gate is to wait for, of real faces.
    real = sync.cosine_cross_entropy(near[:, 0], matches[:1]).mean()
    means |= {"right": right, "two_way": order, "sync_of_real": real}
    return LossOut(loss, means, moments.changed)

  def sample_grids(
    self, params: Groups, collections: Groups, batch: batch_shapes.Stretch
  ) -> dict[str, Array]:
    """Mouths that match and five that do not, as bright as they are near."""
    moments = self.codes(params, collections, batch)
    near = moments.cosines()[..., None, None, None, None]
    lit = as_rgb(moments.faces[:, np.array([0, -1])] * near)
    return {"near": rearrange(lit, "b n t h w c -> b (n t) h w c")}


def expert(config: ConfigDict) -> SyncExpert:
  """Builds the expert; it holds no parameters."""
  return SyncExpert(
    config.model.image, 2 * config.model.width, base.dtype(config)
  )


def fresh_expert(config: ConfigDict, seed: int) -> Group:
  """Makes group "wav2lip_expert"."""
  side, shape = config.model.image, batch_shapes.float32
  return init.initialise(
    expert(config),
    seed,
    EXPERT,
    shape(2, side // 2, side, 3 * FRAMES),
    shape(2, BANDS, STEPS),
  )


def _frames(config: ConfigDict) -> int:
  """Of a stretch that the expert sees: all its moments."""
  settings = config[SYNC]
  return FRAMES + settings.apart * (settings.moments - 1)


def make(config: ConfigDict) -> Stage:
  """Makes the stage that trains group "wav2lip_expert"."""
  settings, losses = config[SYNC], SyncLosses.of(config)
  return Stage(
    name=SYNC,
    init=losses.init,
    pretrained_from={},
    public=(EXPERT,),
    optims={"fit": optimizers.adam((EXPERT,), settings.optim, settings.steps)},
    phases=(Phase("fit", "fit", losses.fit),),
    ema_groups=(EXPERT,),
    ema_decay=settings.optim.ema,
    batch=batch_of(config, settings.batch, _frames(config)),
    microbatch=settings.microbatch,
    scaling=base.scaling(config),
    sample_grids=losses.sample_grids,
    weights=losses.weights,
    notes=losses.notes,
  )


def sampler(config: ConfigDict) -> Sampler:
  """Says how the expert's batches are made."""
  return sampler_of(config, SYNC, _frames(config))
