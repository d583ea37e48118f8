"""68 landmarks of a real face: a public network that judges.

A second opinion beside FaceMesh, where FaceMesh has driven the picture. See
`face_blocks` for its source, `pretrained.face_api` for its weights.
"""

from collections.abc import Mapping
from typing import Any

import jax
from einops import rearrange
from jaxtyping import Array, Float, UInt8

from speak_jax.common import packaged
from speak_jax.models import face_blocks

WEIGHTS = packaged.FACES / "landmarks.safetensors"


@jax.jit
def points(
  params: Mapping[str, Any], pictures: UInt8[Array, "n 112 112 3"]
) -> Float[Array, "n 68 2"]:
  """iBUG's points, x and y in px. Compiled anew for each n.

  Args:
    params: `quantized.load(WEIGHTS)`.
    pictures: RGB, cut by `data_pipelines.faces.upright`.
  """
  with jax.default_matmul_precision("highest"):
    shares = face_blocks.head(params, pictures)  # of the side, from its edges
  return rearrange(shares, "n (k d) -> n k d", d=2) * face_blocks.SIDE - 0.5
