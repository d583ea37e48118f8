"""One person's geometry and atlas: everything that no frame changes."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from data_pipelines.synthetic import emotion, parts
from data_pipelines.synthetic.identity import Identity, sample
from data_pipelines.synthetic.parts import SKIN, Grid
from data_pipelines.synthetic.surface import CROWN_Y, Surface
from data_pipelines.synthetic.texture.atlas import REGIONS
from data_pipelines.synthetic.texture.paint import paint

PIVOT = np.array([0.0, -0.95, -0.22], np.float32)


def _rows() -> Float[np.ndarray, "r"]:
  """Heights of the head's rows: dense where the face is."""
  y = np.linspace(CROWN_Y, -1.26, 2000)
  density = 0.75 + 1.1 * np.exp(-0.5 * ((y + 0.35) / 0.42) ** 2)
  density += 2.5 * np.exp(-np.abs(y - CROWN_Y) / 0.05)
  density += 2.0 * np.exp(-np.abs(y + 1.26) / 0.04)
  total = np.cumsum(density)
  total = (total - total[0]) / (total[-1] - total[0])
  return np.interp(np.linspace(0, 1, 74), total, y)


def _angles() -> Float[np.ndarray, "c"]:
  """Angles of the head's columns, most of them on the front."""
  front = np.linspace(-95, 95, 63)
  back = np.linspace(95, 180, 10)[1:]
  return np.deg2rad(np.concatenate([-back[::-1], front, back]))


# Landmarks that lie on the plain skin: 17 of the jaw, 9 of the nose.
_JAW_ANGLE = np.deg2rad([84, 82, 79, 74, 66, 54, 38, 19, 0])
_JAW_Y = np.array([0.0, -0.22, -0.44, -0.66, -0.85, -1.0, -1.12, -1.19, -1.215])


def _markers(surface: Surface) -> Float[np.ndarray, "26 3"]:
  """Neutral positions of landmarks 0 to 16 and 27 to 35."""
  a = surface.anchor
  right = surface.at(_JAW_ANGLE, _JAW_Y)
  left = surface.at(-_JAW_ANGLE[:-1], _JAW_Y[:-1])
  jaw = np.concatenate([left, right[::-1]])
  y = np.linspace(0.06, a["nose_y"] + 0.06, 4)
  x = np.concatenate([np.zeros(4), np.linspace(-0.75, 0.75, 5) * a["nose_w"]])
  base = a["nose_y"] - 0.055 + 0.02 * np.abs(np.linspace(-1, 1, 5))
  y = np.concatenate([y, base])
  return np.concatenate([jaw, np.stack([x, y, surface.front(x, y)], -1)])


class Model(NamedTuple):
  """Everything of a person that no frame changes."""

  person: Identity
  anchor: dict[str, float]
  atlas: UInt8[np.ndarray, "h w 4"]
  before: Int[np.ndarray, "a 3"]  # triangles drawn before the features
  after: Int[np.ndarray, "b 3"]  # hair, glasses: drawn after them
  points: Float[np.ndarray, "v 3"]
  uv: Float[np.ndarray, "v 2"]
  weight: Float[np.ndarray, "v"]
  material: Float[np.ndarray, "v 3"]
  sided_vertex: Int[np.ndarray, "v"]
  albedo: Float[np.ndarray, "v"]
  bias: tuple[Float[np.ndarray, "a"], Float[np.ndarray, "b"]]
  sided: tuple[Int[np.ndarray, "a"], Int[np.ndarray, "b"]]
  moving: slice  # vertices that the fields displace
  fields: Float[np.ndarray, "k m 3"]
  folds: Float[np.ndarray, "f m"]
  depth: Float[np.ndarray, "h w"]  # face depth on a grid, see DEPTH_GRID
  markers: slice  # where landmarks 0-16, 27-35 are among the points


DEPTH_GRID = (-0.8, 0.8, -1.3, 1.0, 161, 231)  # x from, to; y from, to; sizes


