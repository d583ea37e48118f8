"""The proof is one: right ports pass, planted mistakes and odd folders fail."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from speak_jax.pretrained import goldens
from speak_jax.pretrained.tensors import WeightsError
from tests.pretrained import reference
from tests.pretrained.torch_files import entries, state, write_zip

STORED = Path(__file__).parent / "goldens"
WIDTHS = ((2, 3), (4, 4), (3, 5, 4, 3), (4, 4, 4, 4), (5, 3, 3, 3))
SHAPES = {
  "resnet50_x": reference.resnet_shapes((1, 2, 1), (2, 4, 8), 5, 3),
  "vgg19_x": reference.vgg_shapes(WIDTHS),
}


def truth(name, weights, picture):
  if name == "vgg19_x":
    return reference.vgg(weights, picture, WIDTHS)
  return reference.resnet(weights, picture)


def write(folder, names=("resnet50_x", "vgg19_x"), seed=7, **changes):
  """A folder of goldens without stored weights; `changes` of meta's rows."""
  folder.mkdir(exist_ok=True)
  meta = {}
  for name in names:
    shapes = SHAPES[name]
    weights = goldens.fill(shapes, seed)
    picture = goldens.image("x", (1, 3, 34, 46), seed)
    first = next(iter(shapes))
    digest = hashlib.sha256(weights[first].tobytes()).hexdigest()
    arrays = {
      f"out.{k}": v.astype("f4")
      for k, v in truth(name, weights, picture).items()
    }
    # As the large ones are stored: means over the picture.
    deep = [k for k in arrays if k in ("out.stem", "out.relu2_1")]
    arrays |= {k: arrays[k].mean((2, 3)) for k in deep}
    np.savez(folder / f"{name}.npz", **{"in.image": picture}, **arrays)
    meta[name] = {
      "seed": seed,
      "stored_weights": False,
      "config": {},
      "outputs": {k: list(v.shape) for k, v in arrays.items()},
      "recipe_check": {first: digest[:16]},
      "shapes": {k: list(shape) for k, shape in shapes.items()},
      **changes,
    }
  (folder / "meta.json").write_text(json.dumps(meta))
  return folder


def failures(folder):
  return {
    (r.name, r.output): r.reason or r.error
    for r in goldens.verify(folder)
    if not r.passed
  }


@pytest.mark.parametrize("seed", [7, 8])
def test_goldens_of_any_seed_and_size_pass(tmp_path, seed):
  results = list(goldens.verify(write(tmp_path / "g", seed=seed)))
  assert len(results) == 6 + 5
  assert all(result.passed for result in results), results
  assert max(result.error for result in results) < 5e-6
  assert min(result.error for result in results) > 0


def test_stored_weights_of_both_formats_are_run(tmp_path):
  folder = write(tmp_path / "g", ["resnet50_x"], stored_weights=True)
  assert "no file" in failures(folder)["resnet50_x", "-"]
  weights = goldens.fill(SHAPES["resnet50_x"], 7)
  write_zip(folder / "resnet50_x.pth", entries(state(**weights)))
  assert [r.name for r in goldens.verify(folder)] == ["resnet50_x"] * 6
  safetensors.numpy.save_file(weights, folder / "resnet50_x.safetensors")
  results = list(goldens.verify(folder))
  assert [r.name for r in results] == (
    ["resnet50_x"] * 6 + ["resnet50_x.pth"] * 6
  )
  assert all(result.passed for result in results), results
  # A damaged file fails alone.
  (folder / "resnet50_x.pth").write_bytes(b"PK\3\4")
  assert list(failures(folder)) == [("resnet50_x.pth", "-")]


def plant(mistake):
  """A layout that converts as `mistake` has it."""
  layout = goldens.KINDS["resnet50"]

  def convert(tensors, config):
    converted = layout.convert(tensors, config)
    mistake(converted)
    return converted

  return layout._replace(convert=convert)


def wrong_epsilon(converted):
  # 1e-3 instead of 1e-5 under the root.
  norm = converted.variables["batch_stats"]["stem_norm"]["batch"]
  norm["var"] = norm["var"] + np.float32(1e-3 - 1e-5)


