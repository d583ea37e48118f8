"""The command from records to a report, with stand-ins for the networks."""

import json
import re
from typing import Any

import cv2
import numpy as np
import pytest
from safetensors.numpy import save_file

from data_pipelines.dataset import reader
from data_pipelines.media.audio import read_audio
from data_pipelines.media.video import read_frames
from data_pipelines.sampling import held_out as held_out_clips
from data_pipelines.synthetic.render import Recipe, render_clip
from speak_jax import evaluate, spec
from speak_jax.evaluation import (
  dataset,
  eval_clip,
  models,
  protocol,
  sections,
)
from speak_jax.evaluation.cache import Cache
from speak_jax.evaluation.disentanglement import subjects, swaps
from speak_jax.evaluation.readers import face_reader, own_syncnet
from speak_jax.evaluation.report import tables
from speak_jax.evaluation.report.prose import identity_pictures
from speak_jax.inference import sample_videos
from speak_jax.inference.settings import Settings
from speak_jax.inference.synthesizer import Synthesizer
from speak_jax.methods import base as methods
from speak_jax.methods import registry, speak
from speak_jax.models import judge
from speak_jax.models.irfd import Codes, IdentityFeatures
from speak_jax.stages.registry import METHODS
from tests import toy_records
from tests.pretrained import (
  narrow_inception,
  narrow_lpips,
  narrow_syncnet,
  torch_files,
)
from tests.stages import small

SIZE, N = 64, 12


@pytest.fixture(scope="module")
def held_out():
  return reader.in_memory(
    [
      render_clip(
        Recipe(
          seed=5,
          split="test",
          identity=person,
          emotion=feeling,
          level=2,
          seconds=N / 25,
          size=SIZE,
          framing="tight",
          twins_every=6,
        )
      )
      for person in (0, 1)
      for feeling in (0, 5)
    ]
  )


SETTINGS = Settings(SIZE, 48, "face", 5, 5, 25.0)


class Echo(Synthesizer):
  """A system that always shows its portrait."""

  def __init__(self):
    self.settings = SETTINGS

  def portrait(self, frame, landmarks):
    assert landmarks.shape == (68, 2)
    return frame

  def pose(self, frames):
    return np.zeros((len(frames), 2), np.float32)

  def emotion(self, faces):
    assert faces.shape[1:] == (48, 48, 3)
    return np.zeros((len(faces), 3), np.float32)

  def stream(self, portrait, pose, emotion, audio):
    assert len(audio) == 640 * len(pose)
    yield np.repeat(portrait[None], len(pose), 0)


def _encode(face, landmarks, frame, emotion, mouth):
  n = len(face)
  portrait = IdentityFeatures(
    face.reshape(n, -1)[:, :9] / 1.0, frame[:, 0, 0], ()
  )
  code = emotion[:, 24, 24] / 255.0
  codes = Codes(frame.reshape(n, -1)[:, :6] / 1.0, code, mouth[:, 9, 9] / 1.0)
  return portrait, codes, np.zeros((n, 8))


def _decode(portrait, codes):
  return (np.full((len(codes.pose), SIZE, SIZE, 3), 128, np.uint8),)


def _judge(frames):
  n = len(frames)
  return face_reader.Reading(
    np.ones(n, bool),
    np.full((n, 68, 2), 32.0),
    np.zeros((n, 3)),
    frames[:, 45, 32, 0] / 255.0,
    np.eye(8)[np.zeros(n, int)],
    frames.reshape(n, -1)[:, :64] / 255.0 + 1e-3,
  )


@pytest.fixture
def stand_ins(held_out, monkeypatch):
  model = models.Model(
    method=speak.METHOD,
    restored=methods.Restored(
      Echo(), "echo", SIZE, 25.0, preset="demo", commit="abc"
    ),
    parts=models.Parts(
      irfd=swaps.Irfd(_encode, _decode),
      settings=SETTINGS,
      sync=own_syncnet.OwnSyncNet(
        lambda mouth: (np.ones((len(mouth), 4)) / 2,),
        lambda audio: (np.ones((len(audio), 4)) / 2,),
        5,
        25.0,
      ),
      mouth=24,
      same_session=True,
    ),
  )
  monkeypatch.setattr(models, "load", lambda path, frames, mode: model)
  monkeypatch.setattr(protocol, "open_records", lambda path, split: held_out)
  monkeypatch.setattr(face_reader, "judge_reader", lambda params: _judge)
  return model


