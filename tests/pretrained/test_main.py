import json

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from speak_jax.common import exit_codes
from speak_jax.pretrained import __main__ as command
from speak_jax.pretrained import goldens, layouts
from tests.pretrained import reference
from tests.pretrained.torch_files import entries, state, write_zip

SHAPES = reference.resnet_shapes((1, 1), (2, 4), 3, 2)


def run(*words):
  return command.main(["pretrained", *map(str, words)])


@pytest.fixture
def folder(tmp_path):
  """One golden."""
  weights = goldens.fill(SHAPES, 2)
  picture = goldens.image("x", (1, 3, 32, 32), 2)
  wanted = reference.resnet(weights, picture)
  outputs = {f"out.{k}": v.astype("f4") for k, v in wanted.items()}
  np.savez(tmp_path / "resnet50_x.npz", **{"in.image": picture}, **outputs)
  meta = {"resnet50_x": {"seed": 2, "shapes": SHAPES}}
  (tmp_path / "meta.json").write_text(json.dumps(meta))
  return tmp_path


def test_verify_prints_a_line_each_and_says_yes(folder, capsys):
  assert run("verify", folder) == 0
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 6
  names = ["stem", "layer1", "layer2", "pool", "logits"]
  for line, output in zip(lines, names, strict=False):
    name, printed, error, verdict = line.split()
    assert (name, printed, verdict) == ("resnet50_x", output, "ok")
    assert 0 < float(error) < 5e-6
  assert lines[-1] == "5 of 5 outputs of 1 networks within 2e-05"


def test_verify_says_no(folder, monkeypatch, capsys):
  monkeypatch.setattr(goldens, "TOLERANCE", 1e-9)
  assert run("verify", folder) == 1
  assert "FAILED: above 1e-09" in capsys.readouterr().out
  (folder / "meta.json").unlink()
  assert run("verify", folder) == 1
  caught = capsys.readouterr()
  assert len(caught.err.splitlines()) == 1
  assert caught.err.startswith(f"error: {folder / 'meta.json'}: ")


def test_convert_writes_our_names(tmp_path, capsys):
  weights = goldens.fill(SHAPES, 2)
  source = write_zip(tmp_path / "w.pth", entries(state(**weights)))
  target = tmp_path / "w.safetensors"
  assert run("convert", source, target) == 0
  assert "num_batches_tracked" in capsys.readouterr().out
  arrays = safetensors.numpy.load_file(target)
  np.testing.assert_array_equal(
    arrays["params/stage1_block1/conv2/kernel"],
    weights["layer1.0.conv2.weight"].transpose(2, 3, 1, 0),
  )
  np.testing.assert_array_equal(
    arrays["batch_stats/stem_norm/batch/var"], weights["bn1.running_var"]
  )
  assert arrays["head/kernel"].shape == (16, 2)
  with safetensors.safe_open(target, "numpy") as archive:
    facts = archive.metadata()
  assert facts["layout"] == "resnet"
  assert json.loads(facts["sizes"])["stages"] == [1, 1]
  assert run("convert", source, target) == 1
  assert "is there already" in capsys.readouterr().err


def test_convert_leaves_nothing_behind_when_it_fails(tmp_path, capsys):
  source = write_zip(tmp_path / "w.pth", entries(state(w=np.ones(2, "f4"))))
  assert run("convert", source, tmp_path / "o") == 1
  known = ", ".join(layouts.LAYOUTS)
  assert f"no layout of {known}\n" in capsys.readouterr().err
  assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]


@pytest.mark.parametrize("words", [(), ("verify",), ("convert", "a"), ("x",)])
def test_other_words_are_refused_in_a_line(words, capsys):
  assert run(*words) == exit_codes.BAD_CONFIG
  assert capsys.readouterr().err == (
    "pretrained: say verify DIR, convert SRC DST or face-api DIR DST\n"
  )
