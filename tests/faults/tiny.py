"""The smallest config that the real command takes: SyncNet, a few kilobytes.

python -m speak_jax.train --config tests/faults/tiny.py[:key=value,...] ...
"""

from ml_collections import ConfigDict

from configs import common
from tests.stages import small


def get_config(arg: str = "") -> ConfigDict:
  """One stage of 60 steps, with a checkpoint every five."""
  faces = dict(
    identities=2,
    held_out=1,
    clips=2,
    seconds=0.6,
    size=32,
    framing="tight",
    twins_every=0,
    workers=1,
  )
  changes = {f"data__synthetic__{k}": v for k, v in faces.items()}
  config = small.config(
    stages=("syncnet",),
    data__threads=0,
    syncnet__steps=60,
    train__first_save=1,
    train__save_every=5,
    train__log_every=5,
    train__heartbeat=1.0,
    **changes,
  )
  _, values = common.parse_arg(arg, ("tiny",))
  return common.override(config, values)