def _measured(path, out, **plan) -> Any:
  given = {"clips": 2, "seed": 0, "models": {"speak": path}} | plan
  return protocol.evaluate(protocol.Plan(**given), "DATA", out).metrics


TOY = methods.Method(
  name="toy",
  needs=frozenset({"pose"}),
  sees="every frame, which it shows backwards",
  samples=False,
  owns=lambda path: path.suffix == ".toy",
  restore=lambda path, frames: methods.Restored({}, "toy", SIZE, 25.0),
  prepare=lambda weights, request: request,
  generate=lambda weights, request, key: request.pose.frames[::-1],
  place=lambda frames, request: frames,
)


def test_what_weights_of_no_run_make_is_measured(
  held_out, tmp_path, monkeypatch
):
  monkeypatch.setattr(speak, "METHODS", {"": speak.METHOD, "toy": TOY})
  monkeypatch.setattr(protocol, "open_records", lambda path, split: held_out)
  monkeypatch.setattr(face_reader, "judge_reader", lambda params: _judge)
  weights = tmp_path / "weights.toy"
  weights.touch()
  out = tmp_path / "report"
  metrics = _measured(
    tmp_path, out, models={"mine": weights}, modes={"mine": "toy"}
  )
  assert 0 < metrics["mine/psnr"] < 100
  assert "meta/identity pictures" not in metrics
  text = (out / "report.md").read_text()
  assert "| mine | " in text and "which it shows backwards" in text
  assert "mine cannot use emotion, which were there." in text
  assert (out / "videos" / "mine").is_dir()
  names = ", ".join(METHODS)
  with pytest.raises(ValueError, match=rf"known method \({names}\)"):
    registry.find(registry.Place(tmp_path))


def test_from_records_to_a_report(stand_ins, tmp_path):
  out = tmp_path / "report"
  metrics = _measured(tmp_path, out, clips=4, seed=3)
  names = sorted(path.name for path in out.iterdir())
  assert names == [
    "metrics.json",
    "report.html",
    "report.md",
    "sheet.png",
    "swaps.png",
    "videos",
  ]
  stored = json.loads((out / "metrics.json").read_text())
  assert stored == metrics
  assert metrics["speak/psnr"] == metrics["speak/static_psnr"]
  assert metrics["speak/psnr_over_static"] == 0
  assert metrics["speak/mouth_box_over_shuffled"] == 0
  assert metrics["syncnet/two_way"] == 0.5
  assert metrics["irfd/code_std/pose"] > 0
  assert metrics["speak/psnr/low"] <= metrics["speak/psnr"]
  assert metrics["speak/true_psnr"] == 100
  assert 30 < metrics["speak/h264_psnr"] < 100
  assert metrics["speak/late_psnr"] < metrics["speak/h264_psnr"]
  assert metrics["speak/mouth_only_mouth_box_psnr"] == 100
  assert metrics["speak/mouth_only_psnr"] > metrics["speak/static_psnr"]
  text = (out / "report.md").read_text()
  assert "not what quality it can reach" in text
  assert "synthetic" in text
  assert "commit | abc" in text
  sheet = cv2.imread(str(out / "swaps.png"))
  assert sheet is not None
  assert sheet.shape[0] > 8 * 128


def test_every_report_shows_the_judges_held_out_accuracy(stand_ins, tmp_path):
  stored = json.loads(judge.WEIGHTS.with_suffix(".json").read_text())["tight"]
  metrics = _measured(tmp_path, tmp_path / "r")
  text = (tmp_path / "r" / "report.md").read_text()
  for where in (text, str(metrics["meta/reader"])):
    assert f"emotion {stored['emotion']:.2f} (chance .125)" in where
    assert f"identity AUC {stored['identity_auc']:.3f}" in where
    assert f"{stored['yaw_r2']:.2f}" in where
    assert "never on generated frames" in where.replace("\n", " ")


