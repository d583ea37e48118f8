"""Subjects of training: networks, steps, loader, preparation."""

import jax
import jax.numpy as jnp
import pytest

from speak_jax.bench import compiling, networks, training
from tests.bench.tiny import TINY, measured
from tests.stages import small


def test_networks():
  config = small.config()
  figures = list(networks.of_config(config, TINY))
  names = {one.name for one in figures}
  assert len(names) == len(figures) and min(x.median for x in figures) > 0
  for network in ("identity encoder", "generator, 5 frames", "SyncNet"):
    for what in ("compile cold", "compile warm", "1 example", "8 examples"):
      assert f"{network}, {what}" in names


def test_the_motion_of_photographs_is_a_network_too():
  config = small.config(stages=("motion",))
  figures = [*networks.of_config(config, TINY)]
  figures += training.of_config(config, TINY)
  names = [one.name for one in figures]
  assert names[2] == "motion of a photograph, 50 frames, 1 example"
  assert names[-3] == "motion, step"


def test_training(monkeypatch):
  """On a device of 10^12 FLOP/s that tells how full it was."""
  monkeypatch.setattr(training.flops, "peak", lambda: 1e12)
  monkeypatch.setattr(training.flops, "memory", lambda: {"device_gb": 3.0})
  config = small.config(stages=("syncnet",))
  figures = list(training.of_config(config, TINY))
  assert [one.name for one in figures] == [
    f"syncnet, {what}"
    for what in (
      *("compile cold", "compile warm", "step", "samples"),
      *("arithmetic", "MFU", "device memory"),
    )
  ]
  found = {one.name.removeprefix("syncnet, "): one.median for one in figures}
  assert min(found.values()) > 0
  assert found["MFU"] == pytest.approx(found["arithmetic"] / 10, rel=1e-6)
  assert found["device memory"] == 3


def test_programs_are_compiled_anew_and_then_read(tmp_path):
  """The second of two equal traces finds XLA's work on disk."""
  before = jax.config.jax_compilation_cache_dir
  events = []
  jax.monitoring.register_event_listener(lambda name, **_: events.append(name))
  function = jax.jit(lambda x: jnp.sin(x) @ x + 3)
  made = compiling.compiled(lambda: function.trace(jnp.ones((4, 4))))
  hits = [name for name in events if name.endswith("cache_hits")]
  misses = [name for name in events if name.endswith("cache_misses")]
  assert misses and hits and events.index(misses[0]) < events.index(hits[0])
  assert made.cold > 0 and made.warm > 0
  assert made.program(jnp.ones((4, 4))).shape == (4, 4)
  assert jax.config.jax_compilation_cache_dir == before


def test_loader():
  found = measured("loader")
  assert len(found) == 9
  for stage in ("syncnet", "irfd", "speak"):
    assert found[f"samples for {stage}, from disk"] > 0
    assert 0 <= found[f"samples for {stage}, share of decoding"] < 1


def test_preparation(face_models):
  found = measured("preparation")
  assert found["a video"] > 0 and found["a frame, tracking"] > 0
  assert found["prepare synthetic"] > 0 and found["prepare folder"] > 0
