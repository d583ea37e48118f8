"""SPEAK (arXiv 2405.07257): SyncNet, then IRFD, then the whole system.

  python -m speak_jax.train --config configs/speak.py[:preset[,key=value]]

Presets differ in sizes and, for `paper`, in the losses' weights. `robust`
losses are the default; `paper` is the paper to the letter.
"""

from ml_collections import ConfigDict

from speak_jax.configs import common

PRESETS = ("base256", "paper", "small64", "demo", "photo")

# Steps of a waveform front's transformer, and what its sound is normalised by;
# see models/audio.py. The mel front end has no use for either.
_HEARS = {"steps": "published", "level": "clip"}
_HEARS_MEL = {"steps": "frame", "level": "window"}

# Every size that a preset chooses. Channels are by resolution, coarse to fine.
SIZES = {
  "base256": dict(
    image=256,
    codes=dict(identity=512, pose=12, emotion=64, mouth=32),
    encoder=dict(stages=(3, 4, 6, 3), width=64, bottleneck=True, stem="deep"),
    channels={4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64},
    latent=512,
    maps=(16, 32, 64, 256),
    audio=dict(
      front="waveform", width=768, layers=12, heads=12, out=512, **_HEARS
    ),
    discriminator=dict(width=64, scales=3, layers=3),
    sync=dict(width=64, out=512),
    lips=96,
    # Of 8 devices with 80 GB each: SyncNet's windows are small, an IRFD pair
    # keeps at most 1.75 GB for its backward pass (with swaps and a
    # discriminator) and a SPEAK clip 4.5 GB, in float32, beside 4 GB of state.
    # One such device takes 8 turns.
    batch=dict(sync=256, irfd=256, speak=64),
    microbatch=dict(sync=32, irfd=32, speak=8),
    frames=5,
    # 1.6 s of sound on each side; the transformer's positions hear 1.28 s.
    context=40,
    steps=dict(sync=50_000, irfd=200_000, speak=400_000),
  ),
  "small64": dict(
    image=64,
    codes=dict(identity=128, pose=6, emotion=16, mouth=8),
    encoder=dict(stages=(1, 1, 1), width=32, bottleneck=False, stem="small"),
    channels={8: 128, 16: 96, 32: 64, 64: 32},
    latent=128,
    maps=(8, 16, 32, 64),
    audio=dict(
      front="mel", width=128, layers=2, heads=4, out=128, **_HEARS_MEL
    ),
    discriminator=dict(width=32, scales=2, layers=2),
    sync=dict(width=24, out=128),
    lips=0,  # as the shipped reference model has it, to go on from
    batch=dict(sync=16, irfd=16, speak=6),
    microbatch=dict(sync=16, irfd=16, speak=6),
    frames=5,
    context=5,
    steps=dict(sync=2_500, irfd=7_000, speak=6_000),
  ),
  "demo": dict(
    image=64,
    codes=dict(identity=128, pose=6, emotion=16, mouth=8),
    encoder=dict(stages=(1, 1, 1), width=24, bottleneck=False, stem="small"),
    channels={8: 96, 16: 64, 32: 40, 64: 20},
    latent=128,
    maps=(8, 16, 32, 64),
    audio=dict(front="mel", width=96, layers=1, heads=4, out=96, **_HEARS_MEL),
    discriminator=dict(width=16, scales=1, layers=2),
    sync=dict(width=16, out=128),
    lips=48,
    batch=dict(sync=16, irfd=16, speak=5),
    microbatch=dict(sync=16, irfd=16, speak=5),
    frames=5,
    context=5,
    steps=dict(sync=300, irfd=600, speak=500),
  ),
}

_SIZED_AS = {"paper": "base256", "photo": "small64"}