def test_videos_of_every_line_are_kept_and_shown(stand_ins, held_out, tmp_path):
  out = tmp_path / "report"
  (out / "videos" / "of an earlier time").mkdir(parents=True)
  _measured(tmp_path, out, clips=4, videos=2)
  folders = sorted(path.name for path in (out / "videos").iterdir())
  assert folders == [
    "ground-truth",
    "ground-truth-0.4-s-late",
    "ground-truth-through-H.264-crf-23",
    "speak",
    "speak-other-speech",
    "static-first-frame",
    "static-true-mouth-box",
  ]
  for folder in folders:
    assert len(list((out / "videos" / folder).glob("*.mp4"))) == 2
  clip = next((out / "videos" / "ground-truth").glob("*.mp4"))
  assert clip.stem.startswith("test_0000")
  frames = np.stack(list(read_frames(clip)))
  assert frames.shape == (N, SIZE, SIZE, 3)
  sound = read_audio(clip, N)
  said = next(
    held_out[i].audio
    for i, row in enumerate(held_out.index)
    if row.clip == clip.stem
  )
  assert np.corrcoef(sound, said)[0, 1] > 0.9
  page = (out / "report.html").read_text()
  assert page.count("<video") == 2 * 4  # truth, static, own, other speech
  assert "first frame, mouth box of every frame" in page


def test_how_well_the_codes_are_apart(stand_ins, tmp_path):
  out = tmp_path / "report"
  metrics = _measured(tmp_path, out, clips=4, swap=True)
  for figure in (
    "swap/pose/pose/toward",
    "swap_seen/identity/identity/change",
    "twins/psnr/pose_twin",
    "probe/pose_from_identity",
    "probe/identity_from_emotion/control",
    "code/pose/rank",
    "audio/silent/mouth",
    "driven/all/identity",
  ):
    assert np.isfinite(metrics[figure]), figure
  # A system that never moves does not mind what it hears.
  assert metrics["audio/shuffled/mouth"] == 0
  text = (out / "report.md").read_text()
  for words in (
    "| code swapped |",
    "pose from its twin",
    "| *chance* |",
    "effective rank",
    "shuffled | silent |",
    "| comes from others |",
    "](matrix.png)",
  ):
    assert words in text, words
  page = (out / "report.html").read_text()
  assert "What a line reads off each code" in page
  for name in (
    "matrix.png",
    "pose_sheet.png",
    "emotion_sheet.png",
    "driven.png",
  ):
    picture = cv2.imread(str(out / name))
    assert picture is not None
    assert picture.std() > 1


def test_only_a_run_with_irfd_can_be_swapped(stand_ins, tmp_path, monkeypatch):
  bare = stand_ins._replace(parts=models.NO_PARTS)
  monkeypatch.setattr(models, "load", lambda path, frames, mode: bare)
  with pytest.raises(ValueError, match="has no stage irfd"):
    _measured(tmp_path, tmp_path / "r", swap=True)


def test_twins_have_the_pose_and_the_mouth_of_their_frames(held_out):
  made = subjects.twins(
    held_out, SETTINGS, 24, limit=4, seed=0, same_session=True
  )
  assert made is not None
  frames = made.subjects
  assert len(frames.target) == 4 * subjects.SUBJECTS
  poses = np.concatenate([held_out[i].pose for i in range(len(held_out.index))])
  for angles in frames.pose:
    assert (np.abs(poses - angles).max(1) < 1e-5).any()
  assert made.pose.shape == frames.target.shape
  assert made.mouth.shape == frames.mouth.shape
  assert (made.pose != frames.target).any((1, 2, 3)).all()
  again = subjects.twins(
    held_out, SETTINGS, 24, limit=4, seed=0, same_session=True
  )
  assert again is not None
  np.testing.assert_array_equal(again.pose, made.pose)
  assert (
    subjects.twins(held_out, SETTINGS, 24, limit=1, seed=0, same_session=True)
    is None
  )


