"""Wav2Lip's two stages: a sync expert, and the generator that it judges.

Both learn from stretches of a clip and five more frames of it: for the expert
these are a moment that does not match the sound, for the generator the
reference. Faces are cut out by their landmarks on the device. The losses
are methods and can be called alone.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jaxtyping import Array, Float, Int, Int16, PRNGKeyArray, Shaped, UInt8
from ml_collections import ConfigDict

from speak_jax import spec
from speak_jax.losses import adversarial, sync
from speak_jax.models.wav2lip import (
  BANDS,
  FRAMES,
  STEPS,
  STRIDE,
  Critic,
  Generator,
  SyncExpert,
)
from speak_jax.nn import lip_mel
from speak_jax.nn.pixels import as_audio, as_bytes
from speak_jax.nn.warp import sample
from speak_jax.stages import base, batch_shapes, gate, init, optimizers, rules
from speak_jax.stages.base import (
  Group,
  Groups,
  LossOut,
  Phase,
  Row,
  Sampler,
  Stage,
  Training,
)

SYNC, PAINT = "wav2lip_sync", "wav2lip"  # the stages
# The groups; public weights of the first three are called so too.
GENERATOR, EXPERT = "wav2lip_generator", "wav2lip_expert"
CRITIC, GATE = "wav2lip_critic", "wav2lip_gate"

FRAME = round(spec.samples_per_frame(rules.FPS))  # samples
HEARD = STEPS * lip_mel.HOP  # samples that a spectrum covers: five frames
# Samples round those which its first and its last step look at too.
ROUND = lip_mel.WINDOW // 2
# Whole frames are so many times as large as the faces that are cut from them.
WHOLE = 2
# A face reaches so far above and below its nose's lower end, of what lies
# between that and the brows: to a chin that has come down.
REACH = 1.25


class Faces(NamedTuple):
  """A batch as the generator takes it; time is folded into the first axis."""

  true: Float[Array, "bt s s 3"]
  reference: Float[Array, "bt s s 3"]
  mel: Float[Array, "bt 80 16"]  # what each frame hears
  window: Float[Array, "b 80 16"]  # what all five hear


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


def face_boxes(landmarks: Float[Any, "*b 68 2"]) -> Float[Any, "*b 4"]:
  """Left, top, right, bottom of faces, in the landmarks' pixels.

  They hang by brows, nose and the width of the jaw, and halves meet under the
  nose. A box round all points would go down with the chin, and show in the
  upper half how open a mouth is.

  Args:
    landmarks: Of NumPy or of JAX, as is what comes back.
  """
  x, y = landmarks[..., 0], landmarks[..., 1]
  # All but the mouth, so that a profile's nose is in it too.
  wide = x[..., : spec.MOUTH.start]
  brows = y[..., spec.BROWS.start : spec.MOUTH.start].min(-1)
  nose = y[..., spec.NOSE].max(-1)
  reach = REACH * (nose - brows)
  xp = jnp if isinstance(landmarks, Array) else np
  return xp.stack([wide.min(-1), nose - reach, wide.max(-1), nose + reach], -1)


def cut(
  frames: UInt8[Array, "n h w 3"], boxes: Float[Array, "n 4"], size: int
) -> Float[Array, "n s s 3"]:
  """Faces as the networks take them: blue, green, red in [0, 1].

  Args:
    frames: RGB, `WHOLE` * size px, from which nothing is lost then.
    boxes: In pixels of those.
    size: Of a face in pixels.
  """
  low, high = jnp.split(boxes.astype(jnp.float32), 2, -1)
  share = (jnp.arange(size) + 0.5) / size
  x, y = jnp.moveaxis(
    low[:, None] + share[:, None] * (high - low)[:, None], -1, 0
  )
  grid = (len(boxes), size, size)
  x = jnp.broadcast_to(x[:, None], grid)
  y = jnp.broadcast_to(y[:, :, None], grid)
  return sample(frames.astype(jnp.float32) / 255, x, y)[..., ::-1]


def hidden(faces: Float[Array, "n s s 3"]) -> Float[Array, "n s s 3"]:
  """Faces with nothing in their lower halves."""
  upper = jnp.arange(faces.shape[1]) < faces.shape[1] // 2
  return faces * upper[:, None, None]


def below(faces: Float[Array, "n s s 3"]) -> Float[Array, "n s/2 s 3"]:
  """The lower halves of faces."""
  return faces[:, faces.shape[1] // 2 :]


def as_rgb(faces: Float[Array, "*n h w 3"]) -> UInt8[Array, "*n h w 3"]:
  """Faces as bytes in the order of all other pictures."""
  return as_bytes(2 * faces[..., ::-1] - 1)


def sounds(
  audio: Shaped[Any, "*b s"], starts: Int[np.ndarray, "t"]
) -> Int16[Any, "*b t n"]:
  """Cuts the sound of windows out, with what their spectra look at beside.

  Args:
    audio: Samples of NumPy or of JAX.
    starts: First samples of the windows, none nearer to an end than `ROUND`.
  """
  return audio[..., starts[:, None] + np.arange(-ROUND, HEARD + ROUND)]


def spectra(cuts: Int16[Array, "n s"]) -> Float[Array, "n 80 16"]:
  """What is heard in windows that `sounds` has cut."""
  edge = ROUND // lip_mel.HOP  # steps
  heard = lip_mel.lip_mel(as_audio(cuts))[:, edge : edge + STEPS]
  return rearrange(heard, "n t m -> n m t")


def first_heard(config: ConfigDict, training: bool) -> int:
  """Where the five frames begin that a frame hears, counted from itself.

  Two frames before it, so that it is in their middle. The public code counts
  from 1 where it learns and from 0 where it is used, so that mouths lead by a
  frame.
  """
  if config.model.released_offset:
    return -1 if training else 0
  return -(FRAMES // 2)


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
    faces = below(cut(_folded(pictures), face_boxes(_folded(points)), size))
    faces = rearrange(faces, "(b t) h w c -> b t h w c", b=len(pictures))
    # The one that is apart stands behind the stretch.
    starts = np.append(starts, batch.frames.shape[1])
    faces = faces[:, starts[:, None] + np.arange(FRAMES)]
    first = FRAME * (self.config.model.context + starts[:-1])
    ((seen, heard), changed) = base.apply(
      self.net,
      EXPERT,
      params,
      collections,
      rearrange(faces, "b n t h w c -> (b n) h w (t c)"),
      spectra(_folded(sounds(batch.audio, first))),
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
    first = model.context + first_heard(self.config, True)
    starts = FRAME * (first + np.arange(FRAMES))
    true, reference = (
      cut(_folded(frames), face_boxes(_folded(points)), model.image)
      for frames, points in (
        (batch.frames, batch.landmarks),
        (batch.others, batch.other_landmarks),
      )
    )
    mel = spectra(_folded(sounds(batch.audio, starts)))
    return Faces(true, reference, mel, _window(self.config, batch))

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
        "l1": lambda: jnp.abs(made - faces.true).mean((1, 2, 3)),
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


def expert(config: ConfigDict) -> SyncExpert:
  """Builds the expert; it holds no parameters."""
  return SyncExpert(
    config.model.image, 2 * config.model.width, base.dtype(config)
  )


def critic(config: ConfigDict) -> Critic:
  """Builds the critic; it holds no parameters."""
  return Critic(config.model.image, 2 * config.model.width, base.dtype(config))


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


def _folded(x: Shaped[Array, "b t ..."]) -> Shaped[Array, "bt ..."]:
  return rearrange(x, "b t ... -> (b t) ...")


def _window(
  config: ConfigDict, batch: batch_shapes.Stretch
) -> Float[Array, "b 80 16"]:
  """What is heard during a stretch."""
  starts = np.array([FRAME * config.model.context])
  return spectra(_folded(sounds(batch.audio, starts)))


def _batch(
  config: ConfigDict, count: int, frames: int = FRAMES
) -> batch_shapes.Stretch:
  side = WHOLE * config.model.image
  return batch_shapes.stretches_of(
    config, count, frames, config.model.context, FRAMES
  )._replace(
    frames=batch_shapes.uint8(count, frames, side, side, 3),
    others=batch_shapes.uint8(count, FRAMES, side, side, 3),
  )


def _frames(config: ConfigDict) -> int:
  """Of a stretch that the expert sees: all its moments."""
  settings = config[SYNC]
  return FRAMES + settings.apart * (settings.moments - 1)


def make_sync(config: ConfigDict) -> Stage:
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
    batch=_batch(config, settings.batch, _frames(config)),
    microbatch=settings.microbatch,
    scaling=base.scaling(config),
    sample_grids=losses.sample_grids,
    weights=losses.weights,
    notes=losses.notes,
  )


def make_paint(config: ConfigDict) -> Stage:
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
    batch=_batch(config, settings.batch),
    microbatch=settings.microbatch,
    scaling=base.scaling(config),
    sample_grids=losses.sample_grids,
    weights=losses.weights,
    notes=losses.notes,
  )


def _sampler(config: ConfigDict, stage: str, frames: int) -> Sampler:
  """Says how batches are made: stretches, and five more frames of the clip."""
  model = config.model
  return Sampler(
    "stretches",
    {
      "size": WHOLE * model.image,
      "frames": frames,
      "context": model.context,
      "others": FRAMES,
      "apart": config[stage].apart,
    },
  )


def sync_sampler(config: ConfigDict) -> Sampler:
  """Says how the expert's batches are made."""
  return _sampler(config, SYNC, _frames(config))


