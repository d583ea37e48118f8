"""Matrix, range and dynamic range of films: what they declare is obeyed."""

import av
import cv2
import numpy as np
import pytest

from data_pipelines.media import colour, mp4
from tests.reported.pictures import (
  BT601,
  BT709,
  BT2020,
  apart,
  colours,
  film,
  hlg,
  pq,
  seen,
  to_2020,
  yuv,
)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [BT709, BT601])
def test_matrix_and_range_are_obeyed(tmp_path, matrix, full):
  rgb = colours()
  tags = {"colorspace": matrix, "color_range": 2 if full else 1}
  planes = yuv(rgb / 255, matrix, full)
  frames, said = seen(film(tmp_path / "a.mp4", planes, "yuv420p", tags))
  assert len(frames) == 5 and said == []
  assert apart(frames[0], rgb) < 1.5


@pytest.mark.parametrize(
  ("transfer", "encode"), [(colour.HLG, hlg), (colour.PQ, pq)]
)
def test_high_dynamic_range_looks_like_the_sdr_original(
  tmp_path, transfer, encode
):
  rgb = colours()
  planes = yuv(encode(to_2020(rgb)), BT2020, bits=10)
  tags = {
    "colorspace": BT2020,
    "color_range": 1,
    "color_trc": transfer,
    "color_primaries": colour.BT2020,
  }
  path = film(tmp_path / "a.mov", planes, "yuv420p10le", tags, "libx265")
  frames, said = seen(path)
  name = "HLG" if transfer == colour.HLG else "PQ"
  assert said == [f"HDR ({name}), tone-mapped to standard range"]
  assert apart(frames[0], rgb) < 3.2
  dull = frames[0].std() / rgb.std()
  assert 0.95 < dull < 1.02


def test_what_is_brighter_than_white_keeps_its_order_and_hue():
  signal = np.zeros((4, 4, 3), np.uint8)
  signal[..., 0] = [[191], [210], [235], [255]]
  signal[..., 1:] = signal[..., :1] - 60
  shown = colour.to_srgb(signal, colour.Space(colour.HLG, colour.BT709))
  assert (np.diff(shown[:, 0, 0].astype(int)) >= 0).all()
  assert (shown[..., 0] > shown[..., 1]).all() and shown[-1, 0, 0] >= 254


def test_hdr_hlg_mov(reported):
  frames, said = seen(reported / "hdr_hlg.mov")
  assert said == ["HDR (HLG), tone-mapped to standard range"]  # once
  plain, _ = seen(reported / "ok_emotion.mp4")
  assert len(frames) == len(plain)
  for t in (0, 25, 49):
    large = cv2.resize(plain[t], (512, 512), interpolation=cv2.INTER_CUBIC)
    difference = frames[t].astype(float) - large
    assert np.abs(difference).mean() < 3
    assert np.abs(difference.mean((0, 1))).max() < 1.5


@pytest.mark.parametrize("side", [64, 720])
def test_a_video_says_its_colours(tmp_path, side):
  """BT.709's from 720 lines on, BT.601's below; both as they were."""
  shown = colours(720, 720)[:side, :side]
  path = tmp_path / "a.mp4"
  mp4.write_video(path, [shown] * 2)
  matrix = BT709 if side == 720 else 6  # of BT.601 with 525 lines
  with av.open(str(path)) as container:
    stream = container.streams.video[0]
    said = stream.codec_context
    assert (said.colorspace, said.color_range) == (matrix, 1)
    assert (said.color_primaries, said.color_trc) == (1, 1)
    planes = next(container.decode(stream)).to_ndarray()
  want = yuv(shown / 255, BT709 if side == 720 else BT601)
  assert apart(planes[:side], want[:side]) < 3
  assert b"colrnclx" in path.read_bytes()
  assert apart(seen(path)[0][0], shown) < 5
