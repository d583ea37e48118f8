"""Methods see what they name and no more; references are what they say."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from speak_jax.methods import base as methods
from speak_jax.methods import h264, references, registry, speak
from speak_jax.methods.base import ShownFrames
from speak_jax.methods.references import REFERENCES
from speak_jax.stages import registry as stages

N, SIZE = 24, 48


def _face(shift):
  around = np.linspace(0, 2 * np.pi, 68, endpoint=False)
  points = np.stack([24 + 15 * np.cos(around), 20 + 15 * np.sin(around)], -1)
  points[48:] = points[48:] * 0.3 + [17, 20]
  return (points + shift).astype(np.float32)


@pytest.fixture
def request_():
  rng = np.random.default_rng(0)
  smooth = rng.integers(40, 200, (N, 6, 6, 3)).repeat(8, 1).repeat(8, 2)
  frames = smooth.astype(np.uint8)
  landmarks = np.stack([_face(t / N) for t in range(N)])
  track = ShownFrames(frames, landmarks)
  return methods.Request(
    identity=frames[0],
    landmarks=landmarks[0],
    audio=np.zeros(640 * N, np.int16),
    frames=N,
    fps=25.0,
    pose=track,
    emotion=ShownFrames(frames[:2], landmarks[:2]),
    target=track,
  )


def _made(name, request_):
  entry = next(x for x in REFERENCES if x.name == name)
  return methods.run(entry, request_, 0)


def test_the_references(request_):
  true = request_.target.frames
  static = _made("static", request_)
  assert (static == true[:1]).all()
  np.testing.assert_array_equal(_made("true", request_), true)
  late = _made("late", request_)
  np.testing.assert_array_equal(late[10:], true[:-10])
  # What it shows before is not compared, and it says so.
  begins = {entry.name: entry.method.lag_s for entry in REFERENCES}
  assert begins.pop("late") * request_.fps == 10
  assert set(begins.values()) == {0}
  mouth = _made("mouth_only", request_)
  pasted = (mouth == true).all(-1)
  assert pasted[:, 27, 24].all()  # between the lips
  np.testing.assert_array_equal(mouth[:, :10], static[:, :10])


def test_h264_costs_something_but_not_much(request_):
  made = _made("h264", request_)
  error = np.abs(made.astype(int) - request_.target.frames)
  assert 0 < error.mean() < 12
  odd = h264.round_trip(request_.target.frames[:, :47, :45], 25.0, 23)
  assert odd.shape == (N, 47, 45, 3)


def _spy(needs, seen):
  def prepare(weights, request):
    seen.append(request)
    return request

  method = references.STATIC.method._replace(
    needs=frozenset(needs), prepare=prepare
  )
  return references.STATIC._replace(method=method)


@pytest.mark.parametrize("needs", [(), ("pose",), ("emotion", "target")])
def test_a_method_is_given_what_it_needs_and_no_more(request_, needs):
  seen = []
  entry = _spy(needs, seen)
  methods.run(entry, request_, 0)
  for field in methods.OPTIONAL:
    assert (getattr(seen[0], field) is not None) == (field in needs)
  assert set(methods.unused_inputs(entry.method)) == {"pose", "emotion"} - set(
    needs
  )


def test_the_clock_runs_while_frames_are_generated(request_, monkeypatch):
  now = [100.0]
  monkeypatch.setattr(methods.time, "perf_counter", lambda: now[0])

  def takes(seconds, run):
    def slow(*args):
      now[0] += seconds
      return run(*args)

    return slow

  method = references.STATIC.method
  slow = method._replace(
    prepare=takes(7, method.prepare),
    generate=takes(2, method.generate),
    place=takes(30, method.place),
  )
  entry = references.STATIC._replace(method=slow)
  made = methods.timed(entry, request_, 0)
  assert made.seconds == 2
  np.testing.assert_array_equal(made.frames, methods.run(entry, request_, 0))


def test_a_missing_input_is_named(request_):
  with pytest.raises(ValueError, match="needs emotion"):
    methods.run(_spy(["emotion"], []), request_._replace(emotion=None), 0)


def test_frames_of_another_shape_are_refused(request_):
  method = references.STATIC.method._replace(place=lambda x, inputs: x[:-1])
  with pytest.raises(ValueError, match="asked for"):
    methods.run(references.STATIC._replace(method=method), request_, 0)


def test_the_digest_moves_with_all_that_is_shown(request_):
  entry = _spy(["pose"], [])
  name = methods.cache_key(entry, request_, 0)
  assert name == methods.cache_key(entry, request_, 0)
  weights = entry.restored._replace(digest="other")
  track = ShownFrames(request_.pose.frames[::-1], request_.pose.landmarks)
  different = [
    methods.cache_key(entry, request_, 1),
    methods.cache_key(entry._replace(restored=weights), request_, 0),
    methods.cache_key(entry, request_._replace(audio=request_.audio + 1), 0),
    methods.cache_key(entry, request_._replace(pose=track), 0),
    methods.cache_key(entry, request_._replace(identity=track.frames[0]), 0),
  ]
  assert len({name, *different}) == 6
  # What it does not see makes no difference.
  assert methods.cache_key(entry, request_._replace(target=track), 0) == name


def test_the_code_that_frames_depend_on_is_there():
  """A path that is gone would let stale frames be taken from the cache."""
  known = methods.digest("w", speak.CODE)
  assert known != methods.digest("v", speak.CODE)
  assert known != methods.digest("w", ("speak_jax.models",))
  assert known == methods.digest("w", reversed(speak.CODE))
  with pytest.raises(ValueError, match=r"no_such: no such module"):
    methods.digest("w", ("speak_jax.models.no_such",))


@pytest.mark.parametrize("name", stages.METHODS)
def test_every_method_names_its_code_and_its_modes(name):
  module = importlib.import_module(f"speak_jax.methods.{name}")
  assert methods.digest("w", module.CODE)
  for method in module.METHODS.values():
    assert method.sees and method.needs <= set(methods.OPTIONAL)


def test_a_path_with_a_mode(tmp_path):
  assert registry.place("a/b") == (Path("a/b"), "")
  assert registry.place("a/b@video") == (Path("a/b"), "video")
  assert registry.place("me@home/run") == (Path("me@home/run"), "")
  odd = tmp_path / "run@video"
  odd.mkdir()
  assert registry.place(str(odd)) == (odd, "")
  (odd / "config.json").write_text('{"config": {}}')  # of before: SPEAK's
  assert registry.find(registry.Place(odd)) is speak.METHOD
  with pytest.raises(ValueError, match=r"run@video@still: the modes are none"):
    registry.find(registry.Place(odd, "still"))
  (odd / "config.json").write_text('{"config": {"method": "newer"}}')
  with pytest.raises(ValueError, match=r"known method \(speak"):
    registry.find(registry.Place(odd))


def test_weights_of_no_run_belong_to_who_owns_them(tmp_path, monkeypatch):
  mine = speak.METHOD._replace(owns=lambda path: path.suffix == ".mine")
  monkeypatch.setattr(speak, "METHODS", {"": speak.METHOD, "mine": mine})
  file = tmp_path / "weights.mine"
  assert registry.find(registry.Place(file, "mine")) is mine
  with pytest.raises(ValueError, match="not a run or a bundle"):
    registry.find(registry.Place(tmp_path / "weights.yours"))