def paint_sampler(config: ConfigDict) -> Sampler:
  """Says how the generator's batches are made."""
  return _sampler(config, PAINT, FRAMES)


TRAINING = Training(
  stages={
    SYNC: Row(make_sync, (EXPERT,), sync_sampler),
    PAINT: Row(make_paint, (GENERATOR,), paint_sampler),
  },
  rules=(
    ("data.fps", rules.AT_25),
    (
      "model.image",
      rules.Rule(
        f"a multiple of {STRIDE} from {STRIDE} on",
        lambda x: isinstance(x, int) and x >= STRIDE and x % STRIDE == 0,
      ),
    ),
    ("model.frames", rules.whole(FRAMES, FRAMES)),
    # A frame hears five, which begin two before it or one after the next.
    ("model.context", rules.whole(FRAMES)),
    ("model.width", rules.SOME),
    ("model.skips", rules.SWITCH),
    ("model.released_offset", rules.SWITCH),
    ("model.feather", rules.FROM_0),
    (
      "pretrained.required",
      rules.each(rules.one_of(GENERATOR, EXPERT, CRITIC)),
    ),
    (f"{SYNC}.apart", rules.SOME),
    (f"{SYNC}.moments", rules.SOME),
    (f"{SYNC}.temperature", rules.POSITIVE),
    (f"{PAINT}.apart", rules.ANY),
    (f"{PAINT}.batch_statistics", rules.SWITCH),
    (f"{PAINT}.gate.threshold", rules.POSITIVE),
    (f"{PAINT}.gate.steps", rules.SOME),
  ),
)
