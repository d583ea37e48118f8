"""launch/demo.sh makes the same video with the package's model and its own."""

from tests.launch.scripts import calls, noting


def test_its_first_video_is_of_the_kind_that_it_trains(tmp_path):
  done = noting("demo.sh", tmp_path)("--out", "/out", "--seed", "3")
  assert done.returncode == 0, done.stderr
  made = [words[1:] for words in calls(tmp_path)]
  modules = [words[0].rpartition(".")[2] for words in made]
  assert modules == [
    *("demo_inputs", "generate", "train", "evaluate", "export", "generate"),
    "inspect",
  ]
  first, last = (words for words in made if words[0] == "speak_jax.generate")
  assert first[-2:] == ["--model", "reference"]
  assert last[-2:] == ["--model", "/out/bundle"]
  same = [x.replace("first", "sample") for x in first[:-2]]
  assert same == last[:-2]
