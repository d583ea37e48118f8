"""The user study: its order, its page in a browser, its collected answers."""

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest

from data_pipelines.media.audio import read_audio
from data_pipelines.media.mp4 import write_video
from data_pipelines.media.video import probe, read_frames
from speak_jax.tools.study import answers as answer_files
from speak_jax.tools.study import build, design, report
from tests.browser import browser

METHODS, CLIPS = ("ours", "wav2lip", "truth"), ("ann_happy", "bob_sad")
NAN = float("nan")


def clip(path, value, frames=6, size=32, fps=25.0, sound=True):
  path.parent.mkdir(parents=True, exist_ok=True)
  picture = np.full((frames, size, size, 3), value, np.uint8)
  audio = (3000 * np.sin(np.arange(640 * frames) / 5)).astype(np.int16)
  write_video(path, picture, fps, audio if sound else None)


@pytest.fixture
def results(tmp_path):
  """A folder of method folders, of other sizes, rates and lengths."""
  for i, method in enumerate(METHODS):
    for j, name in enumerate(CLIPS):
      clip(
        tmp_path / "results" / method / f"{name}.mp4",
        value=40 * (2 * i + j),
        frames=6 + 2 * i,
        size=32 + 16 * i,
      )
  return tmp_path / "results"


def made(results, out, embed_mb=25.0, **changed):
  options = {"seed": 0, "limit": 0, "embed_mb": embed_mb, **changed}
  return build.build(build.find_videos([str(results)]), out, **options)


def answers(key, rater="r1", mark=lambda item, q: 3, **changed):
  marks = {item.number: [mark(item, q) for q in range(3)] for item in key.items}
  content = {
    "format": "speak-study-answers",
    "version": 1,
    "study": key.study,
    "rater": rater,
    "answers": marks,
  }
  return json.dumps({**content, **changed}).encode()


# --- order -------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(2, 1), (2, 2), (3, 10), (5, 30)])
def test_order_is_balanced(n, m):
  methods = [f"m{i}" for i in range(n)]
  clips = [f"c{i}" for i in range(m)]
  key = design.plan(methods, clips, 1)
  shown = [(item.method, item.clip) for item in key.items]
  assert sorted(shown) == sorted((a, b) for a in methods for b in clips)
  for r in range(n):
    part = shown[r * m : (r + 1) * m]
    assert {name for _, name in part} == set(clips)
    turns = Counter(method for method, _ in part)
    assert max(turns.values()) - min(turns[x] for x in methods) <= 1
  if m > 1:
    assert all(a[1] != b[1] for a, b in itertools.pairwise(shown))


def test_seed_and_content_fix_the_study():
  a = design.plan(METHODS, CLIPS, 3, "x")
  assert a == design.plan(METHODS, CLIPS, 3, "x")
  assert a.study != design.plan(METHODS, CLIPS, 3, "y").study
  orders = {design.plan(METHODS, CLIPS, seed).items for seed in range(9)}
  assert len(orders) > 3
  with pytest.raises(ValueError, match="two methods"):
    design.plan(METHODS[:1], CLIPS, 0)


def test_key_is_read_back():
  key = design.plan(METHODS, CLIPS, 3)
  assert design.read_key(design.key_text(key).encode()) == key
  for damaged in (b"", b"[]", b'{"format": "speak-study-key", "version": 1}'):
    with pytest.raises(ValueError):
      design.read_key(damaged)


# --- making ------------------------------------------------------------------


