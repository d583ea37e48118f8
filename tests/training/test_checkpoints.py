"""Checkpoints against a full disk, rotten bits and kills at bad moments."""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs.speak import get_config
from speak_jax.stages.registry import training
from speak_jax.supervision import goodput
from speak_jax.supervision.activity import Activity
from speak_jax.tools import verify_checkpoints as command
from speak_jax.training import (
  checkpoint_manager,
  checkpoints,
  loop,
  manifest,
  run_config,
)
from speak_jax.training.metric_writer import MetricWriter
from speak_jax.training.state import abstract_state, digest
from tests.faults import flips
from tests.training import toy


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """A run with checkpoints 2, 4, 6, and the digest of each."""
  run = tmp_path_factory.mktemp("run")
  digests = {}

  def on_step(step, state):
    if step % 2 == 0:
      digests[step] = digest(state)

  loop.fit(
    toy.run(run / "toy", 6, save_every=2, keep=3),
    toy.batches(),
    {},
    on_step=on_step,
  )
  assert sorted(digests) == [2, 4, 6]
  return run, digests


@pytest.fixture
def run(trained, tmp_path):
  """A copy of its own for each test."""
  shutil.copytree(trained[0], tmp_path / "run")
  return tmp_path / "run"


def folder(run: Path) -> Path:
  return run / "toy" / "checkpoints"


def resumed(run: Path, steps: int = 6) -> list[str]:
  """Digests from where training goes on to its end."""
  found = []
  state, _ = loop.fit(
    toy.run(run / "toy", steps, save_every=2, keep=3),
    toy.batches(),
    {},
    on_step=lambda step, state: found.append(digest(state)),
  )
  return found or [digest(state)]


def test_a_manifest_is_what_sha256sum_prints(run):
  for step in (2, 4, 6):
    path = folder(run) / str(step)
    lines = (path / manifest.NAME).read_text().splitlines()
    assert len(lines) > 10
    check = ["sha256sum", "--strict", "-c", manifest.NAME]
    subprocess.run(check, cwd=path, check=True, capture_output=True)


def test_every_flipped_bit_is_found(run, trained):
  """One bit at a time, all over the files of a checkpoint."""
  report = flips.campaign(folder(run), count=20, seed=0)
  assert report.flips == 20
  assert report.missed == []


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "add"])
def test_training_goes_back_to_the_one_before(damage, run, trained, capsys):
  path = next((folder(run) / "6" / "model").rglob("d/*"))
  if damage == "flip":
    flips.flip(path, random.Random(1))
  elif damage == "truncate":
    path.write_bytes(path.read_bytes()[:-1])
  elif damage == "delete":
    path.unlink()
  else:
    path.with_name("more").write_text("")
  assert checkpoints.newest_verified_step(run, "toy") == 4
  assert "checkpoints/6: passed over, model/" in capsys.readouterr().err
  assert (folder(run) / "6").exists()  # who reads changes nothing
  assert resumed(run)[-1] == trained[1][6]
  said = capsys.readouterr().err
  assert "checkpoints/6: corrupt, model/" in said
  assert "now 6.corrupt" in said
  assert {p.name for p in folder(run).iterdir()} == {"2", "4", "6", "6.corrupt"}
  assert resumed(run)[-1] == trained[1][6]


def test_several_bad_ones_and_none_left(run, trained, capsys):
  for step in (4, 6):
    flips.flip(folder(run) / str(step) / manifest.NAME, random.Random(step))
  assert checkpoints.newest_verified_step(run, "toy") == 2
  assert resumed(run)[-1] == trained[1][6]
  for step in (2, 4, 6):
    flips.flip(folder(run) / str(step) / manifest.NAME, random.Random(step))
  for _ in range(2):  # the second time, when they have been put aside
    with pytest.raises(
      checkpoints.NoCheckpointError, match="no good checkpoint"
    ):
      resumed(run)
  with pytest.raises(checkpoints.NoCheckpointError):
    checkpoints.restore_params(run, "toy", ["a"])
  names = {p.name for p in folder(run).iterdir()}
  assert {"2.corrupt", "4.corrupt", "4.corrupt2"} <= names
  assert "Traceback" not in capsys.readouterr().err


