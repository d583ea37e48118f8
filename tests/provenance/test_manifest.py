import io
import json
import os
import subprocess
import sys

import av
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from data_pipelines.media import decoder, mp4
from data_pipelines.media import manifest as reading
from speak_jax.common.files import FileError
from speak_jax.provenance import credentials, examination, manifest, tags
from speak_jax.provenance.marking import Marking, Weights
from speak_jax.tools import verify

MARKING = Marking(Weights("mine", "1ae" + "0" * 61, "c0ffee"))


def film(path, marking: Marking = MARKING, n: int = 5):
  """A signed video of grey noise."""
  noise = np.random.default_rng(0).integers(90, 160, (n, 64, 64, 3), np.uint8)
  mp4.write_video(path, noise, tags=marking.tags, finish=marking.finish)
  return path


def read(path) -> manifest.Manifest | None:
  found = decoder.read_manifest(path)
  return None if found is None else manifest.parsed(found)


def test_says_what_when_and_by_which_weights(tmp_path):
  found = read(film(tmp_path / "a.mp4"))
  assert found is not None and found.valid and found.failures == ()
  assert found.says_synthetic and found.source == tags.COMPOSITE
  assert found.tool == tags.tool() and found.is_self_made
  assert "nothing about who" in found.name
  assert found.statement is not None
  assert found.statement[1:4] == MARKING.statement[1:4]
  assert list(tmp_path.iterdir()) == [tmp_path / "a.mp4"]


def test_frames_and_sound_are_as_they_were_before_it_was_signed(tmp_path):
  signed = list(decoder.read_frames(film(tmp_path / "a.mp4")))
  bare = Marking()
  bare.finish = lambda path: None  # type: ignore[method-assign]
  plain = list(decoder.read_frames(film(tmp_path / "b.mp4", bare)))
  np.testing.assert_array_equal(signed, plain)


@pytest.mark.parametrize("box", [b"moov", b"mdat"])
@pytest.mark.parametrize("place", [9, 300, 1100])
def test_one_changed_bit_of_what_is_signed_in_pieces_is_told(
  tmp_path, box, place, monkeypatch
):
  monkeypatch.setattr(manifest, "WHOLE_BYTES", 1_000)
  path = film(tmp_path / "a.mp4")
  found = read(path)
  assert found is not None and found.valid
  data = bytearray(path.read_bytes())
  data[data.index(box) + place] ^= 4
  path.write_bytes(data)
  found = read(path)
  assert found is None or not found.valid


@pytest.mark.parametrize("place", [0.3, 0.6, 0.95])
def test_one_changed_bit_is_told(tmp_path, place):
  path = film(tmp_path / "a.mp4")
  data = bytearray(path.read_bytes())
  data[round(place * len(data))] ^= 4
  path.write_bytes(data)
  found = read(path)
  assert found is not None and not found.valid
  assert found.failures and not found.says_synthetic


def test_a_large_file_is_not_held_while_it_is_signed(tmp_path):
  """It was held twice. The peak is a process's own, so one signs for it."""
  large = tmp_path / "large.mp4"
  noise = np.random.default_rng(0).integers(0, 255, (8, 512, 512, 3), np.uint8)
  mp4.write_video(large, (noise[i % 8] for i in range(160)))
  program = """if True:
    import resource, sys
    from pathlib import Path
    from speak_jax.provenance import manifest
    from speak_jax.provenance.marking import Marking
    for path in sys.argv[1:]:
      manifest.sign(Path(path), Marking().statement)
      print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
  """
  small = film(tmp_path / "small.mp4")
  done = subprocess.run(
    [sys.executable, "-c", program, small, large],
    check=True,
    capture_output=True,
    text=True,
  )
  before, after = map(int, done.stdout.split())
  size = large.stat().st_size
  assert size > 2 * manifest.WHOLE_BYTES
  assert after - before < size / 2
  found = read(large)
  assert found is not None and found.valid


def test_a_remux_leaves_none(tmp_path):
  """The tags stay, and the watermark; see test_watermark."""
  path, copy = film(tmp_path / "a.mp4"), tmp_path / "b.mp4"
  with av.open(path) as source, av.open(copy, "w") as target:
    stream = target.add_stream_from_template(source.streams.video[0])
    target.metadata.update(source.metadata)
    for packet in source.demux(video=0):
      if packet.dts is not None:
        packet.stream = stream
        target.mux(packet)
  assert read(copy) is None
  assert tags.read(decoder.read_tags(copy)) is not None


def test_two_files_share_no_key(tmp_path):
  numbers = set()
  for name in ("a.mp4", "b.mp4"):
    found = decoder.read_manifest(film(tmp_path / name)) or {}
    numbers.add(found["manifest"]["signature_info"]["cert_serial_number"])
  assert len(numbers) == 2


def saved(folder, made: credentials.Credentials):
  """(certificate, key) of credentials as files."""
  paths = folder / "mine.pem", folder / "mine.key"
  paths[0].write_bytes(made.chain)
  paths[1].write_bytes(made.key)
  return paths


def test_own_certificate_signs(tmp_path, monkeypatch):
  certificate, key = saved(tmp_path, credentials.self_made())
  monkeypatch.delenv(credentials.CERTIFICATE, raising=False)
  monkeypatch.delenv(credentials.KEY, raising=False)
  assert manifest.signer() is None
  mine = manifest.signer(certificate, key)
  monkeypatch.setenv(credentials.CERTIFICATE, str(certificate))
  monkeypatch.setenv(credentials.KEY, str(key))
  assert manifest.signer() == mine and mine is not None
  path = film(tmp_path / "a.mp4", Marking(credentials=mine))
  found = decoder.read_manifest(path) or {}
  number = found["manifest"]["signature_info"]["cert_serial_number"]
  wanted = x509.load_pem_x509_certificates(mine.chain)[0].serial_number
  assert int(number) == wanted