def of_sessions(names) -> reader.Records:
  """Clips of two people, one after the other, of these sessions."""
  half = len(names) // 2
  return reader.in_memory(
    [
      toy_records.record(
        i, identity=i // half, session=name, frames=N, size=SIZE, twins=2
      )
      for i, name in enumerate(names)
    ]
  )


@pytest.mark.parametrize("same_session", [True, False])
def test_identity_pictures_come_as_the_model_has_learned(
  stand_ins, tmp_path, monkeypatch, same_session
):
  """Each person: a video of two clips, and one of one."""
  data, lent = of_sessions("aabaab"), {}
  parts = stand_ins.parts._replace(same_session=same_session)
  model = stand_ins._replace(parts=parts)
  monkeypatch.setattr(models, "load", lambda path, frames, mode: model)
  monkeypatch.setattr(protocol, "open_records", lambda path, split: data)
  monkeypatch.setattr(face_reader, "tracker_reader", lambda *_: _judge)
  monkeypatch.setattr(dataset, "Tracker", lambda: None)
  for name in ("swap_subjects", "twins"):
    real = getattr(subjects, name)

    def spy(*args, real=real, name=name, **options):
      made = real(*args, **options)
      found = made.subjects if name == "twins" else made
      lent[name] = {
        (toy_records.read(target)[0], toy_records.read(identity)[0])
        for target, identity in zip(found.target, found.identity, strict=True)
      }
      return made

    monkeypatch.setattr(subjects, name, spy)
  metrics = _measured(tmp_path, tmp_path / "r", clips=6, swap=True)
  across = {(2, 0), (2, 1), (5, 3), (5, 4)}  # the video of one clip is alone
  for name, pairs in lent.items():
    assert bool(pairs & across) != same_session, name
    assert {i for i, _ in pairs} == set(range(6))
  said = "another clip of the person" + "'s session" * same_session
  assert metrics["meta/identity pictures"] == said
  assert (
    f"| identity pictures | {said} |"
    in (tmp_path / "r" / "report.md").read_text()
  )


def test_the_report_says_where_sessions_are_not_known():
  assert identity_pictures(False, ["a"]) == "another clip of the person"
  assert identity_pictures(True, ["", ""]).endswith("sessions are not known")
  assert identity_pictures(True, ["a", "", "b"]).endswith("(1 of 3 clips)")


@pytest.mark.parametrize("same_session", [True, False])
def test_the_sample_film_has_its_identity_as_training_has(
  tmp_path, monkeypatch, same_session
):
  shown = []

  class Stub:
    def video(self, identity, landmarks, frames, emotion, sound):
      shown.append(toy_records.read(identity)[0])
      return frames

  config = small.config(speak__same_session=same_session)
  film = sample_videos.SampleVideos(config, tmp_path, of_sessions("abab"))
  film._synthesizer = Stub()
  monkeypatch.setattr(sample_videos.mp4, "write_video", lambda *_: None)
  film._write(tmp_path / "video.mp4", {})
  assert shown == [0 if same_session else 1]


def test_a_model_without_irfd_or_sync_leaves_their_tables_out(
  stand_ins, tmp_path, monkeypatch
):
  bare = stand_ins._replace(parts=models.NO_PARTS)
  monkeypatch.setattr(models, "load", lambda path, frames, mode: bare)
  metrics = _measured(tmp_path, tmp_path / "r")
  assert not any(key.startswith(("irfd", "syncnet")) for key in metrics)
  assert not any("sync" in key for key in metrics)
  assert not (tmp_path / "r" / "swaps.png").exists()


def test_clips_without_landmarks_are_left_out_of_our_own_syncnets_figures(
  stand_ins, held_out
):
  sync = stand_ins.parts.sync._replace(mouth=24)
  wholes = held_out_clips.evaluation_clips(
    held_out,
    size=SIZE,
    face_size=48,
    emotion_frames=4,
    same_session=True,
  )
  seen = [eval_clip.eval_clip(whole) for whole in wholes]
  blind = [
    x._replace(landmarks=np.full_like(x.landmarks, np.nan)) for x in seen
  ]
  some = sections.own_syncnet_part(sync, [blind[0], *seen[1:]], 0).values
  assert some["syncnet/two_way"].clips == len(seen) - 1
  assert sections.own_syncnet_part(sync, blind, 0).values == {}


