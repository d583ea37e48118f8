"""A bundle as people have it: copied, cached, with files of its owner."""

import os
import shutil

import numpy as np
import pytest

from speak_jax import bundle as bundles


@pytest.fixture
def bundle(tmp_path):
  """A bundle, small: what its functions do is of no matter here."""
  content = bundles.Bundle(
    config={"seed": 3},
    weights={"speak/params/gain": np.arange(3, dtype=np.float32)},
    artifacts={name: name.encode() for name in bundles.FUNCTIONS},
  )
  bundles.write(tmp_path / "bundle", content, "# Model card\n")
  return tmp_path / "bundle"


def as_a_mac_has_it(folder):
  (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
  (folder / "stablehlo" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
  (folder / "._model.safetensors").write_bytes(b"\0\5\x16\7")


def as_git_has_it(folder):
  (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n")
  (folder / ".git" / "objects").mkdir(parents=True)
  (folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n")


def as_hf_download_has_it(folder):
  cache = folder / ".cache" / "huggingface" / "download"
  cache.mkdir(parents=True)
  (cache / "model.safetensors.metadata").write_text("0123\nabc\n1.0\n")


def with_another_card(folder):
  (folder / "README.md").write_text("---\nlicense: mit\n---\n# My model\n")


def without_a_card(folder):
  (folder / "README.md").unlink()


def with_files_of_its_owner(folder):
  (folder / "samples").mkdir()
  (folder / "samples" / "take.mp4").write_bytes(b"film")
  (folder / "other.safetensors").write_bytes(b"other weights")


def as_the_hubs_cache_has_it(folder):
  """snapshots/REV/file is a link to ../../blobs/DIGEST."""
  blobs = folder.parent / "blobs"
  blobs.mkdir()
  for i, file in enumerate(sorted(x for x in folder.rglob("*") if x.is_file())):
    file.rename(blobs / f"{i}")
    file.symlink_to(os.path.relpath(blobs / f"{i}", file.parent))


def with_sums_made_anew(folder):
  """As `sha256sum -b ./*` and Windows write them."""
  sums = folder / "SHA256SUMS"
  text = sums.read_text().replace("  ", " *./")
  sums.write_bytes(text.replace("\n", "\r\n").encode())


@pytest.mark.parametrize(
  "change",
  [
    as_a_mac_has_it,
    as_git_has_it,
    as_hf_download_has_it,
    with_another_card,
    without_a_card,
    with_files_of_its_owner,
    as_the_hubs_cache_has_it,
    with_sums_made_anew,
  ],
)
def test_a_bundle_is_read_however_it_came(bundle, change):
  before = bundles.read(bundle)
  change(bundle)
  found = bundles.read(bundle)
  assert found.config == before.config and found.artifacts == before.artifacts
  np.testing.assert_array_equal(found.weights["speak/params/gain"], [0, 1, 2])


@pytest.mark.parametrize(
  ("name", "content", "said"),
  [
    ("stablehlo/pose.bin", b"other", "altered: differs from SHA256SUMS"),
    ("stablehlo/pose.bin", None, "missing"),
    (
      "model.safetensors",
      b"version https://git-lfs.github.com",
      "git lfs pull",
    ),
    ("config.json", b"{}", "altered"),
    ("evaluation.safetensors", b"mine", "not listed in SHA256SUMS"),
  ],
)
def test_what_is_used_is_whole_and_unaltered(bundle, name, content, said):
  as_hf_download_has_it(bundle)
  if content is None:
    (bundle / name).unlink()
  else:
    (bundle / name).write_bytes(content)
  with pytest.raises(bundles.BundleError) as error:
    bundles.read(bundle)
  assert str(error.value).startswith(f"{bundle / name}: ")
  assert said in str(error.value) and "\n" not in str(error.value)


def test_a_blob_that_was_deleted_is_named(bundle):
  as_the_hubs_cache_has_it(bundle)
  shutil.rmtree(bundle.parent / "blobs")
  (bundle / "SHA256SUMS").unlink()
  (bundle / "SHA256SUMS").write_text("0  config.json\n")
  with pytest.raises(bundles.BundleError, match=r"missing \(a broken link\)"):
    bundles.read(bundle)


@pytest.mark.parametrize(
  ("change", "said"),
  [
    (as_git_has_it, ".git/HEAD: is not of the bundle"),
    (with_files_of_its_owner, "other.safetensors: is not of the bundle"),
    (with_another_card, "README.md: was edited"),
  ],
)
def test_a_new_bundle_takes_nothing_away(bundle, change, said):
  content = bundles.read(bundle)
  change(bundle)
  before = {x: x.read_bytes() for x in bundle.rglob("*") if x.is_file()}
  with pytest.raises(bundles.BundleError) as error:
    bundles.write(bundle, content, "# Model card\n")
  assert said in str(error.value)
  assert before == {x: x.read_bytes() for x in bundle.rglob("*") if x.is_file()}


def test_litter_is_no_reason_not_to_replace_a_bundle(bundle):
  content = bundles.read(bundle)
  as_a_mac_has_it(bundle)
  as_hf_download_has_it(bundle)
  bundles.write(bundle, content._replace(config={"seed": 4}), "# New\n")
  assert bundles.read(bundle).config["seed"] == 4