def build(person: Identity) -> Model:
  """Makes the geometry and paints the atlas of one person."""
  rng = np.random.default_rng((*person.seed, 9))
  surface = Surface(person)
  angle, y = _angles()[None], _rows()[:, None]
  head = surface.at(angle, y)
  uv = REGIONS["skin"].uv(
    np.linspace(0, 1, head.shape[1])[None], np.linspace(0, 1, len(y))[:, None]
  )
  scalp = parts.hairline(person, angle) - 0.0 - y
  marks = _markers(surface).astype(np.float32)
  marker_part = Grid(
    marks, np.zeros((26, 2), np.float32), np.zeros((0, 3), np.int32),
    np.ones(26, np.float32), SKIN, moves=True,
  )  # fmt: skip
  first = [
    *parts.torso(person),
    parts.neck(person),
    parts.ear(person, surface, -1),
    parts.ear(person, surface, 1),
    parts.grid(head, uv, SKIN, moves=True),
    *parts.beard(person, surface),
    marker_part,
  ]
  second = [*parts.hair(person, surface, rng), *parts.glasses(person, surface)]
  grids = first + second
  offsets = np.cumsum([0] + [len(p.points) for p in grids])

  before, bias0, sided0 = _join(first, offsets)
  after, bias1, sided1 = _join(second, offsets[len(first) :])
  points = np.concatenate([p.points for p in grids])
  flags = [p.moves for p in grids]
  start, count = flags.index(True), sum(flags)  # these grids are neighbours
  moving = slice(int(offsets[start]), int(offsets[start + count]))
  where = points[moving].T.astype(np.float32)
  x0, x1, y0, y1, nx, ny = DEPTH_GRID
  grid_x, grid_y = np.meshgrid(np.linspace(x0, x1, nx), np.linspace(y0, y1, ny))
  return Model(
    person=person,
    anchor=surface.anchor,
    atlas=paint(person, head, scalp, surface.anchor),
    before=before,
    after=after,
    points=points,
    uv=np.concatenate([p.uv for p in grids]),
    weight=np.concatenate([p.weight for p in grids]).astype(np.float32),
    material=np.concatenate(
      [
        np.tile(np.array(p.material, np.float32), (len(p.points), 1))
        for p in grids
      ]
    ),
    sided_vertex=np.concatenate(
      [np.full(len(p.points), p.sided, np.int8) for p in grids]
    ),
    albedo=np.concatenate(
      [np.broadcast_to(np.float32(p.albedo), (len(p.points),)) for p in grids]
    ),
    bias=(bias0, bias1),
    sided=(sided0, sided1),
    moving=moving,
    fields=emotion.fields(where[0], where[1], where[2], surface.anchor),
    folds=emotion.folds(where[0], where[1], where[2], surface.anchor),
    depth=surface.front(grid_x, grid_y).astype(np.float32),
    markers=slice(
      int(offsets[len(first) - 1]), int(offsets[len(first) - 1]) + 26
    ),
  )


def _join(
  grids: list[Grid], offsets: Int[np.ndarray, "g"]
) -> tuple[
  Int[np.ndarray, "t 3"], Float[np.ndarray, "t"], Int[np.ndarray, "t"]
]:
  """Triangles of some grids in one, their bias and whether they are sided.

  Args:
    grids: In the order in which they are drawn.
    offsets: Number of each grid's first vertex.
  """
  triangles = [np.zeros((0, 3), np.int32)]
  bias, sided = [np.zeros(0, np.float32)], [np.zeros(0, np.int8)]
  for offset, one in zip(offsets, grids, strict=False):
    triangles.append((one.triangles + offset).astype(np.int32))
    bias.append(np.full(len(one.triangles), one.bias, np.float32))
    sided.append(np.full(len(one.triangles), one.sided, np.int8))
  return np.concatenate(triangles), np.concatenate(bias), np.concatenate(sided)


@lru_cache(maxsize=24)
def model(seed: int, split: str, index: int) -> Model:
  """The model of person `index` of a split; the last few are kept."""
  return build(sample(seed, split, index))