def test_one_that_was_just_hashed_is_not_hashed_again(run, monkeypatch):
  fault, hashed = manifest.fault, []

  def counted(path):
    hashed.append(int(path.name))
    return fault(path)

  monkeypatch.setattr(manifest, "fault", counted)
  step = checkpoints.newest_verified_step(run, "toy")
  assert hashed == [step] == [6]
  with checkpoint_manager.CheckpointManager(folder(run)) as manager:
    assert manager.recover(verified=step) == 6
    assert hashed == [6]
    assert manager.recover(before=4) == 4
  assert hashed == [6, 4]


def test_what_a_kill_leaves_is_swept(run, trained, capsys):
  """Half a save, half a removal, and a save that has no manifest yet."""
  (folder(run) / "6" / manifest.NAME).unlink()
  (folder(run) / "8.orbax-checkpoint-tmp" / "model").mkdir(parents=True)
  (folder(run) / "1.removed").mkdir()
  assert checkpoints.newest_verified_step(run, "toy") == 4
  assert resumed(run)[-1] == trained[1][6]
  assert {p.name for p in folder(run).iterdir()} == {"2", "4", "6"}
  assert "6: its manifest was not written; removed" in capsys.readouterr().err


def test_checkpoints_of_before_still_open(run, trained, capsys):
  for path in folder(run).rglob(manifest.NAME):
    path.unlink()
  assert resumed(run)[-1] == trained[1][6]
  assert "it has no manifest to check it by" in capsys.readouterr().err
  # A bare data position, as it was kept then, counts a batch a step.
  stream = loop.BatchStream(toy.batches())
  bare = toy.batches()
  next(bare), next(bare)
  stream.set_state(bare.get_state(), 2)
  assert stream.get_state()["read"] == 2
  next(stream)
  assert stream.number == 2


def test_the_verified_one_stays_until_the_next_is_whole(run, monkeypatch):
  """With keep = 1, and a manifest that cannot be written."""

  def full(path):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

  monkeypatch.setattr(checkpoint_manager.manifest, "write", full)
  with pytest.raises(checkpoint_manager.SaveError):
    loop.fit(toy.run(run / "toy", 7, keep=1), toy.batches(), {})
  assert {p.name for p in folder(run).iterdir()} == {"2", "4", "6"}
  monkeypatch.undo()
  loop.fit(toy.run(run / "toy", 7, keep=1), toy.batches(), {})
  assert {p.name for p in folder(run).iterdir()} == {"7"}


def test_a_full_disk_is_said_at_once(run, trained, monkeypatch, capsys):
  """The last good checkpoint stays; the next save tries again."""
  usage, said = shutil.disk_usage(run), []
  monkeypatch.setattr(
    checkpoint_manager.shutil, "disk_usage", lambda path: usage._replace(free=1)
  )

  def on_step(step, state):
    said.append(capsys.readouterr().err)
    if step == 11:
      monkeypatch.undo()

  _, done = loop.fit(
    toy.run(run / "toy", 12, save_every=2),
    toy.batches(),
    {},
    on_step=on_step,
  )
  assert done
  assert "could not be saved" not in said[1]
  # Saves of steps 8 and 10 fail, and are told of before step 9 and 11 end.
  assert "checkpoints/8: could not be saved" in said[2]
  assert "6 stays, the next save tries again (1 of 3)" in said[2]
  assert "again (2 of 3)" in said[4]
  assert checkpoints.newest_verified_step(run, "toy") == 12


FULL = """
import resource, signal, sys
from pathlib import Path
from absl import flags, logging
from speak_jax.common import command_line
from speak_jax.training.checkpoint_manager import CheckpointManager
from tests.faults.saves import state_of
logging.use_absl_handler()  # as commands do
flags.FLAGS([""])
command_line.log_warnings()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
saved = CheckpointManager(Path(sys.argv[1]))
for step in (1, 2, 3):
  most = 1 << 20 if step == 2 else resource.RLIM_INFINITY
  resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
  saved.save(state_of(step), step, {})
  saved.wait()
  saved.check_for_errors()
  print(sorted(path.name for path in saved.folder.iterdir()))
"""


def test_a_write_that_fails_half_way_is_one_line(tmp_path, root):
  """The kernel itself refuses to go on writing a file."""
  run = subprocess.run(
    [sys.executable, "-c", FULL, str(tmp_path)],
    cwd=root,
    capture_output=True,
    text=True,
  )
  assert run.returncode == 0, run.stderr
  assert run.stdout.splitlines() == ["['1']", "['1']", "['1', '3']"]
  (line,) = run.stderr.splitlines()
  assert line == (
    f"{tmp_path}/2: could not be saved (File too large); 1 stays, the next save"
    " tries again (1 of 3)"
  )


