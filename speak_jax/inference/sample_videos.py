"""The sample videos of training: a held-out clip, made again with sound."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from data_pipelines.dataset import reader
from data_pipelines.media import mp4
from data_pipelines.media.error import MediaError
from data_pipelines.sampling import held_out
from speak_jax import spec
from speak_jax.common.progress import say
from speak_jax.inference.functions import Variables
from speak_jax.inference.lowering import functions_of, settings_of
from speak_jax.inference.synthesizer import Synthesizer
from speak_jax.stages.init import networks
from speak_jax.training import distributed
from speak_jax.training.state import TrainState, ema_params


class SampleVideos:
  """Films the first held-out clip, beside the true one.

  Called after each step of stage `speak`, on every process: every
  config.train.video_every steps, and after the last one.
  """

  def __init__(self, config: ConfigDict, run: Path, clips: reader.Records):
    """Compiles nothing yet.

    Args:
      config: The run's.
      run: Its folder; videos go to speak/samples in it.
      clips: Held-out ones.
    """
    self._config = config
    self._folder = run / "speak" / "samples"
    self._clips = clips
    self._synthesizer: Synthesizer | None = None

  def __call__(self, step: int, state: TrainState) -> None:
    """Makes samples/video_<step>.mp4 if one is due.

    Process 0 makes it and the others wait, however long it takes: to the
    watchdog all of them evaluate.
    """
    every, last = self._config.train.video_every, self._config.speak.steps
    if step != last and (not every or step % every):
      return
    params: Any = ema_params(state)
    variables = distributed.gather_to_host(
      {
        group: {"params": params[group], **state.vars[group]}
        for group in ("encoders", "speak")
      }
    )
    if jax.process_index() == 0:
      self._write(self._folder / f"video_{step:07d}.mp4", variables)
    distributed.barrier(f"video of step {step}")

  def _write(self, path: Path, variables: Variables) -> None:
    """Makes a video of the first held-out clip; a full disk takes only it."""
    config, model = self._config, self._config.model
    if self._synthesizer is None:
      settings = settings_of(config)
      functions = functions_of(networks(config), settings)
      self._synthesizer = Synthesizer(functions, variables, settings)
    else:
      self._synthesizer.variables = jax.device_put(variables)
    clip = next(
      held_out.evaluation_clips(
        self._clips,
        size=model.image,
        face_size=model.face,
        emotion_frames=config.speak.emotion_frames,
        emotion_input=model.emotion_input,
        same_session=config.speak.same_session,
        limit=1,
      )
    )
    n = min(len(clip.frames), round(config.train.video_seconds * clip.fps))
    sound = clip.audio[: round(n * spec.SAMPLE_RATE_HZ / clip.fps)]
    frames = self._synthesizer.video(
      clip.identity, clip.identity_landmarks, clip.frames, clip.emotion, sound
    )
    true = clip.frames[: len(frames)]
    both = np.concatenate([true, frames], 2)
    try:
      mp4.write_video(path, both, clip.fps, sound)
    except MediaError as error:
      say(f"train: {error}")
