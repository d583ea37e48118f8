"""Wav2Lip's second stage: the generator, which the expert judges.

It learns from stretches of a clip and five more frames of it, the reference.
The losses are methods and can be called alone.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jaxtyping import Array, Float, Int, PRNGKeyArray
from ml_collections import ConfigDict

from speak_jax.losses import adversarial, pixel, sync
from speak_jax.models.wav2lip import (
  BANDS,
  FRAMES,
  STEPS,
  Critic,
  Generator,
  SyncExpert,
)
from speak_jax.stages import base, batch_shapes, gate, init, optimizers
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
  first_heard,
  folded,
  hidden,
  sampler_of,
  spectra_at,
  within,
)
from speak_jax.stages.wav2lip_sync import EXPERT, SYNC, expert, fresh_expert

PAINT = "wav2lip"  # the stage
# The groups; public weights of the first and the last are called so too.
GENERATOR, GATE, CRITIC = "wav2lip_generator", "wav2lip_gate", "wav2lip_critic"


class Faces(NamedTuple):
  """A batch as the generator takes it; time is folded into the first axis."""

  true: Float[Array, "bt s s 3"]
  reference: Float[Array, "bt s s 3"]
  landmarks: Float[Array, "bt 68 2"]  # of the true faces, in their pixels
  mel: Float[Array, "bt 80 16"]  # what each frame hears
  window: Float[Array, "b 80 16"]  # what all five hear


@dataclasses.dataclass(frozen=True, eq=False)
class PaintLosses:
  """The losses of the second stage and what they need.

  Attributes:
    config: The run's.
    net: The generator.
    expert: The first stage's, which nothing trains here.
    critic: Is a lower half real?
    weights: {term: weight} of the generator as used.
    notes: What is to be said of them, for the log.
  """

  config: ConfigDict
  net: Generator
  expert: SyncExpert
  critic: Critic
  weights: Mapping[str, float]
  notes: tuple[str, ...] = ()

  @classmethod
  def of(cls, config: ConfigDict) -> "PaintLosses":
    """Builds it from a run's config."""
    asked = config[PAINT].weights.to_dict()
    weights, notes = base.resolve_weights(asked, {})
    nets = generator(config), expert(config), critic(config)
    return cls(config, *nets, weights, notes)

  def init(
    self, seed: int, earlier: Mapping[str, Group]
  ) -> tuple[Groups, Groups]:
    """Makes the generator, the gate and, where it has a weight, the critic."""
    side, shape = self.config.model.image, batch_shapes.float32
    groups = {
      GENERATOR: earlier.get(GENERATOR)
      or init.initialise(
        self.net,
        seed,
        GENERATOR,
        shape(2, side, side, 6),
        shape(2, BANDS, STEPS),
      ),
      EXPERT: earlier.get(EXPERT) or fresh_expert(self.config, seed),
      GATE: gate.fresh(),
    }
    if self.weights["gan"]:
      groups[CRITIC] = earlier.get(CRITIC) or init.initialise(
        self.critic, seed, CRITIC, shape(2, side // 2, side, 3)
      )
    return init.split_kinds(groups)

  def faces(self, batch: batch_shapes.Stretch) -> Faces:
    """Cuts a batch's faces and its sound."""
    model = self.config.model
    first = first_heard(self.config, True)
    points = folded(batch.landmarks)
    boxes, others = map(face_boxes, (points, folded(batch.other_landmarks)))
    true, reference = (
      cut(folded(frames), where, model.image)
      for frames, where in ((batch.frames, boxes), (batch.others, others))
    )
    landmarks = within(points, boxes, model.image)
    mel, window = (
      spectra_at(self.config, batch, x)
      for x in (first + np.arange(FRAMES), np.arange(1))
    )
    return Faces(true, reference, landmarks, mel, window)

  def paint(
    self,
    params: Groups,
    collections: Groups,
    faces: Faces,
    train: bool = False,
  ) -> tuple[Float[Array, "bt s s 3"], Groups]:
    """Paints a batch's frames.

    Returns:
      They, in [0, 1], and the collections that training has changed.
    """
    made, changed = base.apply(
      self.net,
      GENERATOR,
      params,
      collections,
      shown(faces.true, faces.reference),
      faces.mel,
      train=train,
      mutable=["batch_stats"] if train else (),
    )
    return made, {GENERATOR: dict(changed)}

  def l1(
    self, made: Float[Array, "bt s s 3"], faces: Faces
  ) -> Float[Array, "bt"]:
    """How far painted frames are from the true ones; mouths may weigh more."""
    region = self.config[PAINT].region
    weight = pixel.region_weight(faces.landmarks, made.shape[1], **region)
    return (weight * jnp.abs(made - faces.true)).mean((1, 2, 3))

  def out_of_sync(
    self,
    params: Groups,
    collections: Groups,
    made: Float[Array, "bt s s 3"],
    window: Float[Array, "b 80 16"],
  ) -> Float[Array, "b"]:
    """What the expert says of painted frames: cross-entropy, 0 in sync.

    It judges by the statistics that it has learned, unlike the public code's,
    whose batches change what it says; `batch_statistics` is the latter.
    """
    of_batch = self.config[PAINT].batch_statistics
    mouths = rearrange(below(made), "(b t) h w c -> b h w (t c)", t=FRAMES)
    ((seen, heard), _) = base.apply(
      self.expert,
      EXPERT,
      params,
      collections,
      mouths,
      window,
      train=of_batch,
      mutable=["batch_stats"] if of_batch else (),
    )
    near = (seen * heard).sum(-1)
    return sync.cosine_cross_entropy(near, jnp.array(True))

  def judge(
    self, params: Groups, collections: Groups, faces: Float[Array, "n s s 3"]
  ) -> Float[Array, "n"]:
    """Asks the critic whether lower halves are real: logits."""
    return base.apply(self.critic, CRITIC, params, collections, below(faces))

  def disc(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Stretch,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """The critic's: real or not."""
    del step, key
    faces = self.faces(batch)
    made, _ = self.paint(params, collections, faces, True)
    real, fake = (
      self.judge(params, collections, x)
      for x in (faces.true, jax.lax.stop_gradient(made))
    )
    loss = adversarial.discriminator([real], [fake]).mean()
    return LossOut(loss, {"gan": loss}, {})

  def gen(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Stretch,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """The generator's: pixels, the expert once its gate is open, the critic."""
    del step, key
    faces, state = self.faces(batch), collections[GATE]
    made, changed = self.paint(params, collections, faces, True)
    loss, means = base.weighted_sum(
      {
        "l1": lambda: self.l1(made, faces),
        "sync": lambda: self.out_of_sync(
          params, collections, made, faces.window
        ),
        "gan": lambda: adversarial.generator(
          [self.judge(params, collections, made)]
        ),
      },
      self.weights,
      {"sync": gate.weight(state, 0.0, 1.0)},
    )
    if "sync" in means:
      rule = gate.Rule(**self.config[PAINT].gate)
      changed[GATE] = gate.update(state, means["sync"], rule)
      means |= gate.metrics(state)
    means["l1_below"] = jnp.abs(below(made - faces.true)).mean()
    still = jnp.abs(below(faces.reference - faces.true)).mean()
    return LossOut(loss, means | {"l1_below_of_still": still}, changed)

  def sample_grids(
    self, params: Groups, collections: Groups, batch: batch_shapes.Stretch
  ) -> dict[str, Array]:
    """A clip's true frames, the painted ones, and what these were made of."""
    faces = self.faces(batch)
    made, _ = self.paint(params, collections, faces)
    rows = jnp.stack([faces.true, made, faces.reference])
    rows = rearrange(rows, "r (b t) h w c -> (b r) t h w c", t=FRAMES)
    return {"frames": as_rgb(rows)}


def shown(
  faces: Float[Array, "n s s 3"], references: Float[Array, "n s s 3"]
) -> Float[Array, "n s s 6"]:
  """What the generator sees: faces whose lower halves are gone, references."""
  return jnp.concatenate([hidden(faces), references], -1)


def generator(config: ConfigDict) -> Generator:
  """Builds the generator; it holds no parameters."""
  model = config.model
  return Generator(model.image, model.width, model.skips, base.dtype(config))


def critic(config: ConfigDict) -> Critic:
  """Builds the critic; it holds no parameters."""
  return Critic(config.model.image, 2 * config.model.width, base.dtype(config))


def make(config: ConfigDict) -> Stage:
  """Makes the stage that trains the generator, and the critic if it counts."""
  settings, losses = config[PAINT], PaintLosses.of(config)
  # A public expert serves as it is, unless this run trains it further.
  given = bool(config.pretrained[EXPERT]) and SYNC not in config.stages
  optims = {
    "gen": optimizers.adam((GENERATOR,), settings.optim, settings.steps)
  }
  phases: tuple[Phase, ...] = (Phase("gen", "gen", losses.gen),)
  public: tuple[str, ...] = (GENERATOR, *((EXPERT,) if given else ()))
  if losses.weights["gan"]:
    optims["disc"] = optimizers.adam((CRITIC,), settings.critic, settings.steps)
    phases = (Phase("disc", "disc", losses.disc), *phases)
    public = (*public, CRITIC)
  return Stage(
    name=PAINT,
    init=losses.init,
    pretrained_from={} if given else {EXPERT: SYNC},
    public=public,
    optims=optims,
    phases=phases,
    ema_groups=(GENERATOR,),
    ema_decay=settings.optim.ema,
    batch=batch_of(config, settings.batch),
    microbatch=settings.microbatch,
    scaling=base.scaling(config),
    sample_grids=losses.sample_grids,
    weights=losses.weights,
    notes=losses.notes,
  )


def sampler(config: ConfigDict) -> Sampler:
  """Says how the generator's batches are made."""
  return sampler_of(config, PAINT, FRAMES)