def test_a_disk_that_stays_full_ends_training(run, monkeypatch):
  usage = shutil.disk_usage(run)
  monkeypatch.setattr(
    checkpoint_manager.shutil, "disk_usage", lambda path: usage._replace(free=1)
  )
  with pytest.raises(checkpoint_manager.SaveError) as caught:
    loop.fit(toy.run(run / "toy", 90, save_every=2), toy.batches(), {})
  assert "MB free on the disk" in str(caught.value.strerror)
  assert caught.value.filename.endswith("checkpoints/12")  # the third
  assert checkpoints.newest_verified_step(run, "toy") == 6


def test_a_last_save_without_room_is_no_success(run, monkeypatch, capsys):
  """What is not on the disk is not complete, and the same command goes on."""
  usage = shutil.disk_usage(run)
  monkeypatch.setattr(
    checkpoint_manager.shutil, "disk_usage", lambda path: usage._replace(free=1)
  )
  with pytest.raises(checkpoint_manager.SaveError, match="MB free on the disk"):
    loop.fit(toy.run(run / "toy", 7), toy.batches(), {})
  assert "could not be saved" in capsys.readouterr().err
  assert checkpoints.newest_verified_step(run, "toy") == 6
  monkeypatch.undo()
  assert loop.fit(toy.run(run / "toy", 7), toy.batches(), {})[1]
  assert checkpoints.newest_verified_step(run, "toy") == 7


def test_a_save_does_not_disturb_the_steps_after_it(tmp_path):
  """The state is copied first: its buffers are given to the next step."""
  digests = {}
  loop.fit(
    toy.run(tmp_path / "toy", 9, save_every=1, keep=9),
    toy.batches(),
    {},
    on_step=lambda step, state: digests.update({step: digest(state)}),
  )
  run = toy.run(tmp_path / "toy", 9)
  saved = checkpoint_manager.CheckpointManager(folder(tmp_path), 9)
  like = abstract_state(run.stage)
  placing = loop.sharding.state_sharding(like, run.mesh, run.min_shard_size)
  for step in sorted(digests, reverse=True):
    assert saved.recover(step) == step
    state, _, meta = saved.restore(like, placing)
    assert digest(state) == digests[step]
  assert "data 2 x model 1" in meta["topology"]


def test_a_save_compiles_nothing(tmp_path):
  """Of arrays that all devices have, whatever their shapes."""
  made = toy.run(tmp_path / "toy", 1)
  shapes = {f"odd{i}": np.ones((2 * i, 11), np.float32) for i in range(1, 9)}
  state = loop.init_state(made.stage, 0, {})._replace(params={"a": shapes})
  state = jax.device_put(state, loop.sharding.replicated(made.mesh))
  assert all(len(x.sharding.device_set) == 2 for x in jax.tree.leaves(state))
  events = []
  jax.monitoring.register_event_duration_secs_listener(
    lambda name, *_, **__: events.append(name)
  )
  with checkpoint_manager.CheckpointManager(tmp_path / "kept") as saved:
    saved.save(state, {}, {})
  assert saved.latest == 0
  assert not [x for x in events if "backend_compile" in x]


def test_a_digest_tells_every_leaf():
  state = loop.init_state(toy.stage(), 0, {})
  want = digest(state, {"read": 1})
  assert digest(jax.device_get(state), {"read": 1}) == want
  assert digest(state, {"read": 2}) != want
  leaves, tree = jax.tree.flatten(state)
  for i, leaf in enumerate(leaves):
    for byte in (0, -1):
      host = np.array(leaf)
      host.reshape(-1).view(np.uint8)[byte] ^= 1
      changed = jax.tree.unflatten(tree, [*leaves[:i], host, *leaves[i + 1 :]])
      assert digest(changed, {"read": 1}) != want


def test_other_data_are_refused_or_asked_for(run, capsys):
  there = toy.run(run / "toy", 8)._replace(meta={"dataset": "a"})
  loop.fit(there, toy.batches(), {})
  other = there._replace(steps=9, meta={"dataset": "b"})
  with pytest.raises(ValueError, match="was trained on other data"):
    loop.fit(other, toy.batches(), {})
  loop.fit(other._replace(allow_other_data=True), toy.batches(), {})
  said = capsys.readouterr().err
  assert "toy/checkpoints/8: was trained on other data, and goes on" in said
  assert meta_of(run / "toy", 9)["dataset"] == "b"
  # From now on these are the data.
  with pytest.raises(ValueError, match="was trained on other data"):
    loop.fit(there._replace(steps=10), toy.batches(), {})
  loop.fit(there._replace(steps=10, meta={}), toy.batches(), {})


