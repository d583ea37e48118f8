"""Stage 3: the whole system, from a portrait and sound to talking frames.

SyncNet is frozen, the encoders are unless the config says otherwise; G_g
starts from stage 2's G_d unless the config says otherwise.

Each loss is a method and can be called alone, as in a notebook:

  losses = speak.SpeakLosses.of(config)
  params, collections = losses.init(0, {})
  out = losses.generator_loss(
    params, collections, batch, step, jax.random.key(0)
  )
  out.metrics["sync"]
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange, repeat
from jaxtyping import Array, Float, Int, PRNGKeyArray
from ml_collections import ConfigDict

from speak_jax import spec
from speak_jax.losses import (
  adversarial,
  disentangle,
  perceptual,
  sync,
)
from speak_jax.models.audio import WAVE_FRONTS
from speak_jax.models.build import Networks
from speak_jax.models.speak import warm_start
from speak_jax.models.syncnet import window_frames
from speak_jax.nn import align
from speak_jax.nn.pixels import as_audio, as_bytes, as_frames
from speak_jax.stages import (
  base,
  batch_shapes,
  emotion_input,
  gan,
  init,
  irfd,
  motion,
  optimizers,
  picture_terms,
  syncnet,
)
from speak_jax.stages.base import (
  Group,
  Groups,
  LossOut,
  Optim,
  Phase,
  Row,
  Sampler,
  Stage,
  Terms,
  Training,
)
from speak_jax.stages.later import LATER
from speak_jax.stages.speak_forward import Generated, SpeakForward

FRONT = "speak/audio/front"  # path of what hears the waveform
ENCODERS = ("frozen", "tuned", "fresh")
SYNC_TARGETS = ("audio", "video")


@dataclasses.dataclass(frozen=True, eq=False)
class SpeakLosses:
  """The losses of stage 3 and what they need.

  Attributes:
    config: The run's.
    nets: Its networks.
    weights: {term: weight} as used; what a config has no use for is 0.
    notes: What is to be said of them, for the log.
  """

  config: ConfigDict
  nets: Networks
  weights: Mapping[str, float]
  notes: tuple[str, ...] = ()

  @classmethod
  def of(cls, config: ConfigDict) -> "SpeakLosses":
    """Builds them from a run's config.

    Raises:
      ValueError: an unknown word in config.speak or config.model, a window of
        frames shorter than SyncNet's, or feature matching without a
        discriminator.
    """
    _check(config)
    weights, notes = _weights(config)
    return cls(config, init.networks(config), weights, notes)

  @property
  def settings(self) -> Any:
    """config.speak."""
    return self.config.speak

  @property
  def window(self) -> int:
    """Frames t of a clip."""
    return self.config.model.frames

  @property
  def forward(self) -> SpeakForward:
    """What runs the networks."""
    return SpeakForward(self.config, self.nets)

  @property
  def starts_from_irfd(self) -> bool:
    """Whether the encoders come from stage 2; else they are fresh."""
    return self.settings.encoders != "fresh"

  @property
  def compares_by_vgg(self) -> bool:
    """Whether L_vgg compares VGG's features; else those of our E_i."""
    return bool(self.config.pretrained.vgg)

  @property
  def hears_waveform(self) -> bool:
    """Whether E_a is a network on the waveform that was trained before."""
    return self.config.model.audio.front in WAVE_FRONTS

  @property
  def adversarial(self) -> bool:
    """Whether a discriminator learns to tell our frames from true ones."""
    return self.weights["gan"] > 0

  @property
  def adversary(self) -> gan.Adversary:
    """The discriminator; without parameters unless `adversarial`."""
    return gan.Adversary(self.nets.discriminator, self.settings)

  def init(
    self, seed: int, earlier: Mapping[str, Group]
  ) -> tuple[Groups, Groups]:
    """Takes or makes every group; see `Stage.init`.

    Beside this stage's own, `earlier` may hold "decoder", a start for G_g, and
    public weights: "speech" (parts of E_a), "resnet" (E_i, E_p, E_e), "vgg".
    """
    config, nets, image = self.config, self.nets, self.config.model.image
    encoders, features, codes = init.initialise_encoders(
      config, nets, seed, earlier
    )
    groups = {
      "encoders": encoders,
      "speak": self._initial_speak(seed, earlier, features, codes),
    }
    if self.weights["sync"]:
      groups["sync"] = earlier.get("sync") or syncnet.initial_group(
        config, nets.sync, seed
      )
    if self.weights["perceptual"] and self.compares_by_vgg:
      groups["vgg"] = earlier.get("vgg") or init.initialise(
        nets.vgg, seed, "vgg", batch_shapes.float32(2, image, image, 3)
      )
    if self.adversarial:
      groups[gan.GROUP] = self.adversary.initialise(seed, image)
    return init.split_kinds(groups)

  def _initial_speak(
    self, seed: int, earlier: Mapping[str, Group], features: Any, codes: Any
  ) -> Group:
    """Group "speak"; `features` and `codes` are shapes of the encoders'."""
    if "speak" in earlier:
      return earlier["speak"]
    params, collections = init.initialise(
      self.nets.speak,
      seed,
      "speak",
      features,
      batch_shapes.float32(2, self.window, codes.pose.shape[-1]),
      codes.emotion,
      batch_shapes.float32(2, batch_shapes.clip_samples(self.config)),
      batch_shapes.float32(2, spec.LEVEL),
    )
    if "decoder" in earlier:
      params = warm_start(earlier["decoder"][0], params).params
    if "speech" in earlier:
      audio = {**params["audio"], **earlier["speech"][0]}
      params = {**params, "audio": audio}
    return params, collections

  # --- phases --------------------------------------------------------------

  def generator_loss(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Clip,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """Eq. 13 with our terms beside it: what trains E_a, the editor and G_g."""
    made = self.forward.generate(params, collections, batch, key, train=True)
    terms = self._picture_terms(batch, made) | self._network_terms(
      params, collections, batch, made
    )
    adversarial_ramp = base.ramp(step, self.settings.gan_ramp)
    ramps = {
      "sync": base.ramp(step, self.settings.sync_ramp),
      "gan": adversarial_ramp,
      "features": adversarial_ramp,
    }
    loss, means = base.weighted_sum(terms, self.weights, ramps)
    metrics = base.code_metrics({"speech": made.output.speech})
    return LossOut(loss, means | metrics, made.collections)

  def discriminator_loss(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Clip,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """Eq. 10's max over D, of true and generated frames."""
    del step
    made = self.forward.generate(params, collections, batch, key, train=True)
    return self.adversary.loss(
      params,
      collections,
      real=self._shown(made.true, made.identity),
      fake=self._shown(made.frames, made.identity),
    )

  def r1_loss(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Clip,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """R1 of the discriminator at true frames; see `gan.Adversary.r1_loss`."""
    del step
    true = as_frames(rearrange(batch.frames, "b t ... -> (b t) ..."))
    real = self._shown(true, as_frames(batch.identity))
    return self.adversary.r1_loss(params, collections, real, key)

  def sample_grids(
    self, params: Groups, collections: Groups, batch: batch_shapes.Clip
  ) -> dict[str, Array]:
    """Per clip: its true frames above ours; the identity picture in front."""
    no_draws = jax.random.key(0)
    made = self.forward.generate(
      params, collections, batch, no_draws, train=False
    )
    identity = made.identity[:, None]
    ours = jnp.concatenate([identity, made.output.frames], 1)
    true = jnp.concatenate([as_bytes(identity), batch.frames], 1)
    both = jnp.stack([true, as_bytes(ours)], 1)
    return {"windows": rearrange(both, "b r t h w c -> (b r) t h w c")}

  # --- terms ---------------------------------------------------------------

  def _picture_terms(self, batch: batch_shapes.Clip, made: Generated) -> Terms:
    """Terms on pixels, landmarks and the opening heard; all ours."""
    identity_landmarks = repeat(
      batch.identity_landmarks, "b k d -> (b t) k d", t=self.window
    )
    landmarks = rearrange(batch.landmarks, "b t k d -> (b t) k d")
    terms = picture_terms.of(
      made.frames,
      made.output.geometry,
      picture_terms.Truth(made.true, landmarks, identity_landmarks),
      self.settings.region,
    )
    return terms | {
      "opening": lambda: sync.mouth_opening_loss(
        made.output.opening, batch.landmarks
      ),
    }

  def _network_terms(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Clip,
    made: Generated,
  ) -> Terms:
    """Terms by which other networks judge, and what codes have in common."""
    fake: Any = None
    real: Any = None
    if self.adversarial:
      fake, real = (
        self.adversary.judge(
          params, collections, self._shown(frames, made.identity)
        )
        for frames in (made.frames, made.true)
      )
    return {
      # Eq. 11 and 12.
      "sync": lambda: self.sync_loss(
        params, collections, made.output.frames, batch
      ),
      # L_vgg of Eq. 13.
      "perceptual": lambda: self.perceptual_loss(
        params, collections, made.frames, made.true
      ),
      # Eq. 10's min over G.
      "gan": lambda: adversarial.generator(fake.logits),
      # Ours.
      "features": lambda: adversarial.feature_matching(
        jax.tree.leaves(real.features), jax.tree.leaves(fake.features)
      ),
      "covariance": lambda: disentangle.cross_correlation(
        made.emotion, made.output.speech.mean(1)
      ),
    }

  def sync_loss(
    self,
    params: Groups,
    collections: Groups,
    frames: Float[Array, "b t h w 3"],
    batch: batch_shapes.Clip,
  ) -> Float[Array, "b"]:
    """Eq. 11 at y = 1, mean over the whole windows of generated frames.

    The distance of Eq. 12 is to the sound, as its text says, or to the real
    frames, as it is printed (config.speak.sync_target).

    Args:
      params: Group "sync".
      collections: Of the same group.
      frames: Generated ones, in [-1, 1].
      batch: Their clips: sound, true frames and landmarks.
    """
    fps, context = self.config.data.fps, self.config.model.context
    window, step = window_frames(fps), spec.samples_per_frame(fps)

    def code(sense: str, x: Array) -> Array:
      return base.apply(
        self.nets.sync, "sync", params, collections, x, method=sense
      )

    losses = []
    for start in range(0, self.window - window + 1, window):
      at = slice(start, start + window)
      points = batch.landmarks[:, at]
      if self.settings.sync_target == "audio":
        first = round((context + start) * step)
        sound = batch.audio[:, first : first + round(window * step)]
        target = code("hear", as_audio(sound))
      else:
        true = as_frames(batch.frames)[:, at]
        target = code("see", self.mouths(true, points))
      lips = code("see", self.mouths(frames[:, at], points))
      losses.append(sync.sync_distance(target, lips))
    return jnp.stack(losses).mean(0)

  def mouths(
    self,
    frames: Float[Array, "b w h h 3"],
    landmarks: Float[Array, "b w 68 2"],
  ) -> Float[Array, "b w r s c"]:
    """Cuts what SyncNet sees out of a window of frames.

    Args:
      frames: In [-1, 1].
      landmarks: The true ones, in pixels: generated frames are to be as these
        are.
    """
    model = self.config.model
    if not model.lips:
      return frames[:, :, model.image // 2 :]
    cut = align.align_lips(
      rearrange(frames, "b w ... -> (b w) ..."),
      rearrange(landmarks, "b w ... -> (b w) ..."),
      model.lips,
      model.lips_square,
    )
    return rearrange(cut, "(b w) ... -> b w ...", w=frames.shape[1])

  def perceptual_loss(
    self,
    params: Groups,
    collections: Groups,
    frames: Float[Array, "n h w 3"],
    true: Float[Array, "n h w 3"],
  ) -> Float[Array, "n"]:
    """L_vgg of Eq. 13 on VGG's five maps; ours: on E_i's one map a stage."""
    if self.compares_by_vgg:
      ours, theirs = (
        base.apply(self.nets.vgg, "vgg", params, collections, x)
        for x in (frames, true)
      )
      return perceptual.feature_l1(ours, theirs)
    held = jax.lax.stop_gradient(params)
    ours, theirs = (
      base.apply(
        self.nets.encoders,
        "encoders",
        held,
        collections,
        x,
        method=lambda net, x: net.features(x).stages,
      )
      for x in (frames, true)
    )
    return perceptual.feature_l1(ours, theirs, [1 / len(ours)] * len(ours))

  def _shown(self, frames: Array, identity: Array) -> gan.Shown:
    """Frames beside their clips' identity pictures."""
    return gan.Shown(
      frames, repeat(identity, "b ... -> (b t) ...", t=self.window)
    )


def make(config: ConfigDict) -> Stage:
  """Makes the stage that trains "speak" (a discriminator, and the encoders).

  Public weights, where config.pretrained names them, are given as groups
  "vgg" (of L_vgg), "speech" (parts of E_a) and "resnet" (E_i, E_p, E_e).

  Raises:
    ValueError: see `SpeakLosses.of`.
  """
  settings, losses = config.speak, SpeakLosses.of(config)
  trains = (
    ("speak", "encoders") if losses.forward.trains_encoders else ("speak",)
  )
  stage = Stage(
    name="speak",
    init=losses.init,
    pretrained_from=_pretrained_from(losses),
    optims={"gen": _generator_optim(losses, trains)},
    phases=(Phase("gen", "gen", losses.generator_loss),),
    ema_groups=trains,
    ema_decay=settings.optim.ema,
    batch=batch_shapes.clips(config, settings.batch, settings.emotion_frames),
    microbatch=settings.microbatch,
    public=_public(losses),
    scaling=base.scaling(config),
    sample_grids=losses.sample_grids,
    weights=losses.weights,
    notes=losses.notes,
  )
  if not losses.adversarial:
    return stage
  return losses.adversary.join(stage, losses.discriminator_loss, losses.r1_loss)


def sampler(config: ConfigDict) -> Sampler:
  """Says how its batches are made: clips of config.model.frames frames."""
  settings, model = config.speak, config.model
  return Sampler(
    "clips",
    {
      "size": model.image,
      "frames": model.frames,
      "context": model.context,
      "emotion_frames": settings.emotion_frames,
      "identity_from": settings.identity_from,
      "same_session": settings.same_session,
    },
  )


def _check(config: ConfigDict) -> None:
  """Refuses what means nothing or does not go together.

  Raises:
    ValueError: naming the first; one line.
  """
  settings, model = config.speak, config.model
  window = window_frames(config.data.fps)
  if settings.weights.sync and model.frames < window:
    raise ValueError(
      f"config.model.frames = {model.frames}: SyncNet needs {window}"
    )
  if settings.stretch % model.frames and model.audio.front in WAVE_FRONTS:
    raise ValueError(
      f"config.speak.stretch = {settings.stretch} is no multiple of"
      f" config.model.frames = {model.frames}"
    )
  if settings.weights.features and not settings.weights.gan > 0:
    raise ValueError("config.speak.weights.features needs weights.gan > 0")
  if settings.encoders not in ENCODERS:
    raise ValueError(
      f"config.speak.encoders {settings.encoders!r} is not frozen, tuned or"
      " fresh"
    )
  if settings.sync_target not in SYNC_TARGETS:
    raise ValueError(
      f"config.speak.sync_target {settings.sync_target!r} is not audio or video"
    )
  emotion_input.side(config)


def _weights(config: ConfigDict) -> tuple[dict[str, float], tuple[str, ...]]:
  """The loss weights as they are used, and lines for the log."""
  asked = config.speak.weights.to_dict()
  on_encoders = asked.pop("perceptual_encoders")
  disabled = base.disabled_terms(config, config.speak.microbatch)
  features = f"VGG-19 of {config.pretrained.vgg}"
  if not config.pretrained.vgg:
    features = "identity encoder"
    asked["perceptual"] = on_encoders
    if config.model.ablate == "identity":
      disabled["perceptual"] = "there is no identity encoder to see with"
  used, notes = base.resolve_weights(asked, disabled)
  if used["perceptual"]:
    notes += (
      f"perceptual loss on the features of: {features}; weight"
      f" {used['perceptual']:g}",
    )
  return used, notes


def _pretrained_from(losses: SpeakLosses) -> dict[str, str]:
  """The stage that has trained each group before."""
  earlier = {"encoders": "irfd"} if losses.starts_from_irfd else {}
  if losses.weights["sync"]:
    earlier["sync"] = "syncnet"
  if losses.starts_from_irfd and not losses.settings.from_scratch:
    earlier["decoder"] = "irfd"  # a start for G_g; no group of this stage
  return earlier


def _public(losses: SpeakLosses) -> tuple[str, ...]:
  """Names of config.pretrained that the stage can start from."""
  names = ["speech"]
  if not losses.starts_from_irfd:
    names.append("resnet")
  if losses.settings.weights.perceptual:  # as VGG sees it, if there is one
    names.append("vgg")
  return tuple(names)


def _generator_optim(losses: SpeakLosses, trains: tuple[str, ...]) -> Optim:
  """Adam; a waveform front, which was trained before, learns in its own way."""
  settings = losses.settings
  factors, momenta = {}, {}
  if losses.hears_waveform:
    factors[FRONT] = settings.speech.lr_factor
    momenta[FRONT] = settings.speech.b1
  return optimizers.adam(
    trains,
    settings.optim,
    settings.steps,
    factors | settings.lr_factors.to_dict(),
    momenta,
  )


TRAINING = Training(
  stages={
    "syncnet": Row(syncnet.make, ("sync",), syncnet.sampler),
    "irfd": Row(irfd.make, ("encoders", "decoder"), irfd.sampler),
    "speak": Row(make, ("encoders", "speak"), sampler, hears=True),
    "motion": Row(motion.make, ("motion",), motion.sampler),
  },
  later=LATER,
  model_of={"audio": "speak"},
)
