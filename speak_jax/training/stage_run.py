"""One stage of one run: what to train, where, and on what it may go on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jaxtyping import PRNGKeyArray

from speak_jax.stages.base import Stage
from speak_jax.training import sharding
from speak_jax.training.distributed import say_once
from speak_jax.training.state import abstract_state


class StageRun(NamedTuple):
  """What `loop.fit` trains."""

  stage: Stage
  steps: int
  seed: int
  folder: Path  # RUN/<stage>
  mesh: jax.sharding.Mesh
  min_shard_size: int  # elements from which an array is split over `model`
  settings: Any  # config.train, see configs/speak.py
  meta: dict[str, str]  # goes into every checkpoint
  allow_other_data: bool = False  # go on with other data than a checkpoint's
  profile: tuple[int, int] | None = None  # first and last step to trace
  verified: int | None = None  # step of the newest checkpoint, if just hashed
  gauges: Callable[[], dict[str, float]] = dict  # more figures to log

  def key(self) -> PRNGKeyArray:
    """The key of all random draws, a copy on every device."""
    key = jax.random.key_data(jax.random.key(self.seed))
    key = sharding.shard(key, sharding.replicated(self.mesh))
    return jax.random.wrap_key_data(key)

  def state_sharding(self) -> Any:
    """Where each array of the stage's state belongs, a TrainState of them."""
    like = abstract_state(self.stage)
    return sharding.state_sharding(like, self.mesh, self.min_shard_size)

  @property
  def batch_size(self) -> int:
    """Examples of an update, on all devices."""
    return jax.tree.leaves(self.stage.batch)[0].shape[0]

  def origin(self) -> dict[str, str]:
    """What a checkpoint of this run tells of its origin."""
    mesh = self.mesh
    return self.meta | {
      "topology": f"{mesh.size} x {mesh.devices.flat[0].device_kind},"
      f" data {mesh.shape['data']} x model {mesh.shape['model']},"
      f" processes {jax.process_count()}",
      "batch": str(self.batch_size),
      "microbatch": str(self.stage.microbatch),
      "loss_weights": json.dumps(dict(self.stage.weights)),
    }

  def check_origin(self, checkpoint: str, stored: dict[str, str]) -> bool:
    """Refuses a checkpoint of other data or batches; changes nothing.

    Args:
      checkpoint: Its path, for the error.
      stored: Its origin; older ones lack some of the keys.

    Returns:
      Whether it was trained on other data, which `allow_other_data` allows.

    Raises:
      ValueError: it was, and may not; or batches are of another size, and the
        position in the same data says nothing.
    """
    data, own = stored.get("dataset"), self.meta.get("dataset")
    changed = None not in (data, own) and data != own
    if changed and not self.allow_other_data:
      raise ValueError(
        f"{checkpoint}: was trained on other data; config.data.allow_change ="
        " True goes on with these"
      )
    size, stage = self.batch_size, self.stage.name
    old = int(stored.get("batch", size))
    if "batch" not in stored and "config" in stored:  # of before it was kept
      old = json.loads(stored["config"])[stage]["batch"]
    if old != size and not changed:
      raise ValueError(
        f"{checkpoint}: was trained with batches of {old}, and {size} are asked"
        f" for on {self.mesh.shape['data']} devices; config.{stage}.batch={old}"
        f" goes on where the devices divide it and config.{stage}.microbatch"
        " divides what each of them has"
      )
    return changed

  def report_changes(self, checkpoint: str, stored: dict[str, str]) -> bool:
    """`check_origin`, and a line on whatever else has changed since then."""
    changed, now = self.check_origin(checkpoint, stored), self.origin()
    before = {name: stored.get(name, now[name]) for name in now}
    lines = []
    if changed:
      lines.append("was trained on other data, and goes on with these")
    if before["microbatch"] != now["microbatch"]:
      lines.append(
        f"microbatches were of {before['microbatch']} examples and are of"
        f" {now['microbatch']} now; losses that compare examples differ"
      )
    if before["topology"] != now["topology"]:
      lines.append(
        f"was saved on {before['topology']}, and goes on on"
        f" {now['topology']}: from the same state, but not bit for bit"
      )
    for line in lines:
      say_once(f"{checkpoint}: {line}")
    return changed