def test_the_official_syncnet_gives_the_fields_figures(stand_ins, tmp_path):
  # In the container of the released file, torch's from before 1.6.
  weights = tmp_path / "syncnet_v2.model"
  state = torch_files.state(**narrow_syncnet.weights())
  weights.write_bytes(torch_files.legacy_bytes(state))
  out = tmp_path / "report"
  metrics = _measured(tmp_path, out, syncnet=weights)
  for metric in ("sync_c", "sync_d", "sync_offset"):
    for name in (metric, f"static_{metric}", f"true_{metric}"):
      assert np.isfinite(metrics[f"speak/{name}"])
    assert np.isfinite(metrics[f"speak/{metric}_shuffled"])
  # The system stands still, so that both rows are the same pictures.
  assert metrics["speak/sync_d"] == metrics["speak/static_sync_d"]
  assert metrics["speak/sync_d"] != metrics["speak/true_sync_d"]
  assert metrics["speak/sync_d"] > 0
  # Our own network is still measured, under its own name alone.
  assert metrics["syncnet/two_way"] == 0.5
  assert not any("confidence" in key for key in metrics)
  assert "NOT the released file" in metrics["meta/syncnet"]
  text = (out / "report.md").read_text()
  assert "| Sync-C (official SyncNet v2, more is better) |" in text
  assert "| Sync-D (official SyncNet v2, less is better) |" in text
  assert "Sync confidence" not in text


def test_lpips_and_fid_with_their_weights(stand_ins, tmp_path):
  save_file(narrow_lpips.whole(), tmp_path / "lpips.safetensors")
  save_file(narrow_inception.weights(), tmp_path / "inception.safetensors")
  out = tmp_path / "report"
  metrics = _measured(
    tmp_path,
    out,
    lpips=str(tmp_path / "lpips.safetensors"),
    inception=str(tmp_path / "inception.safetensors"),
  )
  assert metrics["speak/true_lpips"] == 0
  assert metrics["speak/lpips"] == metrics["speak/static_lpips"] > 0
  assert metrics["speak/true_fid"] == pytest.approx(0, abs=1e-6)
  assert metrics["speak/fid"] > metrics["speak/h264_fid"] > 0
  assert "5th frame" in metrics["meta/fid"]
  text = (out / "report.md").read_text()
  assert "| LPIPS (less is better) |" in text
  assert "| FID (less is better) |" in text


def test_without_weights_the_runs_own_network_is_named(stand_ins, tmp_path):
  out = tmp_path / "report"
  metrics = _measured(tmp_path, out)
  assert metrics["meta/syncnet"] == "the run's own"
  assert "speak/sync_confidence" in metrics
  assert "speak/sync_c" not in metrics
  text = (out / "report.md").read_text()
  assert "| Sync confidence (our own SyncNet, more is better) |" in text
  assert "official SyncNet v2," not in text


def test_a_bundle_has_sync_figures_with_the_official_syncnet(
  stand_ins, tmp_path, monkeypatch
):
  bare = stand_ins._replace(parts=models.NO_PARTS)
  monkeypatch.setattr(models, "load", lambda path, frames, mode: bare)
  weights = tmp_path / "w.safetensors"
  save_file(narrow_syncnet.weights(), weights)
  metrics = _measured(tmp_path, tmp_path / "r", syncnet=weights)
  assert np.isfinite(metrics["speak/sync_c"])
  assert "syncnet/two_way" not in metrics


