"""Stage 3: the whole system, from a portrait and sound to talking frames.

SyncNet is frozen, the encoders are unless the config says otherwise; G_g
starts from stage 2's G_d unless the config says otherwise.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange, repeat
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from speak_jax import spec
from speak_jax.losses import (
  adversarial,
  disentangle,
  flow,
  perceptual,
  pixel,
  sync,
)
from speak_jax.models.audio import WAVE_FRONTS
from speak_jax.models.speak import Output, warm_start
from speak_jax.nn import align, treat
from speak_jax.stages import base, critic
from speak_jax.stages.base import LossOut, Phase, Stage
from speak_jax.stages.syncnet import WINDOW_S, frames_of, window_shape

FRONT = "speak/audio/front"  # path of what hears the waveform


class Made(NamedTuple):
  """What the networks make of a batch of b clips of t frames."""

  out: Output
  shape: Any  # `models.geometry.Shape` of every frame; None without
  emotion: Float[Array, "b e"]
  identity: Float[Array, "b h w 3"]
  true: Float[Array, "n h w 3"]  # n = b t
  changed: Any  # the encoders' collections


def make(config: ConfigDict) -> Stage:
  """The stage that trains "speak" (a discriminator, and the encoders).

  Public weights, where config.pretrained names them, are given as groups
  "vgg" (of L_vgg), "speech" (parts of E_a) and "resnet" (E_i, E_p, E_e).

  Raises:
    ValueError: a window of frames shorter than SyncNet's, or an unknown word
      in config.speak.
  """
  settings, model = config.speak, config.model
  weights = settings.weights.to_dict()
  flowing = base.flows(config)
  weights |= base.unsupervised(config)
  notes = base.few_notes(weights, settings.microbatch)
  fps, how = config.data.fps, config.data.augment
  window = frames_of(fps)
  if weights["sync"] and model.frames < window:
    raise ValueError(
      f"config.model.frames = {model.frames}: SyncNet needs {window}"
    )
  waves = model.audio.front in WAVE_FRONTS
  if settings.stretch % model.frames and waves:
    raise ValueError(
      f"config.speak.stretch = {settings.stretch} is no multiple of"
      f" config.model.frames = {model.frames}"
    )
  nets, size, t = base.networks(config), model.image, model.frames
  base.face_side(config)  # refuses an unknown word
  samples = round((t + 2 * model.context) * spec.samples_per_frame(fps))
  batch = _batch(settings.batch, t, size, settings.emotion_frames, samples)
  adversary = weights["gan"] > 0
  if weights["features"] and not adversary:
    raise ValueError("config.speak.weights.features needs weights.gan > 0")
  # What L_vgg compares, and how much that weighs.
  seen = "vgg" if config.pretrained.vgg else "encoders"
  on_encoders = weights.pop("perceptual_encoders")
  perceives = weights["perceptual"] != 0  # as VGG does, if there is one
  if seen == "encoders":
    weights["perceptual"] = on_encoders
  if settings.encoders not in ("frozen", "tuned", "fresh"):
    raise ValueError(
      f"config.speak.encoders {settings.encoders!r} is not frozen, tuned or"
      " fresh"
    )
  if settings.sync_target not in ("audio", "video"):
    raise ValueError(
      f"config.speak.sync_target {settings.sync_target!r} is not audio or video"
    )
  if seen == "encoders" and model.ablate == "identity":
    weights["perceptual"] = 0.0  # no E_i to see with
  learning = settings.encoders != "frozen"
  fresh = settings.encoders == "fresh"
  takes = {} if fresh else {"encoders": "irfd"}
  public = ["speech", *["resnet"] * fresh]
  if perceives:
    public.append("vgg")
  if weights["sync"]:
    takes["sync"] = "syncnet"
  if not settings.from_scratch and not fresh:
    takes["decoder"] = "irfd"  # a start for G_g; no group of this stage

  def init(seed, given):
    groups = {}
    groups["encoders"], portrait, codes = base.initialise_encoders(
      config, seed, given
    )
    pose = base.struct((2, t, codes.pose.shape[-1]))
    sound = base.struct((2, samples)), base.struct((2, spec.LEVEL))
    if "speak" in given:
      params, extra = given["speak"]
    else:
      params, extra = base.initialise(
        nets.speak, seed, "speak", portrait, pose, codes.emotion, *sound
      )
      if "decoder" in given:
        params = warm_start(given["decoder"][0], params).params
      if "speech" in given:
        audio = {**params["audio"], **given["speech"][0]}
        params = {**params, "audio": audio}
    groups["speak"] = params, extra
    frame = base.struct((2, size, size, 3))
    if weights["sync"]:
      groups["sync"] = given.get("sync") or base.initialise(
        nets.sync,
        seed,
        "sync",
        base.struct((2, *window_shape(config))),
        base.struct((2, round(WINDOW_S * spec.SAMPLE_RATE_HZ))),
      )
    if weights["perceptual"] and seen == "vgg":
      groups["vgg"] = given.get("vgg") or base.initialise(
        nets.vgg, seed, "vgg", frame
      )
    if adversary:
      groups["discriminator"] = base.initialise(
        nets.discriminator, seed, "discriminator", frame, frame
      )
    return (
      {name: params for name, (params, _) in groups.items()},
      {name: extra for name, (_, extra) in groups.items()},
    )

  def apply(net, name, params, vars, *args, **kwargs) -> Any:
    return net.apply({"params": params[name], **vars[name]}, *args, **kwargs)

  def treated(batch, frames, felt, points, key) -> tuple[Array, Array]:
    """What E_p and E_e see, as config.data.augment has it.

    The sampler has found who lends a mouth.
    """
    pose_key, emotion_key = jax.random.split(key)
    driving = treat.pose(
      rearrange(frames, "(b t) ... -> b t ...", t=t),
      batch.landmarks,
      treat.Lender(base.as_frames(batch.donor), batch.donor_landmarks),
      pose_key,
      colours=how.pose,
      most=how.stretch,
    )
    faces = base.treated_faces(config, felt, points, emotion_key)
    return rearrange(driving, "b t ... -> (b t) ..."), faces

  def generate(params, vars, batch, key) -> Made:
    """Runs every network but the critics.

    Without a key, as when a video is generated: without noise, and from
    pictures as they are.
    """
    train = key is not None
    identity = base.as_frames(batch.identity)
    frames = base.as_frames(rearrange(batch.frames, "b t ... -> (b t) ..."))
    felt = base.as_frames(rearrange(batch.emotion, "b k ... -> (b k) ..."))
    points = rearrange(batch.emotion_landmarks, "b k ... -> (b k) ...")
    if train:
      key, treat_key = jax.random.split(key)
      driving, faces = treated(batch, frames, felt, points, treat_key)
    else:
      driving, faces = frames, base.faces(config, felt, points)

    def encode(net, identity, landmarks, driving, faces):
      learns = learning and train
      portrait = net.portrait(identity, landmarks, learns)
      return portrait, net.pose(driving, learns), net.emotion(faces, learns)

    (portrait, pose, emotion), changed = apply(
      nets.encoders,
      "encoders",
      params,
      vars,
      identity,
      batch.identity_landmarks,
      driving,
      faces,
      method=encode,
      mutable=list(vars["encoders"]),
    )
    k = batch.emotion.shape[1]
    emotion = rearrange(emotion, "(b k) d -> b k d", k=k).mean(1)
    out, kept = apply(
      nets.speak,
      "speak",
      params,
      vars,
      portrait,
      rearrange(pose, "(b t) d -> b t d", t=t),
      emotion,
      base.as_audio(batch.audio),
      batch.level,
      train=train,
      rngs={"noise": key} if train else None,
      mutable=["intermediates"],
    )
    shape = kept["intermediates"]["generator"]["shape"][0] if flowing else None
    return Made(out, shape, emotion, identity, frames, dict(changed))

  def judge(params, vars, frames, condition) -> Any:
    condition = repeat(condition, "b ... -> (b t) ...", t=t)
    return apply(
      nets.discriminator, "discriminator", params, vars, frames, condition
    )

  def features(params, vars, frames) -> tuple[Array, ...]:
    """What L_vgg compares: VGG's five maps, or E_i's one map a stage."""
    if seen == "vgg":
      return apply(nets.vgg, "vgg", params, vars, frames)
    frozen = jax.lax.stop_gradient(params)
    return apply(
      nets.encoders,
      "encoders",
      frozen,
      vars,
      frames,
      method=lambda net, x: net.features(x).stages,
    )

  def perceive(params, vars, made, true) -> Float[Array, "b"]:
    pred, target = (features(params, vars, x) for x in (made, true))
    if seen == "vgg":
      return perceptual.feature_l1(pred, target)
    even = [1 / len(pred)] * len(pred)
    return perceptual.feature_l1(pred, target, even)

  def mouths(frames, batch, at) -> Float[Array, "b w r s c"]:
    """What SyncNet sees of a window of frames.

    Aligned by the true landmarks: generated frames are to be as these are.
    """
    frames = frames[:, at]
    if not model.lips:
      return frames[:, :, size // 2 :]
    cut = align.align_lips(
      rearrange(frames, "b t ... -> (b t) ..."),
      rearrange(batch.landmarks[:, at], "b t ... -> (b t) ..."),
      model.lips,
      model.lips_square,
    )
    return rearrange(cut, "(b t) ... -> b t ...", t=window)

  def lips(params, vars, made, batch) -> Float[Array, "n"]:
    """Eq. 11 at y = 1 for every whole window of generated frames.

    The distance of Eq. 12 is to the sound, as its text says, or to the real
    frames, as it is printed.
    """
    step = spec.samples_per_frame(fps)

    def code(sense, x):
      return apply(nets.sync, "sync", params, vars, x, method=sense)

    losses = []
    for start in range(0, t - window + 1, window):
      first = round((model.context + start) * step)
      sound = batch.audio[:, first : first + round(window * step)]
      at = slice(start, start + window)
      if settings.sync_target == "audio":
        target = code("hear", base.as_audio(sound))
      else:
        target = code("see", mouths(base.as_frames(batch.frames), batch, at))
      losses.append(sync.match(target, code("see", mouths(made, batch, at))))
    return jnp.stack(losses).mean(0)

  def g_loss(params, vars, batch, step, key) -> LossOut:
    out, shape, emotion, identity, true, changed = generate(
      params, vars, batch, key
    )
    made = rearrange(out.frames, "b t h w c -> (b t) h w c")
    points = rearrange(batch.landmarks, "b t k d -> (b t) k d")
    weight = pixel.region_weight(points, size, **settings.region)
    fake: Any = None
    real: Any = None
    if adversary:
      fake = judge(params, vars, made, identity)
      real = judge(params, vars, true, identity)
    terms = {
      "pixel": lambda: pixel.pyramid_l1(made, true, weight),
      "gradient": lambda: pixel.gradient_l1(made, true, weight),
      "structure": lambda: pixel.dissimilarity(made, true),
      "flow": lambda: base.misplaced(
        shape,
        repeat(batch.identity_landmarks, "b k d -> (b t) k d", t=t),
        points,
        size,
      ),
      "expression": lambda: flow.expression_error(
        shape.landmarks, points, size
      ),
      "mouth_box": lambda: pixel.mouth_box_l1(made, true, points),
      "opening": lambda: sync.opening(out.opening, batch.landmarks),
      "sync": lambda: lips(params, vars, out.frames, batch),
      "perceptual": lambda: perceive(params, vars, made, true),
      "gan": lambda: adversarial.generator(fake.logits),
      "features": lambda: adversarial.feature_matching(
        jax.tree.leaves(real.features), jax.tree.leaves(fake.features)
      ),
      "covariance": lambda: disentangle.cross_correlation(
        emotion, out.speech.mean(1)
      ),
    }
    rising = base.ramp(step, settings.gan_ramp)
    ramps = {
      "sync": base.ramp(step, settings.sync_ramp),
      "gan": rising,
      "features": rising,
    }
    used = base.comparing(weights, len(batch.identity))
    loss, metrics = base.total(terms, used, ramps)
    metrics |= base.spreads({"speech": out.speech})
    return LossOut(loss, metrics, {"encoders": changed} if learning else {})

  def d_loss(params, vars, batch, step, key) -> LossOut:
    del step
    out, _, _, identity, true, _ = generate(params, vars, batch, key)
    made = rearrange(out.frames, "b t h w c -> (b t) h w c")
    fake = judge(params, vars, jax.lax.stop_gradient(made), identity)
    real = judge(params, vars, true, identity)
    loss = adversarial.discriminator(real.logits, fake.logits).mean()
    return LossOut(loss, {}, {})

  def r1_loss(params, vars, batch, step, key) -> LossOut:
    del step
    wide = nets.discriminator.clone(dtype=jnp.float32)
    condition = repeat(
      base.as_frames(batch.identity), "b ... -> (b t) ...", t=t
    )
    penalty = adversarial.r1(
      lambda frames: (
        apply(wide, "discriminator", params, vars, frames, condition).logits
      ),
      base.as_frames(rearrange(batch.frames, "b t ... -> (b t) ...")),
      key,
    ).mean()
    return LossOut(critic.lazy(settings) * penalty, {"r1": penalty}, {})

  def inspect(params, vars, batch):
    """Per clip: its true frames above ours; the identity picture in front."""
    out, _, _, identity, _, _ = generate(params, vars, batch, None)
    ours = jnp.concatenate([identity[:, None], out.frames], 1)
    true = jnp.concatenate([base.as_bytes(identity)[:, None], batch.frames], 1)
    both = jnp.stack([true, base.as_bytes(ours)], 1)
    return {"windows": rearrange(both, "b r t h w c -> (b r) t h w c")}

  trains = ("speak", "encoders") if learning else ("speak",)
  phases = [Phase("gen", "gen", g_loss)]
  # A waveform front has been trained before.
  slow = {FRONT: settings.speech.lr_factor} if waves else {}
  steady = {FRONT: settings.speech.b1} if waves else {}
  optims = {
    "gen": base.adam(
      trains,
      settings.optim,
      settings.steps,
      slow | settings.lr_factors.to_dict(),
      steady,
    )
  }
  if adversary:
    phases = [*critic.phases(settings, d_loss, r1_loss), *phases]
    optims["disc"] = critic.optim(settings)
  if weights["perceptual"]:
    what = (
      f"VGG-19 of {config.pretrained.vgg}"
      if seen == "vgg"
      else "identity encoder"
    )
    notes.append(
      f"perceptual loss on the features of: {what}; weight"
      f" {weights['perceptual']:g}"
    )
  return Stage(
    name="speak",
    init=init,
    takes=takes,
    optims=optims,
    phases=tuple(phases),
    averaged=trains,
    decay=settings.optim.ema,
    batch=batch,
    microbatch=settings.microbatch,
    public=tuple(public),
    scaling=base.scaling(config),
    inspect=inspect,
    notes=tuple(notes),
  )


def _batch(n: int, t: int, size: int, k: int, samples: int) -> Any:
  """A batch's shapes."""

  def u8(*shape) -> Any:
    return base.struct((n, *shape), jnp.uint8)

  def f32(*shape) -> Any:
    return base.struct((n, *shape))

  return spec.Clip(
    identity=u8(size, size, 3),
    identity_landmarks=f32(68, 2),
    frames=u8(t, size, size, 3),
    landmarks=f32(t, 68, 2),
    pose=f32(t, 3),
    audio=base.struct((n, samples), jnp.int16),
    level=f32(spec.LEVEL),
    emotion=u8(k, size, size, 3),
    emotion_landmarks=f32(k, 68, 2),
    emotion_label=base.struct((n,), jnp.int32),
    donor=u8(*[spec.donor_side(size)] * 2, 3),
    donor_landmarks=f32(68, 2),
  )
