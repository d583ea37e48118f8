"""Pictures of any mode as 8-bit RGB, upright."""

import os

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from data_pipelines.media.container import check_file
from data_pipelines.media.error import MediaError
from data_pipelines.media.limits import LIMITS

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
GROUND = 128  # grey under transparent pixels


def read_image(path: str | os.PathLike) -> UInt8[np.ndarray, "h w 3"]:
  """Reads a picture: EXIF obeyed, alpha over mid-grey, 16 bit scaled.

  Raises:
    MediaError: missing, unknown kind, broken off, or over 64 megapixels.
  """
  check_file(path)
  try:
    with Image.open(path, formats=FORMATS) as image:
      if image.width * image.height > LIMITS.image_pixels:
        raise MediaError(
          path, f"over {LIMITS.image_pixels // 1_000_000} megapixels"
        )
      image.load()
      turned = ImageOps.exif_transpose(image)
      return np.ascontiguousarray(_rgb(turned))
  except MediaError:
    raise
  except UnidentifiedImageError:
    kinds = ", ".join(FORMATS)
    raise MediaError(path, f"not a picture ({kinds})") from None
  # PIL raises SyntaxError and ValueError on broken headers.
  except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as e:
    raise MediaError(path, f"cannot be read ({e})") from None


def _rgb(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
  if image.mode.startswith("I") or image.mode == "F":
    # PIL would clip 16 bit to 255 instead of scaling it.
    grey = np.asarray(image).astype(np.float64)
    top = 1.0 if image.mode == "F" and grey.max() <= 1 else 65535.0
    grey = (grey / top * 255).round().clip(0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, -1)
  if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
    image = image.convert("RGBA")
    ground = Image.new("RGBA", image.size, (GROUND, GROUND, GROUND, 255))
    image = Image.alpha_composite(ground, image)
  return np.asarray(image.convert("RGB"))