def turned_kernel(converted):
  conv = converted.variables["params"]["stage2_block1"]["conv2"]
  conv["kernel"] = conv["kernel"].swapaxes(0, 1)


def swapped_norms(converted):
  block = converted.variables["params"]["stage2_block2"]
  block["norm1"], block["norm2"] = block["norm2"], block["norm1"]


def missing_mean(converted):
  norm = converted.variables["batch_stats"]["stage3_block1"]["norm3"]["batch"]
  norm["mean"] = 0 * norm["mean"]


@pytest.mark.parametrize(
  ("mistake", "first"),
  [
    (wrong_epsilon, "stem"),
    (turned_kernel, "layer2"),
    (swapped_norms, "layer2"),
    (missing_mean, "layer3"),
  ],
)
def test_planted_mistakes_fail_where_they_are(
  tmp_path, monkeypatch, mistake, first
):
  folder = write(tmp_path / "g", ["resnet50_x"])
  monkeypatch.setitem(goldens.KINDS, "resnet50", plant(mistake))
  found = failures(folder)
  assert next(iter(found)) == ("resnet50_x", first)
  errors = list(found.values())
  assert all(isinstance(error, float) for error in errors)
  assert min(errors) > goldens.TOLERANCE
  assert ("resnet50_x", "logits") in found


def test_a_picture_of_another_range_fails(tmp_path):
  folder = write(tmp_path / "g", ["vgg19_x"])
  with np.load(folder / "vgg19_x.npz") as archive:
    arrays = dict(archive)
  arrays["in.image"] = arrays["in.image"] // 2
  np.savez(folder / "vgg19_x.npz", **arrays)
  assert len(failures(folder)) == 5


def edit(folder, name, **changes):
  """Changes arrays of a golden; None takes one out."""
  with np.load(folder / f"{name}.npz") as archive:
    arrays = dict(archive) | changes
  kept = {k: v for k, v in arrays.items() if v is not None}
  np.savez(folder / f"{name}.npz", **kept)


@pytest.mark.parametrize(
  ("changes", "reason"),
  [
    ({"out.pool": None}, "the npz does not hold it"),
    ({"out.layer9": np.ones((1, 2))}, "the network has no such output"),
    ({"out.pool": np.ones((1, 31))}, "wanted (1, 31)"),
    ({"out.pool": np.zeros((1, 32))}, "its truth is zero"),
    ({"out.pool": np.full((1, 32), np.nan)}, "its truth is zero or not"),
    ({"out.pool": np.full((1, 32), np.inf)}, "its truth is zero or not"),
  ],
)
def test_odd_outputs_fail_alone(tmp_path, changes, reason):
  folder = write(tmp_path / "g", ["resnet50_x"])
  edit(folder, "resnet50_x", **changes)
  ((_, output), said) = failures(folder).popitem()
  assert f"out.{output}" in changes
  assert reason in said
  assert len(failures(folder)) == 1


def test_nothing_is_left_out(tmp_path):
  folder = write(tmp_path / "g", ["vgg19_x"])
  meta = json.loads((folder / "meta.json").read_text())
  row = meta["vgg19_x"]
  odd = {
    "alexnet_x": row,
    "vgg19_no_npz": row,
    "vgg19_no_seed": {k: v for k, v in row.items() if k != "seed"},
    "vgg19_other": row | {"recipe_check": {"features.0.weight": "0" * 16}},
    "vgg19_keyless": row | {"recipe_check": {"features.1.weight": "0" * 16}},
    "vgg19_text": "a note",
  }
  for name in odd:
    if name != "vgg19_no_npz":
      content = (folder / "vgg19_x.npz").read_bytes()
      (folder / f"{name}.npz").write_bytes(content)
  (folder / "vgg19_cut.npz").write_bytes(content[:999])
  odd["vgg19_cut"] = row
  (folder / "vgg19_undescribed.npz").write_bytes(content)
  (folder / "meta.json").write_text(json.dumps(meta | odd))
  found = failures(folder)
  assert set(found) == {(name, "-") for name in (*odd, "vgg19_undescribed")}
  for name, part in (
    ("alexnet_x", "no known kind; they are resnet50"),
    ("vgg19_no_npz", "cannot be read"),
    ("vgg19_cut", "cannot be read"),
    ("vgg19_other", "features.0.weight is not the weight"),
    ("vgg19_undescribed", "does not describe it"),
  ):
    assert part in str(found[name, "-"])
  assert all(str(reason).isprintable() for reason in found.values())