def test_nothing_of_a_page_tells_the_method(results, tmp_path):
  out = made(results, tmp_path / "out", embed_mb=0.0)
  assert not out.embedded
  page = out.page.parent
  assert sorted(x.name for x in page.iterdir()) == [
    *(f"{i:03d}.mp4" for i in range(1, 7)),
    "index.html",
  ]
  everything = b"".join(path.read_bytes() for path in page.iterdir())
  for word in (*METHODS, *CLIPS, str(results)):
    assert word.encode() not in everything
  looks, lengths, tags = set(), set(), set()
  for path in page.glob("*.mp4"):
    info = probe(path)
    looks.add((info.width, info.height, round(info.fps)))
    lengths.add((info.frames, len(read_audio(path)) // 2000))
    with av.open(str(path)) as container:
      tags.add(json.dumps(container.metadata, sort_keys=True))
  assert looks == {(64, 64, 25)}
  assert len(lengths) == 1 and len(tags) == 1
  key = design.read_key(out.key.read_bytes())
  for item in key.items:  # the key tells the truth
    value = 40 * (2 * METHODS.index(item.method) + CLIPS.index(item.clip))
    frame = next(read_frames(page / f"{item.number}.mp4"))
    assert abs(frame.mean() - value) < 6


def test_small_page_is_one_file(results, tmp_path):
  out = made(results, tmp_path / "out")
  assert out.embedded
  assert [x.name for x in out.page.parent.iterdir()] == ["index.html"]
  text = out.page.read_text()
  assert text.count("data:video/mp4;base64,") == 6
  assert not any(word in text for word in (*METHODS, *CLIPS))


def test_no_source_ends_the_script_that_holds_it():
  key = design.plan(METHODS, CLIPS[:1], 0)
  plain = design.page(key, {item.number: "a" for item in key.items}, "data:")
  hostile = {item.number: "</script><b>" for item in key.items}
  text = design.page(key, hostile, "data:")
  assert text.count("</script>") == plain.count("</script>")


def test_only_shared_clips_and_at_most_so_many(results, tmp_path, capsys):
  clip(results / "ours" / "extra.mp4", 9)
  out = made(results, tmp_path / "out", limit=1)
  assert "have them: 1 clips" in capsys.readouterr().out
  assert len(out.clips) == 1 and out.clips[0] in CLIPS


def test_results_may_be_named(results):
  found = build.find_videos([f"a={results / 'ours'}", str(results / "truth")])
  assert list(found) == ["a", "truth"]
  assert list(build.find_videos([f"a={results}"])) == [
    "a/ours",
    "a/truth",
    "a/wav2lip",
  ]
  folder = results.parent / "take=1"
  folder.symlink_to(results / "ours")
  assert list(build.find_videos([str(folder)])) == ["ours"]
  with pytest.raises(ValueError, match="a second method ours"):
    build.find_videos([str(results), str(results / "ours")])
  with pytest.raises(ValueError, match="no such folder"):
    build.find_videos([str(results / "none")])
  (results / "ours" / "empty").mkdir()
  with pytest.raises(ValueError, match="no mp4"):
    build.find_videos([str(results / "ours" / "empty")])


def test_what_cannot_be_compared_is_refused(results, tmp_path):
  clip(results / "ours" / "ann_happy.mp4", 9, sound=False)
  with pytest.raises(ValueError, match=r"ours/ann_happy.mp4: no audio"):
    made(results, tmp_path / "out")
  assert not (tmp_path / "out" / "key.json").exists()
  frames = np.zeros((6, 32, 64, 3), np.uint8)
  write_video(results / "ours" / "ann_happy.mp4", frames)
  with pytest.raises(ValueError, match="crop them alike"):
    made(results, tmp_path / "out")


def test_key_of_another_study_is_kept(results, tmp_path):
  first = made(results, tmp_path / "out")
  before = first.key.read_bytes()
  made(results, tmp_path / "out")  # the same one again
  clip(results / "ours" / "ann_happy.mp4", 200)
  with pytest.raises(ValueError, match="another study"):
    made(results, tmp_path / "out")
  assert first.key.read_bytes() == before


# --- agreement ---------------------------------------------------------------


def test_alpha_is_that_of_the_published_example():
  """Krippendorff (2011), section E: four observers, twelve units, .815."""
  rows = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
  )
  table = [[NAN if x == "." else float(x) for x in row.split()] for row in rows]
  assert report.alpha(np.array(table)) == pytest.approx(0.815, abs=5e-4)


def test_alpha_at_its_ends():
  marks = np.array([[1.0, 2, 3, 4, 5], [1, 2, 3, 4, 5]])
  assert report.alpha(marks) == pytest.approx(1)
  rng = np.random.default_rng(0)
  assert abs(report.alpha(rng.integers(1, 6, (20, 400)).astype(float))) < 0.02
  # Only the order counts: other numbers for the same marks.
  table = rng.integers(1, 6, (3, 30)).astype(float)
  assert report.alpha(table**3) == pytest.approx(report.alpha(table))
  assert np.isnan(report.alpha(np.full((3, 4), 2.0)))
  assert np.isnan(report.alpha(np.array([[1.0, NAN], [NAN, 2.0]])))
  assert np.isnan(report.alpha(np.full((2, 2), NAN)))


# --- collecting --------------------------------------------------------------


def test_table_has_means_intervals_and_numbers():
  key = design.plan(METHODS, CLIPS, 0)
  worth = {"ours": 3, "wav2lip": 2, "truth": 5}
  raters = [
    answer_files.read_answers(
      answers(
        key,
        f"r{r}",
        lambda item, q, r=r: min(5, worth[item.method] + (r + q) % 2),
      ),
      key,
    )
    for r in range(4)
  ]
  text = report.table(raters, key, seed=0)
  assert "4 raters, 2 clips, 6 videos of 3 methods; 24 videos rated" in text
  row = next(x for x in text.splitlines() if x.startswith("| ours"))
  assert re.search(r"\| 3\.50 \[3\.\d\d, [34]\.\d\d\] \|", row)
  assert "| truth | 5.00 [5.00, 5.00]" in text
  marks = answer_files.scores(raters, key)
  assert f"{report.alpha(marks[..., 0]):.3f}" in text
  rows = [x for x in text.splitlines() if "(published)" in x]
  assert rows == [
    "| SPEAK, v1, MEAD (published) | 4.12 | 3.97 | 4.09 | - |",
    "| Wav2Lip, v1, MEAD (published) | 4.03 | 1.42 | 1.54 | - |",
    "| ATVG, v1, MEAD (published) | 3.89 | 3.71 | 3.82 | - |",
    "| ground truth, v1, MEAD (published) | 4.76 | 4.91 | 4.89 | - |",
    "| SPEAK, v1, CREMA-D (published) | 4.23 | 3.67 | 4.11 | - |",
  ]
  assert "not comparable" in text
  cells = {x.count("|") for x in text.splitlines() if x.startswith("|")}
  assert cells == {len(design.QUESTIONS) + 3}
  alone = report.table(raters[:1], key, seed=0)
  assert "[" not in alone.split("---|\n")[1].split("Agreement")[0]


@pytest.mark.parametrize(
  ("content", "reason"),
  [
    (b"", "no JSON"),
    (b"\xff\xfe\x00", "no JSON"),
    (b"[" * 100_000, "no JSON"),
    (b"[1]", "no speak-study-answers"),
    (b" " * ((1 << 20) + 1), "larger"),
    ({"study": "0"}, "another study"),
    ({"version": 2}, "version"),
    ({"rater": ""}, "no rater"),
    ({"answers": [1]}, "no rater or no answers"),
    ({"answers": {"999": [1, 1, 1]}}, "not shown"),
    ({"answers": {"001": [1, 1]}}, "clip 001"),
    ({"answers": {"001": [1, 1, 6]}}, "clip 001"),
    ({"answers": {"001": [1, 1, True]}}, "clip 001"),
    ({"answers": {"001": [1, 1, 2.5]}}, "clip 001"),
    ({"answers": {"001": "555"}}, "clip 001"),
    ({"answers": {"001": None}}, "no clip is rated"),
  ],
)
def test_damaged_and_foreign_answers_are_refused(content, reason):
  key = design.plan(METHODS, CLIPS, 0)
  if isinstance(content, dict):
    content = answers(key, **content)
  with pytest.raises(ValueError, match=reason) as error:
    answer_files.read_answers(content, key)
  assert "\n" not in str(error.value)


def test_collect_goes_on_with_the_rest(tmp_path):
  key = design.plan(METHODS, CLIPS, 0)
  files = {
    "a.json": answers(key, "a"),
    "half.json": answers(key, "b", answers={"001": [1, 1, 1]}),
    "b.json": answers(key, "b"),
    "bad.json": b"{",
    "other.json": answers(key, "c", study="0"),
  }
  paths = [tmp_path / name for name in (*files, "missing.json")]
  for path in paths[:-1]:
    path.write_bytes(files[path.name])
  found, refused = answer_files.collect(paths, key)
  assert [(one.rater, len(one.marks)) for one in found] == [("a", 6), ("b", 6)]
  assert len(refused) == 4
  assert {Path(line.split(": ")[0]).name for line in refused} == {
    "half.json",
    "bad.json",
    "other.json",
    "missing.json",
  }


def run(*args, cwd):
  root = Path(__file__).parents[2]
  return subprocess.run(
    [sys.executable, "-m", "speak_jax.tools.study", *args],
    cwd=cwd,
    capture_output=True,
    text=True,
    env={**os.environ, "PYTHONPATH": str(root)},
  )


def test_command_makes_and_collects(results, tmp_path):
  done = run("--results", str(results), "--out", "study/", cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  assert "send this one file" in done.stdout
  key = design.read_key((tmp_path / "study" / "key.json").read_bytes())
  for name in ("a", "b"):
    (tmp_path / f"{name}.json").write_bytes(answers(key, name))
  (tmp_path / "c.json").write_text("no\n")
  files = ("a.json", "b.json", "c.json")
  done = run("--collect", *files, "--out", "table.md", cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  assert "left out: c.json: damaged: no JSON" in done.stderr
  assert "2 raters, 2 clips" in (tmp_path / "table.md").read_text()
  done = run("--collect", "c.json", cwd=tmp_path)
  assert done.returncode == 1
  assert done.stderr.splitlines()[-1] == "error: no answers are left"


# --- the page ----------------------------------------------------------------


def appeared(folder, pattern):
  """A download, whole: browsers rename what they have written."""
  end = time.monotonic() + 30
  while time.monotonic() < end:
    if found := list(folder.glob(pattern)):
      return found[0]
    time.sleep(0.02)
  raise AssertionError(f"no {pattern}")


@pytest.mark.parametrize("embed_mb", [25.0, 0.0])
def test_rater_goes_through_the_page(results, tmp_path, embed_mb):
  """Keys, a break in the middle, the file that is saved, and the table."""
  out = made(results, tmp_path / "out", embed_mb=embed_mb)
  key = design.read_key(out.key.read_bytes())
  where = "document.getElementById('where').textContent"
  start = "document.getElementById('start').click()"
  with browser(tmp_path / "profile") as program:
    program.downloads(tmp_path)
    page = program.page()
    page.open(out.page, width=390, height=844)
    assert page.run("document.documentElement.scrollWidth") <= 390
    page.run(f"{start}; document.getElementById('video').pause()")
    page.key("3")  # nothing counts before the end of the clip
    assert page.run("document.querySelectorAll(':checked').length") == 0
    assert "Play again" in page.run("document.getElementById('hint').innerText")
    page.key(" ")
    for i in range(len(key.items)):
      assert page.run(where) == f"Clip {i + 1} of 6"
      page.wait("!document.querySelector('input').disabled")
      assert page.run("document.getElementById('next').disabled")
      for name in "5", "1", "2":
        page.key(name)
      if i == 2:  # the computer is shut down here
        page.open(out.page)
        page.run(start)
        assert page.run(where) == "Clip 3 of 6"
        page.key("ArrowLeft")
        assert page.run(where) == "Clip 2 of 6"
        assert page.run("document.querySelectorAll(':checked').length") == 3
        page.key("Enter")
      page.key("ArrowRight")
    assert "6 of 6" in page.run("document.getElementById('sum').textContent")
    page.run("document.getElementById('save').click()")
    saved = appeared(tmp_path, "answers-*.json")
    assert page.complaints() == []
  found = json.loads(saved.read_text())
  assert set(found) == {"format", "version", "study", "rater", "answers"}
  assert re.fullmatch("[0-9a-f]{16}", found["rater"])
  (one,), refused = answer_files.collect([saved], key)
  assert refused == []
  assert one.marks == {item.number: (5, 1, 2) for item in key.items}