@pytest.mark.parametrize(
  "damage", ["gone", "garbage", "short of a key", "other layout"]
)
def test_weights_that_cannot_be_used_are_one_line(stand_ins, tmp_path, damage):
  path = tmp_path / "syncnet_v2.model"
  weights = narrow_syncnet.weights()
  if damage == "garbage":
    path.write_bytes(b"no weights at all" * 9)
  elif damage == "short of a key":
    del weights["netfclip.3.bias"]
    save_file(weights, path)
  elif damage == "other layout":
    save_file({"conv1.weight": np.zeros((4, 3, 7, 7), np.float32)}, path)
  with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
    _measured(tmp_path, tmp_path / "r", syncnet=path)
  assert "\n" not in str(caught.value)
  assert not (tmp_path / "r").exists()


def test_subjects_hold_the_truth_of_their_frames(held_out):
  wholes = list(
    held_out_clips.evaluation_clips(
      held_out,
      size=SIZE,
      face_size=48,
      emotion_frames=4,
      same_session=True,
    )
  )
  found = subjects.swap_subjects(wholes, SETTINGS, mouth=24)
  assert found.target.shape == (4 * subjects.SUBJECTS, SIZE, SIZE, 3)
  assert found.mouth.shape[1:] == (24, 24, 3)
  for i in range(len(found.target)):
    whole = wholes[found.clip[i]]
    t = next(
      t
      for t, f in enumerate(whole.frames)
      if np.array_equal(f, found.target[i])
    )
    np.testing.assert_array_equal(found.pose[i], whole.pose[t])
    assert found.label[i] == whole.emotion_label
    assert whole.factors[t, 6] == found.opening[i]
    assert not np.array_equal(found.identity[i], found.target[i])


def test_real_clips_take_the_opening_from_landmarks(held_out):
  whole = next(
    iter(
      held_out_clips.evaluation_clips(
        held_out,
        size=SIZE,
        face_size=48,
        emotion_frames=4,
        same_session=True,
      )
    )
  )
  real = whole._replace(factors=whole.factors[:0])
  np.testing.assert_allclose(
    eval_clip.mouth_opening(real), spec.mouth_opening(whole.landmarks)
  )
  assert (
    np.corrcoef(eval_clip.mouth_opening(real), eval_clip.mouth_opening(whole))[
      0, 1
    ]
    > 0.8
  )


def test_another_frame_rate_is_one_line(stand_ins, tmp_path, monkeypatch):
  slow = stand_ins._replace(restored=stand_ins.restored._replace(fps=30.0))
  monkeypatch.setattr(models, "load", lambda path, frames, mode: slow)
  with pytest.raises(ValueError, match=r"25 frames/s, the model .* 30"):
    _measured(tmp_path, tmp_path / "r")
  assert not (tmp_path / "r").exists()


def test_one_held_out_person_is_measured_without_swaps(
  stand_ins, held_out, tmp_path, monkeypatch
):
  alone = reader.in_memory([held_out[0], held_out[1]])
  assert len({row.identity for row in alone.index}) == 1
  monkeypatch.setattr(protocol, "open_records", lambda path, split: alone)
  metrics = _measured(tmp_path, tmp_path / "r")
  assert metrics["meta/data"].endswith("1 person whom training never saw")
  assert metrics["speak/psnr"] > 0 and "irfd/psnr" not in metrics
  assert (
    "All clips are of one person." in (tmp_path / "r/report.md").read_text()
  )
  with pytest.raises(ValueError, match="--swap: DATA: donors must be others"):
    _measured(tmp_path, tmp_path / "s", swap=True)
  assert not (tmp_path / "s").exists()


def test_one_held_out_clip_is_one_line(
  stand_ins, held_out, tmp_path, monkeypatch
):
  alone = reader.in_memory([held_out[0]])
  monkeypatch.setattr(protocol, "open_records", lambda path, split: alone)
  with pytest.raises(ValueError, match="DATA: one held-out clip"):
    _measured(tmp_path, tmp_path / "r")
  assert not (tmp_path / "r").exists()


def test_neither_run_nor_bundle(tmp_path):
  with pytest.raises(ValueError, match="not a run"):
    models.load(tmp_path, 10)


