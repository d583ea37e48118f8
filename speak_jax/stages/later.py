"""Keys of SPEAK's config that came later, and what its runs did before."""

from typing import Any

from speak_jax import spec

LATER: dict[str, Any] = {
  "finetune_from": "",
  "model": {
    "appearance": 0,
    "lips": 0,
    "lips_square": (1.7, 0.72),
    "sync_motion": False,
    "sync_unit": True,
    "audio": {"steps": "frame", "level": "window"},
  },
  "pretrained": {"required": ()},
  "data": {
    "workers": 0,
    "synthetic": {"meshes": False},
    "augment": {
      "pose": False,
      "stretch": 0.0,
      "emotion": False,
      "emotion_clip": 0.0,
    },
  },
  "syncnet": {
    "reach": 0.0,
    "augment": {
      "shift": 0.0,
      "scale": 0.0,
      "stretch": 0.0,
      "shear": 0.0,
      "turn": 0.0,
      "elastic": 0.0,
      "colour": 0.0,
      "mirror": False,
      "blur": 0.0,
      "gamma": 0.0,
      "light": 0.0,
    },
    "hearing": {
      "stretch": 0.0,
      "tilt": 0.0,
      "colour": 0.0,
      "noise": 0.0,
      "noise_level": (-1.2, 0.2),
    },
  },
  "irfd": {
    "same_session": False,
    "norms": "mean",
    "unit_identity": True,
    "gan_lead": 1_000_000,  # from the first step on
  },
  "speak": {
    "same_session": False,
    "gan_lead": 1_000_000,
    "mel": {"width": 256, "layers": 4, "heads": 4},
    "convolutions": "auto",
    "lr_factors": {},
    "speech": {"lr_factor": 1.0, "b1": 0.5},
    "stretch": 0,
  },
  "motion": {
    "steps": 6_000,
    "batch": 16,
    "microbatch": 16,
    "frames": 50,
    "context": 25,
    "width": 128,
    "layers": 2,
    "label_strength": dict.fromkeys(spec.EMOTIONS[1:], 1.0),
    "augment": {
      "stretch": 0.1,
      "tilt": 0.15,
      "colour": 0.08,
      "noise": 0.5,
      "noise_level": (-1.2, 0.2),
    },
    "weights": {"points": 1.0, "lips": 2.0, "speed": 1.0, "gap": 1.0},
    "optim": {
      "lr": 2e-3,
      "warmup": 500,
      "floor": 0.1,
      "b1": 0.9,
      "b2": 0.99,
      "clip": 1.0,
      "ema": 0.999,
    },
  },
  "train": {
    "compilation_cache": True,
    "loss_scale": {"initial": 2.0**15, "growth": 2_000},
  },
}
