"""One of two processes that train one model; a film takes longer than a step.

  python -m tests.faults.films RUN HOST:PORT PROCESS

For test_two_processes.py. The model is a few numbers, split over both
processes; what is filmed are arrays of which each holds one half.
"""

import sys
import time
from pathlib import Path

import jax
import numpy as np

from configs import speak
from speak_jax.inference.sample_videos import SampleVideos
from speak_jax.supervision.activity import Activity
from speak_jax.training import distributed, loop, sharding
from speak_jax.training.state import TrainState
from tests.faults.agreement import TIMEOUTS
from tests.training import toy

LIMIT = 0.1  # s, config.train.limit_step


def main(run: Path, coordinator: str, rank: int) -> int:
  """Eight steps, with a film after the fifth."""
  place = distributed.ProcessSpec(coordinator, 2, rank)
  distributed.initialize(place, **TIMEOUTS)
  job = toy.run(run / "toy", 8, limit_step=LIMIT)
  job = job._replace(mesh=sharding.make_mesh(1, 2))
  whole = {"kernel": np.arange(16, dtype=np.float32).reshape(4, 4)}
  split = sharding.shard(whole, sharding.state_sharding(whole, job.mesh, 8))
  assert not split["kernel"].is_fully_addressable
  assert sharding.data_shard(job.mesh) == (0, 1)  # both read the whole batch
  activity = Activity()
  config = speak.get_config("demo").unlock()
  config.train.video_every = 5
  film = SampleVideos(config, run, None)

  def write(path, variables):
    assert activity.step_seconds is not None  # so that the watchdog has a limit
    time.sleep(2 * (10 * activity.step_seconds + LIMIT) + 3)
    for group in ("encoders", "speak"):
      assert variables[group]["stats"] == {}
      np.testing.assert_array_equal(
        variables[group]["params"]["kernel"], whole["kernel"]
      )
    print("wrote", path.name, flush=True)

  film._write = write

  def on_step(step, state):
    if step == 5:
      groups = {"encoders": split, "speak": split}
      extra = {group: {"stats": {}} for group in groups}
      film(step, TrainState(state.step, groups, extra, {}, {}))

  _, done = loop.fit(job, toy.batches(), {}, on_step=on_step, activity=activity)
  print("done", done, jax.process_count(), flush=True)
  return distributed.exit_process(0)


if __name__ == "__main__":
  main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