def test_several_models_stand_side_by_side(stand_ins, tmp_path):
  models = {"one": tmp_path / "a", "two": tmp_path / "b"}
  metrics = _measured(tmp_path, tmp_path / "r", models=models)
  assert metrics["one/psnr"] == metrics["two/psnr"]
  assert metrics["one/psnr"] == metrics["speak/static_psnr"]
  assert metrics["meta/syncnet"] == "one's own, for all"
  assert not any(key.startswith("irfd/") for key in metrics)
  text = (tmp_path / "r" / "report.md").read_text()
  assert "| one, other speech |" in text
  assert "| ground truth 0.4 s late |" in text


def test_cached_frames_are_not_made_again(stand_ins, tmp_path, monkeypatch):
  cache = Cache(tmp_path / "cache", 10**9)
  first = _measured(tmp_path, tmp_path / "r", cache=cache)

  def never(*args):
    raise AssertionError("made again")

  monkeypatch.setattr(Echo, "stream", never)
  again = _measured(tmp_path, tmp_path / "r", cache=cache)
  # What was not made has no speed.
  assert "meta/speed" in first
  for key in ("meta/minutes", "meta/speed"):
    first.pop(key, None)
    again.pop(key, None)
  assert first == again


@pytest.mark.parametrize("kind", ["1", "3", "losses"])
def test_tables_of_the_paper(stand_ins, tmp_path, kind):
  models = {"full": tmp_path / "a", "no_pose": tmp_path / "b"}
  plan = protocol.Plan(models, clips=2, seed=0)
  out = tmp_path / "r"
  made = protocol.tabulate(plan, kind, "MEAD=DATA,other=DATA", out)
  assert (out / "MEAD" / "report.md").exists()
  assert (out / "other" / "metrics.json").exists()
  stems = ("table",) if kind == "1" else ("table", "changes")
  for stem in stems:
    for suffix in ("md", "csv", "json", "tex"):
      assert (out / f"{stem}.{suffix}").stat().st_size
  rows = made[0].rows
  measured = {row.data for row in rows if row.source == tables.MEASURED}
  assert measured == {"MEAD", "other"}
  text = (out / "table.md").read_text()
  assert "(published)" in text
  assert "not comparable" in text
  if kind != "1":
    moved = made[1].rows
    assert [row.method for row in moved] == ["no_pose"] * 4
    assert moved[0].values["psnr"].value == 0
    assert set(moved[0].marks.values()) == {"unclear"}


def test_an_ablation_needs_its_full_model(tmp_path):
  plan = protocol.Plan({"no_pose": tmp_path}, clips=2, seed=0)
  with pytest.raises(ValueError, match="needs a model named full"):
    protocol.tabulate(plan, "3", "DATA", tmp_path)


def test_a_model_that_cannot_speak_is_not_tabulated(
  stand_ins, tmp_path, monkeypatch
):
  mute = stand_ins._replace(restored=stand_ins.restored._replace(weights=None))
  monkeypatch.setattr(models, "load", lambda path, frames, mode: mute)
  plan = protocol.Plan({"full": tmp_path}, clips=2, seed=0)
  with pytest.raises(ValueError, match="no stage that speaks"):
    protocol.tabulate(plan, "1", "DATA", tmp_path)


def test_names_of_models_and_data_sets(tmp_path):
  found = evaluate.named_models("a=x/y,b.c=z=1")
  paths = {name: str(place.path) for name, place in found.items()}
  assert paths == {"a": "x/y", "b.c": "z=1"}
  assert evaluate.named_models("v=x/y@video")["v"].mode == "video"
  for flag in ("x/y", "a=x,a=y", "irfd=x", "a b=x", "a="):
    with pytest.raises(ValueError, match="--models"):
      evaluate.named_models(flag)
  plan = protocol.Plan({"a": tmp_path / "run"}, 2, 0)
  assert dataset.named_folders("M=d/mead,d/hdtf,d=1/x", plan.models) == {
    "M": "d/mead",
    "hdtf": "d/hdtf",
    "d": "1/x",
  }
  assert dataset.named_folders("", plan.models) == {
    "data": str(tmp_path / "run" / "data")
  }
  with pytest.raises(ValueError, match="a second data set 'x'"):
    dataset.named_folders("d/x,e/x", plan.models)