def test_bad_batches_of_other_data_are_forgotten(tmp_path, capsys):
  """What is number 2 there is another batch here, and good."""
  there = toy.run(tmp_path / "toy", 4, bad_steps=1, save_every=1)
  there = there._replace(meta={"dataset": "a"})
  loop.fit(there, toy.batches(spoil=(2,)), {})
  assert "without batches 2" in capsys.readouterr().err
  data = meta_of(there.folder, 4)["data"]
  assert json.loads(data)["skipped"] == [2]
  loop.fit(
    there._replace(steps=6, meta={"dataset": "b"}, allow_other_data=True),
    toy.batches(),
    {},
  )
  found = json.loads(meta_of(there.folder, 6)["data"])
  assert (found["skipped"], found["read"]) == ([], json.loads(data)["read"] + 2)


def meta_of(stage, step):
  path = stage / "checkpoints" / str(step)
  return checkpoints.ocp.load_checkpointables(str(path), {"meta": None})["meta"]


def test_verify(run, capsys):
  assert command.verify(run) == 0
  lines = capsys.readouterr().out.splitlines()
  assert [line.split(",")[0] for line in lines] == [
    f"toy/checkpoints/{step}: good" for step in (6, 4, 2)
  ]
  flips.flip(folder(run) / "4" / manifest.NAME, random.Random(0))
  assert command.main(["", "verify", str(run)]) == 67
  assert "toy/checkpoints/4: corrupt, " in capsys.readouterr().out
  shutil.rmtree(folder(run) / "6")
  shutil.rmtree(folder(run) / "2")
  (folder(run) / "4").rename(folder(run) / "4.corrupt")
  assert command.main(["", str(run)]) == 67
  assert command.verify(run.parent) == 64
  assert command.main(["", "verify"]) == command.main([""]) == 64


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_takes_figures_but_not_the_run(tmp_path, capsys):
  log = MetricWriter(tmp_path, 0)
  full = os.open("/dev/full", os.O_WRONLY)
  os.dup2(full, log._lines.fileno())
  log.write_scalars(1, {"loss": 1.0})
  (tmp_path / "samples").rmdir()
  log.write_image_grid(1, "sheet", np.zeros((1, 1, 8, 8, 3), np.uint8))
  log.close()
  said = capsys.readouterr().err
  assert "metrics.jsonl: step 1 was not written (No space left on" in said
  assert "sheet_0000001.png: could not be written" in said
  assert f"{tmp_path}: the last figures are lost (No space left on" in said
  account = goodput.GoodputLog(tmp_path, "toy", Activity())
  os.dup2(full, account._file.fileno())
  os.close(full)
  with pytest.raises(OSError, match="No space left"):
    account.write(1)
  account.close()


def test_configs_of_before_name_the_networks_of_before(root):
  """Runs and bundles outlive keys that came later, and those that are gone.

  The shipped bundle's config is one of before.
  """
  content = (root / "speak_jax/assets/reference/config.json").read_text()
  stored = json.loads(content)["config"]
  assert "lips" not in stored["model"] and stored["irfd"]["parts"] == 1
  assert "ema" in stored["irfd"]["discriminator"]  # a key that is gone
  stored["irfd"] |= {"batch": 32, "parts": 8}
  kept = json.dumps(stored)
  config = run_config.from_json(stored)
  assert json.dumps(stored) == kept
  assert _leaves(config) == _leaves(get_config("small64"))
  assert config.irfd.microbatch == 4
  assert config.model.pose_spatial_channels == 8
  assert config.model.lips == 0
  assert config.model.lips_square == (1.7, 0.72)
  assert config.speak.weights.perceptual_encoders == 0.0
  assert config.speak.lr_factors.to_dict() == {}
  assert config.speak.speech.to_dict() == {"lr_factor": 1.0, "b1": 0.5}
  assert config.model.audio.level == "window"
  assert config.is_locked
  for row in training("speak").stages.values():
    row.make(config)


def _leaves(config) -> set[str]:
  """Dotted keys; a dict that is empty counts as one."""
  found = set()
  for key, value in config.items():
    inner = _leaves(value) if isinstance(value, ConfigDict) else set()
    found |= {f"{key}.{name}" for name in inner} or {key}
  return found
