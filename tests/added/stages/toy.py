"""The toy's only stage: L1 to the true frames."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from einops import rearrange, repeat
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from speak_jax.models.toy import ToyNet
from speak_jax.nn.pixels import as_audio, as_bytes, as_frames
from speak_jax.stages import base, batch_shapes, init, optimizers, rules
from speak_jax.stages.base import LossOut, Phase, Row, Sampler, Stage, Training

GROUP = "toy"


def network(config: ConfigDict) -> ToyNet:
  """Builds the network; it holds no parameters."""
  return ToyNet(config.model.width, config.toy.quiet)


def make(config: ConfigDict) -> Stage:
  """Makes the stage that trains group "toy"."""
  settings, model, net = config.toy, config.model, network(config)
  weights, notes = base.resolve_weights(settings.weights.to_dict(), {})
  step = batch_shapes.clip_samples(config) // model.frames

  def fresh(seed: int, earlier: Mapping[str, base.Group]):
    del earlier  # nothing was trained before
    group = init.initialise(
      net,
      seed,
      GROUP,
      batch_shapes.float32(2, model.image, model.image, 3),
      batch_shapes.float32(2, step),
    )
    return init.split_kinds({GROUP: group})

  def draw(params, collections, batch) -> Float[Array, "bt h w 3"]:
    identity = repeat(
      as_frames(batch.identity), "b h w c -> (b t) h w c", t=model.frames
    )
    sound = rearrange(as_audio(batch.audio), "b (t s) -> (b t) s", s=step)
    return base.apply(net, GROUP, params, collections, identity, sound)

  def loss(params, collections, batch, step, key) -> LossOut:
    del step, key
    drawn = draw(params, collections, batch)
    true = rearrange(as_frames(batch.frames), "b t h w c -> (b t) h w c")
    total, means = base.weighted_sum(
      {"pixel": lambda: jnp.abs(drawn - true).mean((1, 2, 3))},
      weights,
    )
    return LossOut(total, means, {})

  def sample_grids(params, collections, batch) -> dict[str, jax.Array]:
    drawn = rearrange(
      draw(params, collections, batch),
      "(b t) h w c -> b t h w c",
      t=model.frames,
    )
    return {"frames": as_bytes(drawn)}

  return Stage(
    name="toy",
    init=fresh,
    pretrained_from={},
    optims={"fit": optimizers.adam((GROUP,), settings.optim, settings.steps)},
    phases=(Phase("fit", "fit", loss),),
    ema_groups=(GROUP,),
    ema_decay=settings.optim.ema,
    batch=batch_shapes.clips(config, settings.batch, 1),
    microbatch=settings.microbatch,
    sample_grids=sample_grids,
    scaling=base.scaling(config),
    weights=weights,
    notes=notes,
  )


def sampler(config: ConfigDict) -> Sampler:
  """Says how its batches are made: by data_pipelines/sampling/clips.py."""
  model = config.model
  return Sampler(
    "clips",
    {
      "size": model.image,
      "frames": model.frames,
      "context": model.context,
      "emotion_frames": 1,
      "identity_from": "same_clip",
      "same_session": True,
    },
  )


TRAINING = Training(
  stages={"toy": Row(make, (GROUP,), sampler)},
  rules=(
    ("model.width", rules.SOME),
    ("toy.quiet", rules.number(-30, 0)),
  ),
)
