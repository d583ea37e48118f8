"""Records whose pictures and sound say which clip and frame they are.

Every picture is of one colour: red is the clip, green the frame, blue what it
is. So a test reads from any crop of a sample who gave it.
"""

import cv2
import numpy as np

from speak_jax import spec

FRAME, TWIN_POSE, TWIN_MOUTH = 30, 120, 210  # blue
STEP = 10  # of red and green; JPEG moves a flat colour by 2 at most


def jpeg(picture: np.ndarray) -> bytes:
  done, data = cv2.imencode(
    ".jpg",
    picture[..., ::-1],
    [cv2.IMWRITE_JPEG_QUALITY, 98, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111],
  )
  assert done
  return data.tobytes()


def read(picture: np.ndarray) -> tuple[int, int, int]:
  """(clip, frame, kind) of a picture, a crop or a stack of them."""
  red, green, blue = picture.reshape(-1, 3).mean(0)
  kinds = (FRAME, TWIN_POSE, TWIN_MOUTH)
  kind = min(kinds, key=lambda value: abs(value - blue))
  return round(red / STEP), round(green / STEP), kind


def landmarks(n: int, size: int) -> np.ndarray:
  """An upright face that fills the middle of the picture, n times."""
  rng = np.random.default_rng(n)
  points = rng.uniform(0.3, 0.7, (n, 68, 2))
  points[:, spec.LEFT_EYE] = [0.36, 0.42]
  points[:, spec.RIGHT_EYE] = [0.64, 0.42]
  points[:, spec.NOSE] = [0.5, 0.55]
  angle = np.linspace(0, 2 * np.pi, 20)
  points[:, spec.MOUTH, 0] = 0.5 - 0.1 * np.cos(angle)
  points[:, spec.MOUTH, 1] = 0.7
  return (points * size).astype(np.float32)


def meshes(clip: int, n: int) -> np.ndarray:
  """Points that tell clip and frame, as records hold them."""
  points = np.arange(468 * 3).reshape(468, 3) * 7
  return (points + 100 * np.arange(n)[:, None, None] + clip).astype(np.int16)


def record(
  clip: int,
  *,
  identity: int = 0,
  emotion: int = 0,
  level: int = 3,
  frames: int = 16,
  size: int = 32,
  fps: float = 25.0,
  twins: int = 0,
  view: str = "",
  take: str = "",
  start: int = 0,
  session: str = "",
) -> spec.Record:
  def picture(t: int, kind: int) -> bytes:
    colour = np.array([clip * STEP, t * STEP, kind], np.uint8)
    return jpeg(np.broadcast_to(colour, (size, size, 3)))

  step = spec.samples_per_frame(fps)
  samples = np.arange(round(frames * step))
  index = np.arange(twins) * max(frames // max(twins, 1), 1)
  return spec.Record(
    clip=f"clip{clip}",
    identity=f"person{identity}",
    emotion=emotion,
    level=level,
    view=view,
    source="toy",
    fps=fps,
    frames=[picture(t, FRAME) for t in range(frames)],
    # Sample number, so that a window shows where it was cut.
    audio=(samples % 30_000 + 1).astype(np.int16),
    landmarks=landmarks(frames, size),
    pose=np.stack([np.full(frames, clip), np.arange(frames), np.zeros(frames)])
    .astype(np.float32)
    .T,
    pose_method="rendered",
    crop=np.eye(2, 3, dtype=np.float32),
    factors=np.zeros((0, 0), np.float32),
    phonemes="",
    twin_index=index.astype(np.int32),
    twin_pose=[picture(t, TWIN_POSE) for t in index],
    twin_pose_landmarks=landmarks(twins, size),
    twin_mouth=[picture(t, TWIN_MOUTH) for t in index],
    twin_mouth_landmarks=landmarks(twins, size),
    take=take,
    start=start,
    session=session,
  )


def refuse(data) -> None:
  """A sampler that fails; here, where a worker without JAX can import it."""
  raise ValueError(f"no {data.name}")


def same(a: spec.Record, b: spec.Record) -> None:
  """Asserts that every field is equal, in type and shape too."""
  for name, x, y in zip(spec.Record._fields, a, b, strict=True):
    assert type(x) is type(y), name
    if isinstance(x, np.ndarray):
      assert x.dtype == y.dtype and x.shape == y.shape, name
    assert np.array_equal(x, y), name
