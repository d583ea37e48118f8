"""Wav2Lip's two stages: a sync expert, and the generator that it judges."""

from speak_jax.models.wav2lip import FRAMES, STRIDE
from speak_jax.stages import rules, wav2lip_paint, wav2lip_sync
from speak_jax.stages.base import Row, Training
from speak_jax.stages.wav2lip_paint import CRITIC, GENERATOR, PAINT
from speak_jax.stages.wav2lip_sync import EXPERT, SYNC

TRAINING = Training(
  stages={
    SYNC: Row(wav2lip_sync.make, (EXPERT,), wav2lip_sync.sampler),
    PAINT: Row(wav2lip_paint.make, (GENERATOR,), wav2lip_paint.sampler),
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
