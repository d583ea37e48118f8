"""Heads move as drivers do, or idly by themselves."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data_pipelines.faces import canonical, headpose
from speak_jax.photograph import head_motion
from speak_jax.photograph.head_motion import unpacked


def seen(mesh, *degrees, shift=(0, 0, 0), scale=1.0):
  rotation = head_motion.rotation_of(*np.radians(degrees))
  middle = mesh.mean(0)
  return scale * (mesh - middle) @ rotation.T + middle + shift


@pytest.mark.parametrize("degrees", [(20, 0, 0), (0, -15, 0), (8, 6, -25)])
def test_angles_are_those_of_the_tracker(degrees):
  rotation = head_motion.rotation_of(*np.radians(degrees))
  found = np.degrees(headpose.angles(rotation[None]))[0]
  np.testing.assert_allclose(found, degrees, atol=1e-9)


def test_rotations_are_scipys():
  yaw, pitch, roll = np.random.default_rng(0).uniform(-3, 3, (3, 20))
  wanted = Rotation.from_euler("xyz", np.stack([-pitch, -yaw, roll], -1))
  found = head_motion.rotation_of(yaw, pitch, roll)
  np.testing.assert_allclose(found, wanted.as_matrix(), atol=1e-14)


def test_the_driver_counts_from_his_first_frame(photograph):
  mesh = photograph[1].astype(float)
  start, later = seen(mesh, 10, 0, 0), seen(mesh, 25, 0, 0, scale=1.21)
  first, second = map(
    unpacked, head_motion.driven([start, later], open_lids=0.1)
  )
  np.testing.assert_allclose(first.motion.rotation, np.eye(3), atol=1e-6)
  angles = np.degrees(headpose.angles(second.motion.rotation[None]))[0]
  np.testing.assert_allclose(angles, (15, 0, 0), atol=2)
  assert second.motion.scale == pytest.approx(1.1, abs=0.01)


def test_an_absolute_head_stands_as_the_drivers(photograph):
  mesh = photograph[1].astype(float)
  film = [seen(mesh, 10, 0, 0), seen(mesh, 25, 5, -8, shift=(30, 0, 0))]
  own = headpose.head_rotation(seen(mesh, -12, 4, 3)[None])[0]
  absolute, relative = (
    [unpacked(x).motion for x in head_motion.driven(film, 0.1, rest=rest)]
    for rest in (own, None)
  )
  for motion, wanted in zip(
    absolute, headpose.head_pose(np.stack(film)), strict=True
  ):
    turned = motion.rotation @ own
    degrees = np.degrees(headpose.angles(turned[None]))[0]
    np.testing.assert_allclose(degrees, wanted, atol=1e-3)
  assert np.array_equal(absolute[1].shift, relative[1].shift)
  assert absolute[1].scale == relative[1].scale


def test_a_gap_in_the_driver_is_a_gap(photograph):
  mesh = photograph[1].astype(float)
  rows = list(head_motion.driven([mesh, None, mesh], open_lids=0.1))
  assert rows[1] is None and rows[0] is not None


def test_lids_close_as_the_drivers(photograph):
  mesh = photograph[1].astype(float)
  open_lids = head_motion.open_lids([mesh, None])
  shut = mesh.copy()
  shut[list(canonical.UPPER_LIDS)] = shut[list(canonical.LOWER_LIDS)]
  opened, closed = map(
    unpacked, head_motion.driven([mesh, shut], open_lids=open_lids)
  )
  assert opened.lids == 0
  assert closed.lids == 1


def test_averages_are_rotations_again():
  drives = list(head_motion.idle(50, 25.0, seed=4))
  mean = unpacked((drives[10].packed() + drives[30].packed()) / 2)
  product = mean.motion.rotation @ mean.motion.rotation.T
  np.testing.assert_allclose(product, np.eye(3), atol=1e-9)
  again = unpacked(drives[10].packed())
  np.testing.assert_allclose(again.motion.rotation, drives[10].motion.rotation)


@pytest.mark.parametrize("seed", [0, 5])
def test_fewer_frames_of_an_idle_head_are_the_beginning_of_more(seed):
  long = np.stack([x.packed() for x in head_motion.idle(2_000, 25.0, seed)])
  assert np.ptp(long[:, 9:11]) > 0.01
  for n in (1, 77, 500):
    short = [x.packed() for x in head_motion.idle(n, 25.0, seed)]
    np.testing.assert_allclose(short, long[:n], atol=1e-12)


def test_an_idle_head_begins_as_in_the_photograph_and_repeats_by_its_seed():
  one, two, other = (
    [x.packed() for x in head_motion.idle(100, 25.0, seed)]
    for seed in (1, 1, 2)
  )
  np.testing.assert_array_equal(one, two)
  assert not np.array_equal(one, other)
  np.testing.assert_allclose(unpacked(one[0]).motion.rotation, np.eye(3))
  lids = [unpacked(x).lids for x in one]
  assert max(lids) > 0.8 and np.median(lids) < 0.1