@pytest.mark.parametrize("text", [None, "{", "{}", "[]", '{"../x": {}}'])
def test_a_folder_that_is_none_is_refused(tmp_path, text):
  if text is not None:
    (tmp_path / "meta.json").write_text(text)
  with pytest.raises(WeightsError, match=r"meta\.json: "):
    list(goldens.verify(tmp_path))


def test_weights_are_those_of_the_recipe():
  """Each kind's first weight has the digest of those that PyTorch ran on."""
  meta = json.loads((STORED / "meta.json").read_text())
  checked = 0
  for row in meta.values():
    for key, wanted in row.get("recipe_check", {}).items():
      made = goldens.fill({key: row["shapes"][key]}, row["seed"])[key]
      assert made.dtype == np.float32
      assert hashlib.sha256(made.tobytes()).hexdigest()[:16] == wanted
      checked += 1
  assert checked == 6


def test_made_up_weights_have_the_scale_of_their_names():
  shapes = {
    "bn.running_mean": (4000,),
    "bn.running_var": (4000,),
    "bn.weight": (4000,),
    "conv.weight_g": (1, 1, 4000),
    "conv.bias": (4000,),
    "conv.weight": (400, 10, 3),
    "q_proj.weight": (400, 30),
    "bn.num_batches_tracked": (),
  }
  made = goldens.fill(shapes, 1)
  for key, low, high in (
    ("bn.running_mean", -0.1, 0.1),
    ("bn.running_var", 0.5, 1.5),
    ("bn.weight", 0.8, 1.2),
    ("conv.weight_g", 1.8, 2.2),
    ("conv.bias", -0.1, 0.1),
    ("conv.weight", -((6 / 30) ** 0.5), (6 / 30) ** 0.5),
    ("q_proj.weight", -((3 / 30) ** 0.5), (3 / 30) ** 0.5),
  ):
    assert made[key].shape == shapes[key]
    for got, wanted in ((made[key].min(), low), (made[key].max(), high)):
      assert got == pytest.approx(wanted, abs=0.005 * (high - low)), key
  assert made["bn.num_batches_tracked"].dtype == np.int64
  new = {"conv.parametrizations.weight.original0": (1, 1, 4000)}
  (renamed,) = goldens.fill(new, 1).values()
  np.testing.assert_array_equal(renamed, made["conv.weight_g"])


@pytest.mark.parametrize("name", ["resnet50_small", "vgg19_small"])
def test_pictures_give_pytorchs_numbers(name):
  found = list(goldens.verify(STORED, [name]))
  assert len(found) == (7 if name == "resnet50_small" else 5)
  assert all(result.passed for result in found), found


def test_every_stored_golden_is_tested():
  """Those of a kind beside that kind's tests, and the other two above."""
  meta = json.loads((STORED / "meta.json").read_text())
  tests = "".join(p.read_text() for p in STORED.parent.glob("test_*.py"))
  assert len(meta) == 8
  for name in meta:
    assert f'"{name}"' in tests, name


def test_files_of_the_stored_kinds_pass(shared, tmp_path):
  """The same weights in files, as PyTorch and safetensors wrote them."""
  folder = shared / "data" / "goldens"
  meta = json.loads((folder / "meta.json").read_text())
  small = {k: v for k, v in meta.items() if v["stored_weights"]}
  for path in folder.iterdir():
    if path.stem in small:
      (tmp_path / path.name).symlink_to(path)
  (tmp_path / "meta.json").write_text(json.dumps(small))
  results = list(goldens.verify(tmp_path))
  assert len(results) >= 28
  assert all(result.passed for result in results), results
  assert any(result.name == "resnet50_small.pth" for result in results)