def test_issuer_that_is_trusted(tmp_path):
  """Those who are named alone."""
  mine, other = credentials.self_made(), credentials.self_made()
  path = film(tmp_path / "a.mp4", Marking(credentials=mine))
  for made, trusted in ((mine, True), (other, False)):
    issuer = tmp_path / "issuer.pem"
    issuer.write_bytes(made.chain[made.chain.index(b"-----BEGIN", 10) :])
    anchors = credentials.anchors([issuer])
    found = manifest.parsed(decoder.read_manifest(path, anchors) or {})
    assert found.valid and found.trusted is trusted and found.failures == ()
    report = verify.lines(examination.examine(path, {}, anchors), trusts=True)
    wanted = ", trusted" if trusted else ", of no issuer in --trust"
    assert report[0].endswith(wanted)
  found = read(path)
  assert found is not None and not found.trusted


@pytest.mark.parametrize(
  "content", [b"", b"-----BEGIN CERTIFICATE-----", b"\xff"]
)
def test_issuers_that_are_none(tmp_path, content):
  path = tmp_path / "issuer.pem"
  path.write_bytes(content)
  with pytest.raises(FileError, match="holds no certificates in PEM"):
    credentials.anchors([path])


def pem(key, password: bytes | None = None) -> bytes:
  return key.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.BestAvailableEncryption(password)
    if password
    else serialization.NoEncryption(),
  )


@pytest.mark.parametrize(
  ("spoil", "says"),
  [
    (lambda c, k: c.unlink(), "cannot be read (No such file"),
    (lambda c, k: c.write_bytes(b"\xff\0"), "no certificates in PEM"),
    (lambda c, k: k.write_bytes(b"-----BEGIN"), "no private key in PEM"),
    (
      lambda c, k: k.write_bytes(pem(ec.generate_private_key(ec.SECP256R1()))),
      "is not the key of",
    ),
    (
      lambda c, k: k.write_bytes(
        pem(ec.generate_private_key(ec.SECP256R1()), b"word")
      ),
      "locked by a password",
    ),
  ],
  ids=["missing", "not PEM", "bad key", "another key", "locked"],
)
def test_what_cannot_sign_is_told_in_a_line(tmp_path, spoil, says):
  certificate, key = saved(tmp_path, credentials.self_made())
  spoil(certificate, key)
  with pytest.raises(FileError) as caught:
    manifest.signer(certificate, key)
  assert says in str(caught.value) and "\n" not in str(caught.value)


def test_half_of_a_pair_is_refused(tmp_path, monkeypatch):
  certificate, key = saved(tmp_path, credentials.self_made())
  monkeypatch.delenv(credentials.CERTIFICATE, raising=False)
  monkeypatch.delenv(credentials.KEY, raising=False)
  with pytest.raises(FileError, match="without its key"):
    manifest.signer(certificate)
  with pytest.raises(FileError, match="without a certificate"):
    manifest.signer(None, key)


def test_certificate_that_c2pa_does_not_take(tmp_path):
  """Of an issuer: it may sign certificates and no files."""
  made = credentials.self_made()
  issuer = made.chain[made.chain.index(b"-----BEGIN", 10) :]
  # Its key is forgotten, so the check of the pair comes first.
  certificate, key = saved(tmp_path, made._replace(chain=issuer))
  with pytest.raises(FileError, match="is not the key of"):
    manifest.signer(certificate, key)
  small = rsa.generate_private_key(65537, 1024)
  assert credentials._algorithm(small) is None
  with pytest.raises(FileError, match="C2PA cannot sign with it"):
    manifest.sign(
      film(tmp_path / "a.mp4"),
      MARKING.statement,
      made._replace(chain=issuer),
    )
  assert read(tmp_path / "a.mp4") is not None  # as it was
  assert not [x for x in os.listdir(tmp_path) if "partial" in x]


def test_failure_to_sign_leaves_no_file(tmp_path):
  broken = credentials.Credentials(b"", b"", "es256")
  with pytest.raises(FileError, match=r"a\.mp4"):
    film(tmp_path / "a.mp4", Marking(credentials=broken))
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
  "content",
  [b"", b"text", b"\0\0\0\x18ftypisom" + b"\xff" * 200, b"\xff\xd8\xff\xff"],
)
def test_what_is_no_video_has_none_or_one_line(tmp_path, content):
  path = tmp_path / "a.mp4"
  path.write_bytes(content)
  try:
    found = decoder.read_manifest(path)
  except FileError as error:
    assert "\n" not in str(error)
  else:
    assert found is None or "\n" not in found["failures"][0]


@pytest.mark.parametrize(
  "active",
  [
    None,
    [],
    {"assertions": None},
    {"assertions": [{"label": "c2pa.actions", "data": {"actions": [3]}}]},
    {"claim_generator_info": [{"name": 3}], "assertions": "words"},
  ],
)
def test_manifest_of_any_shape_is_parsed(active):
  found = manifest.parsed({"valid": True, "manifest": active})
  assert found.statement is None and not found.says_synthetic


def test_too_long_a_manifest_is_not_looked_at(tmp_path, monkeypatch):
  monkeypatch.setattr(reading, "MOST", 100)
  found = reading.read_manifest(film(tmp_path / "a.mp4"))
  assert found is not None and not found["valid"]


def test_claim_is_plain_json():
  text = json.dumps(manifest._claim(MARKING.statement))
  assert "compositeWithTrainedAlgorithmicMedia" in text
  assert io.StringIO(text).read().count("c2pa.created") == 1