_AS_THEY_ARE = {  # SyncNet's pictures
  "model.sync_motion": False,
  "syncnet.augment.shift": 0.0,
  "syncnet.augment.scale": 0.0,
  "syncnet.augment.stretch": 0.0,
  "syncnet.augment.shear": 0.0,
  "syncnet.augment.turn": 0.0,
  "syncnet.augment.elastic": 0.0,
  "syncnet.augment.colour": 0.0,
  "syncnet.augment.mirror": False,
  "syncnet.augment.blur": 0.0,
  "syncnet.augment.gamma": 0.0,
  "syncnet.augment.light": 0.0,
}
# Adam at a constant 1e-4 and no more: all that the paper says of training.
_PLAIN_ADAM = {
  "lr": 1e-4,
  "warmup": 0,
  "floor": 1.0,
  "b1": 0.9,
  "b2": 0.999,
  "clip": 0.0,
  "ema": 0.0,
}
# What a preset changes beside its sizes, by dotted key. `base256` is the
# default below; `paper` is the paper to the letter: Eq. 1-13, its inputs, Adam.
RECIPES = {
  "base256": {},
  "paper": {
    **{
      f"{stage}.{key}": value
      for stage in (
        "syncnet.optim",
        "irfd.optim",
        "irfd.discriminator",
        "speak.optim",
        "speak.discriminator",
      )
      for key, value in _PLAIN_ADAM.items()
      if key != "ema" or stage.endswith("optim")
    },
    **_AS_THEY_ARE,
    "model.lips": 0,  # lower halves of whole frames
    "model.bare_codes": True,
    "model.codes.identity": 2048,
    "model.codes.pose": 2048,
    "model.codes.emotion": 2048,
    "model.maps": (),
    "model.flow": False,
    "model.landmarks": False,
    "model.pose_spatial_channels": 0,
    "model.appearance": 0,
    "model.codes.mouth": 0,  # no slot for the lips in the paper's IRFD
    "model.emotion_input": "frame",
    "model.norm": "batch",  # ResNet-50 as published
    "model.up": "transposed",
    "model.frames": 6,  # SyncNet's 0.2 s
    # FaceFormer hears the whole utterance, at the frame rate; so the window
    # reaches as far as its positions do: 64 steps on each side.
    "model.audio.steps": "frame",
    "model.context": 64,
    "pretrained.required": ("speech", "vgg"),
    "speak.speech.lr_factor": 1.0,  # one rate for all
    "speak.stretch": 150,
    "data.fps": 30.0,
    "data.augment.pose": False,
    "data.augment.stretch": 0.0,
    "data.augment.emotion": False,
    "data.augment.emotion_clip": 0.0,
    "syncnet.loss": "contrastive",
    "syncnet.reach": 2.0,  # how far Chung and Zisserman shift
    "model.sync_unit": False,  # as theirs
    "irfd.losses": "paper",
    "irfd.norms": "sum",
    "irfd.unit_identity": False,
    "irfd.drop_maps": 0.0,
    "irfd.pairs": "self",
    "irfd.weights.pixel": 0.0,
    "irfd.weights.gradient": 0.0,
    "irfd.weights.structure": 0.0,
    "irfd.weights.flow": 0.0,
    "irfd.weights.expression": 0.0,
    "irfd.weights.mouth_box": 0.0,
    "irfd.weights.appearance": 0.0,
    "irfd.weights.self": 1.0,
    "irfd.weights.classify": 1.0,
    "irfd.weights.angles": 0.0,
    "irfd.weights.swap_pose": 1.0,
    "irfd.weights.swap_emotion": 1.0,
    "irfd.weights.swap_identity": 1.0,
    "irfd.weights.gan": 0.0,
    "irfd.weights.covariance": 0.0,
    "irfd.weights.variance": 0.0,
    "irfd.label_smoothing": 0.0,
    "speak.from_scratch": True,  # the paper drops G_d after stage 2
    "speak.identity_from": "same_clip",  # I and R are one video's there
    "speak.weights.pixel": 0.0,
    "speak.weights.gradient": 0.0,
    "speak.weights.structure": 0.0,
    "speak.weights.flow": 0.0,
    "speak.weights.expression": 0.0,
    "speak.weights.mouth_box": 0.0,
    "speak.weights.opening": 0.0,
    "speak.weights.sync": 1.0,
    "speak.weights.perceptual": 1.0,
    "speak.weights.perceptual_encoders": 0.0,  # VGG-19 or nothing
    "speak.weights.gan": 1.0,
    "speak.weights.features": 0.0,
    "speak.weights.covariance": 0.0,
    "speak.sync_ramp": (0, 0),
    "speak.gan_ramp": (0, 0),
  },
  # The reference model's: two hours on two CPU cores. No GAN, which would
  # more than double a step.
  "small64": {
    **_AS_THEY_ARE,
    "syncnet.optim.lr": 1e-3,
    "irfd.optim.lr": 1.5e-3,
    "irfd.optim.warmup": 200,
    "irfd.optim.ema": 0.99,
    # At .1 the identity code came to be the same for everybody (std .10): the
    # maps say all of it, so they are hidden in half of the examples; and the
    # covariance loss of then paid for shrinking codes.
    "irfd.weights.variance": 1.0,
    "irfd.drop_maps": 0.5,
    "speak.optim.lr": 1e-3,
    "speak.optim.warmup": 200,
    "speak.optim.ema": 0.99,
    "speak.weights.perceptual": 0.0,
    "speak.weights.perceptual_encoders": 0.0,
    "speak.weights.gan": 0.0,
    "speak.weights.features": 0.0,
    "speak.weights.sync": 0.03,
    "speak.sync_ramp": (2_000, 4_000),
    "train.save_every": 500,
    "train.sheet_every": 500,
    "train.video_every": 2_000,
    "train.collapse_after": 600,
    "data.synthetic.size": 96,
    "data.synthetic.identities": 800,
    "data.synthetic.held_out": 24,
    "data.synthetic.framing": "medium",
  },
  # What moves a photograph: half an hour on two CPU cores; no picture is drawn.
  "photo": {
    "stages": ("motion",),
    "train.save_every": 1_000,
    "train.sheet_every": 1_000,
    "train.video_every": 0,
    "data.synthetic.meshes": True,
    "data.synthetic.twins_every": 0,
    "data.synthetic.identities": 100,
    "data.synthetic.clips": 8,  # each emotion beside the neutral face
    # Drawn people show half of real anger, and two thirds of sadness and, with
    # teeth in the open mouth, of surprise.
    "motion.label_strength.angry": 0.5,
    "motion.label_strength.sad": 0.7,
    "motion.label_strength.surprised": 0.7,
  },
  # What shows each stage learn on two CPU cores in minutes. No GAN: nothing of
  # it is built or traced.
  "demo": {
    **_AS_THEY_ARE,
    "syncnet.optim.lr": 1e-3,
    "syncnet.optim.warmup": 20,
    "irfd.optim.lr": 2e-3,
    "irfd.optim.warmup": 30,
    "irfd.optim.ema": 0.98,
    "irfd.drop_maps": 0.0,  # minutes are too short to learn both ways
    "speak.optim.lr": 1.5e-3,
    "speak.optim.warmup": 30,
    "speak.optim.ema": 0.98,
    "speak.weights.perceptual": 0.0,
    "speak.weights.perceptual_encoders": 0.0,
    "speak.weights.gan": 0.0,
    "speak.weights.features": 0.0,
    "speak.sync_ramp": (150, 400),
    "train.log_every": 20,
    "train.save_every": 200,
    "train.sheet_every": 300,
    "train.video_every": 0,
    "train.collapse_after": 150,
    "data.synthetic.size": 96,
    "data.synthetic.identities": 50,
    "data.synthetic.held_out": 10,
  },
}


