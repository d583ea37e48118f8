"""Every subject, as little of it as there can be; no test asserts a time."""

import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.bench import (
  changes,
  compiling,
  inputs,
  machine,
  networks,
  processes,
  start,
  subjects,
  training,
)
from speak_jax.bench.plan import Plan
from speak_jax.tools import to_onnx
from tests.stages import small

TINY = Plan(
  starts=("command",),
  sizes=(64,),
  seconds=2.0,
  takes=(1.0, 2.0),
  take_px=64,
  clips=1,
  clip_s=0.2,
  steps=1,
  calls=1,
  windows=1,
  people=2,
  people_s=1.0,
  turns=1,
  samples=2,
  loaded_px=32,
)


def measured(name: str, plan: Plan = TINY) -> dict[str, float]:
  figures = list(subjects.here(name, plan))
  assert len({one.name for one in figures}) == len(figures)
  for one in figures:
    assert all(math.isfinite(x) for x in one.values), one
  return {one.name: one.median for one in figures}


def test_a_start_has_stages(face_models, tmp_path):
  marks = start.marks("generate", str(tmp_path))
  assert len(marks) == len(start.STAGES)
  clocks = [mark.clock_s for mark in marks]
  assert clocks[0] > 0 and clocks == sorted(clocks)
  assert list(tmp_path.iterdir())  # programs


@pytest.mark.parametrize("name", start.KINDS)
def test_every_way_to_start_ends_with_a_frame(face_models, tmp_path, name):
  """In this process, which has what is imported."""
  kind, seen = start.KINDS[name], []
  argv = list(sys.argv)
  try:
    kind.begins(kind.model, lambda: seen.append(name))
  finally:
    sys.argv = argv
  assert seen


def test_photograph(face_models):
  found = measured("photograph")
  assert found.keys() == {"files to file, 64 px"}
  assert min(found.values()) > 0


def test_streaming(face_models):
  found = measured("streaming")
  assert len(found) == 6 and min(found.values()) > 0
  assert found["look-ahead"] == pytest.approx(1.32)


def test_marking(face_models):
  found = measured("marking")
  assert set(found) >= {f"found after {name}" for name in changes.WAYS}
  assert 0 <= found["found after nothing"] <= 1
  assert found["false alarms"] == 0
  assert 30 < found["PSNR of marked frames"] < 60
  assert abs(found["PSNR cost"]) < 1


def test_reference(face_models):
  found = measured("reference")
  assert len(found) == 3 and min(found.values()) > 0


def test_export():
  figures = {one.name: one for one in subjects.here("export", TINY)}
  for bundle in ("photograph", "reference"):
    onnx = figures[f"ONNX, {bundle}: largest difference"]
    if to_onnx.missing():
      assert "jax2onnx" in onnx.note and not onnx.values
    else:
      assert onnx.median < to_onnx.CLOSE
  for frames in (5, 50):
    name = f"StableHLO, windows of {frames} frames"
    assert figures[f"{name}: largest difference"].median < 1e-4
    assert figures[f"{name}, a frame"].median > 0


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
  assert names[-2] == "motion, step"


def test_training():
  config = small.config(stages=("syncnet",))
  figures = list(training.of_config(config, TINY))
  assert [one.name for one in figures] == [
    f"syncnet, {what}"
    for what in ("compile cold", "compile warm", "step", "samples")
  ]
  assert min(one.median for one in figures) > 0


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


def test_a_new_process_measures_and_says_why_it_does_not(
  face_models, monkeypatch, tmp_path
):
  figures = list(subjects.apart("start", TINY))
  assert [one.name for one in figures] == [
    "speak generate",
    "speak generate: of processors",
    "speak generate: compiled anew",
  ]
  assert min(one.median for one in figures) > 0
  monkeypatch.setitem(subjects.SUBJECTS, "figure", "no subject")
  with pytest.raises(subjects.FailedError, match=r"figure: AttributeError: .*"):
    list(subjects.apart("figure", TINY))
  monkeypatch.setenv("SPEAK_JAX_MODELS", str(tmp_path))
  (one,) = subjects.apart("photograph", TINY)
  assert not one.values and one.note.startswith("skipped: ")


def test_the_machine_is_told():
  facts = machine.facts()
  for name in ("python", "jax", "jaxlib", "speak_jax", "cpu", "devices"):
    assert facts[name]
  assert facts["cores"] >= 1 and facts["memory_gib"] > 0
  assert machine.moment()["products_per_s"] > 0


def test_processes_that_decode_are_counted():
  before = processes.cpu_s()
  assert len(inputs.speech(0.5)) == 8000
  assert processes.cpu_s() > before
  assert len(list(processes.children())) >= 1
  assert processes.peak_mib() > 50


def test_frames_come_at_another_rate():
  ramp = np.repeat(np.arange(0, 50, 5, np.uint8), 12).reshape(10, 2, 2, 3)
  found = changes.faster(ramp)
  assert found.shape == (12, 2, 2, 3)
  want = np.rint(np.minimum(np.arange(12) * 25 / 30 * 5, 45))
  np.testing.assert_array_equal(found[:, 0, 0, 0], want)