def get_config(arg: str = "") -> ConfigDict:
  """The locked config of `arg` = "preset,key=value,...".

  Raises:
    ValueError: an unknown preset, key, or a malformed pair.
  """
  return common.config(arg, PRESETS, RECIPES, _config)


def _config(preset: str) -> dict:
  sizes = common.sizes(SIZES, _SIZED_AS, preset)
  batch, microbatch, steps = (
    sizes.pop(k) for k in ("batch", "microbatch", "steps")
  )
  image = sizes["image"]
  return dict(
    # In this order, in RUN/<stage>.
    **common.run("speak", preset, ("syncnet", "irfd", "speak")),
    model=dict(
      **sizes,
      face=image * 3 // 4,  # px, side of the aligned face that E_e sees
      mouth=image * 3 // 8,  # px, side of the aligned mouth patch
      # SyncNet sees grey frames and their differences; False: colours.
      sync_motion=True,
      # Of the aligned mouths, in eye distances: side, and the middle below the
      # nose. Another than this, which sets store, is cut out of the frames.
      lips_square=(1.7, 0.72),
      flow=True,  # warp the identity maps by the codes; ours
      landmarks=True,  # the flow follows predicted landmarks; ours
      bare_codes=False,  # codes are the pooled vectors themselves, no heads
      ablate="",  # code left out: "identity", "pose", "emotion" (Table III)
      pose_spatial_channels=8,  # that E_p reads place by place, 0 = none; ours
      appearance=64,  # px, of the picture that f_I stands for; 0 = none; ours
      emotion_input="face",  # "face" aligned crop, "frame" as in the paper
      up="bilinear",  # how G doubles; "transposed" as StyleGAN2
      norm="group",  # of the encoders: "group", "batch"
      sync_unit=True,  # SyncNet's codes have length 1; False: any, as published
      # Of the computations: "float32", "bfloat16", "float16"; "auto" = the
      # machine's, docs/scaling.md.
      dtype="auto",
    ),
    # Public weights to start from: a file, or a name on the Hugging Face hub.
    pretrained=dict(
      required=(),  # names below without which training does not start
      resnet="",  # ResNet-50 of E_i, E_p, E_e; needs model.norm = "batch"
      speech="",  # wav2vec 2.0 or HuBERT of E_a; "" = speak.mel instead
      vgg="",  # VGG-19 of L_vgg; "" = E_i's features instead
    ),
    **common.machines(),
    data=common.data(),
    train=common.train(),
    syncnet=dict(
      steps=steps["sync"],
      batch=batch["sync"],  # clips of an update, on all devices together
      # Clips that a device holds at once, and that a loss may compare. It
      # shrinks, and the batch grows, where devices demand it: docs/scaling.md
      microbatch=microbatch["sync"],
      windows=8,  # of one clip
      # "contrastive" = paper Eq. 11, which stays long at its trivial loss.
      loss="info_nce",
      temperature=0.07,  # of info_nce
      margin=1.0,  # of contrastive; the paper gives none
      reach=0.0,  # s, of one sample's windows; 0 = all over the clip
      # Changes of the mouths, at most; one draw a clip, 0 or False = none.
      augment=dict(
        shift=0.04,  # of the side
        scale=0.08,
        stretch=0.0,  # of width against height
        shear=0.0,  # sideways, of the distance from the middle row
        turn=6.0,  # degrees
        elastic=0.0,  # of the side, standard deviation of a smooth warp
        mirror=True,
        blur=1.0,  # px, standard deviation
        gamma=0.0,  # exponent of the grey levels about 1
        light=0.0,  # more or less light at the edges, of a range of 2
        colour=0.2,  # gain and offset of a range of 2
      ),
      # Changes of what is heard; as motion.augment, one draw a clip.
      hearing=dict(
        stretch=0.0,
        tilt=0.0,
        colour=0.0,
        noise=0.0,
        noise_level=(-1.2, 0.2),
      ),
      optim=common.optim(2e-4),
    ),
    irfd=dict(
      steps=steps["irfd"],
      batch=batch["irfd"],  # pairs
      microbatch=microbatch["irfd"],
      drop_maps=0.2,  # share of examples that codes alone must draw; ours
      losses="robust",  # "robust", "paper" (Eq. 1-8)
      # The identity picture comes from the target's video or sitting, where
      # the data know it: another year of a life has other hair and clothes.
      same_session=True,
      # How Eq. 3-7's squared norms are read, of codes and pictures alike:
      # "mean" over their numbers, or "sum", as printed. Eq. 1 sums always.
      norms="mean",
      unit_identity=True,  # Eq. 1 on unit vectors; False: as printed
      # Or "kind:weight,..." of KINDS in data_pipelines/sampling/pairs.py.
      pairs="auto",
      # Extra pixel weight: lips are few pixels, and matter most.
      region=dict(mouth=4.0, face=1.5),
      label_smoothing=0.1,  # of the emotion labels
      margin=0.5,  # alpha of Eq. 1; the paper gives none
      triplet="crossed",  # Eq. 1 as its text means it; "printed": to the letter
      r1=1.0,  # gamma, of one patch's logit; StyleGAN2's at 256 px
      r1_every=16,  # steps (lazy, StyleGAN2)
      gan_ramp=(10_000, 20_000),  # steps over which the weight rises
      gan_lead=1_000,  # steps that the discriminator learns before that
      weights=dict(  # 0 = not even traced
        pixel=1.0,  # 3-level L1, by region
        gradient=1.0,  # L1 of neighbour differences, by region
        structure=0.5,  # 1 - SSIM; ours
        flow=2.0,  # landmarks that the flow, or its landmarks, miss; ours
        expression=2.0,  # lips and brows about their own middle; ours
        mouth_box=0.5,  # L1 in the mouth's box
        appearance=1.0,  # 3-level L1 of the picture that f_I stands for; ours
        self=0.0,  # Eq. 5-7, squared error
        angles=0.3,  # head pose read from f_P, alike for all people; ours
        classify=0.3,  # Eq. 2
        # On swaps that have no ground truth: Eq. 3, 4, 1 and a GAN, ours.
        # They double a step or more and, measured at 64 px, give nothing that
        # pairs with one do not: docs/results/2026-11-26-ablations.md. With
        # Eq. 4 the decoder even writes f_E over the face in colours, for E_e
        # to find. Not tried at 256 px.
        swap_pose=0.0,
        swap_emotion=0.0,
        swap_identity=0.0,
        gan=0.0,
        # What two codes tell of each other, so that none carries another's
        # share; ours. It compares the examples of a microbatch, and is off
        # below 64; that it is worth a weight has not been shown.
        covariance=0.0,
        variance=0.1,  # floor of each code's std, against constants; ours
      ),
      optim=common.optim(2e-4),
      discriminator=common.adam(2e-4),
    ),
    speak=dict(
      steps=steps["speak"],
      batch=batch["speak"],  # clips of model.frames frames
      microbatch=microbatch["speak"],
      emotion_frames=4,  # pooled into one emotion code
      from_scratch=False,  # True: G_g does not start from G_d
      encoders="frozen",  # "tuned": they train on; "fresh": there was no IRFD
      # E_a's convolutions over the waveform: "fixed", "trained", or "auto":
      # fixed if they began as public ones. A run keeps what it began with.
      convolutions="auto",
      # Sizes of E_a's mel front end where its weights would be random: a
      # random wav2vec does not learn to hear from so few clips.
      mel=dict(width=256, layers=4, heads=4),
      # Frames whose speech a waveform front encodes at once when videos are
      # made, with model.context around them; 0 = one window, as in training
      # and always with the mel front end, which knows its places by number.
      stretch=125,
      identity_from="either",  # "other_clip" of the person, "same_clip"
      same_session=True,  # as in irfd: the other clip is of the session
      region=dict(mouth=8.0, face=1.5),
      sync_ramp=(20_000, 60_000),  # steps over which the weight rises
      sync_target="audio",  # Eq. 12 as its text; "video" = as printed
      gan_ramp=(20_000, 40_000),
      gan_lead=1_000,
      r1=1.0,
      r1_every=16,
      weights=dict(
        pixel=1.0,
        gradient=1.0,
        structure=0.5,
        flow=2.0,  # as in irfd
        expression=2.0,
        mouth_box=1.0,
        opening=1.0,  # mouth opening read from the speech code; ours
        # Eq. 11 at y = 1. Heavy or early, it draws what SyncNet likes better
        # than real video and no eye takes for a mouth.
        sync=0.1,
        # L_vgg on the features of VGG-19, where pretrained.vgg is given. As
        # heavy as in the field, where it leads: PC-AVS has 10 beside L1 at 1,
        # FOMM nothing but it. Ours has four pixel terms to hold as well.
        perceptual=1.0,
        perceptual_encoders=0.1,  # else: on the features of our E_i
        gan=0.1,  # Eq. 10; PC-AVS has a tenth of its VGG weight
        features=0.1,  # feature matching in D; ours
        covariance=0.0,  # of emotion and speech; as in irfd
      ),
      optim=common.optim(2e-4),
      # {path: factor of optim.lr}, as in {"speak/audio/transformer": 0.05}.
      lr_factors={},
      # The same for a waveform front, which was trained before, under
      # "speak/audio/front"; and Adam's b1 there. The field has 1e-5 and .9.
      speech=dict(lr_factor=0.05, b1=0.9),
      discriminator=common.adam(2e-4),
    ),
    motion=dict(  # of a photograph's points: docs/photographs.md
      steps=6_000,
      batch=16,  # stretches of clips
      microbatch=16,
      frames=50,  # of a stretch
      context=25,  # frames of sound heard on each side
      width=128,  # of the convolutions over time
      layers=2,
      # How much of an emotion its strongest label shows; 1: as real people.
      label_strength=dict(
        angry=1.0,
        contempt=1.0,
        disgusted=1.0,
        fear=1.0,
        happy=1.0,
        sad=1.0,
        surprised=1.0,
      ),
      # Changes of what is heard; units of nn/mel.py, whose speech is about 1.
      augment=dict(
        stretch=0.1,  # std of the logarithm: other throats
        tilt=0.15,  # std of the slope over the bands
        colour=0.08,  # std of a wave over the bands
        noise=0.5,  # share of the clips with noise
        noise_level=(-1.2, 0.2),  # from and to
      ),
      weights=dict(
        points=1.0,  # L1 of all points
        lips=2.0,  # of the lips alone
        speed=1.0,  # of the lips' change from frame to frame
        gap=1.0,  # of the gap between the lips
      ),
      optim={**common.optim(2e-3), "b1": 0.9},
    ),
  )
