"""Pictures of any kind and mode as 8-bit sRGB, upright; moving ones too."""

import contextlib
import functools
import io
import math
import os
from collections.abc import Iterator

import cv2
import numpy as np
import pillow_heif
from jaxtyping import UInt8
from PIL import (
  AvifImagePlugin,
  BmpImagePlugin,
  GifImagePlugin,
  Image,
  ImageCms,
  ImageOps,
  ImageSequence,
  JpegImagePlugin,
  MpoImagePlugin,
  PngImagePlugin,
  TiffImagePlugin,
  UnidentifiedImageError,
  WebPImagePlugin,
)

from data_pipelines.media import colour, declared
from data_pipelines.media.container import check_file
from data_pipelines.media.error import MediaError, warn
from data_pipelines.media.limits import LIMITS

# What a file is, its content says; its name is never looked at.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "HEIF", "AVIF")
KINDS = "JPEG, PNG, WebP, BMP, TIFF, GIF, HEIC, AVIF"
MOVING = ("GIF", "PNG", "WEBP", "AVIF")  # may hold several pictures in time
GROUND = 128  # grey under transparent pixels
# Browsers show pictures that say they last no time for a tenth of a second.
SHORTEST_S, DEFAULT_S = 0.011, 0.1
_MODES = {"RGB": "RGB", "CMYK": "CMYK", "GRAY": "L", "Lab": "LAB"}
_SHRINKS = ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F")
_EXIF, _INTEROP, _COLOUR_SPACE = 0x8769, 0xA005, 0xA001

# What reads them is loaded here, once; otherwise Pillow loads all that it has,
# in every process that forks from this one.
_PLUGINS = (
  *(AvifImagePlugin, BmpImagePlugin, GifImagePlugin, JpegImagePlugin),
  *(MpoImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin),
)
pillow_heif.register_heif_opener(thumbnails=False)


def read_image(path: str | os.PathLike) -> UInt8[np.ndarray, "h w 3"]:
  """Reads a picture as it is meant to be seen; of a moving one the first.

  EXIF's orientation and a colour profile are obeyed, alpha lies over
  mid-grey, 16 bit are scaled. A picture of over
  `limits.LIMITS.image_shown_pixels` is read at half, a third ... of its size,
  and said so.

  Raises:
    MediaError: missing, unknown kind, broken off, or of more than
      `limits.LIMITS.image_pixels`.
  """
  with _opened(path) as image:
    if image is None:
      raise MediaError(path, f"not a picture ({KINDS})")
    return _shown(path, image, _shrink(image))


def read_alpha(path: str | os.PathLike) -> UInt8[np.ndarray, "h w"] | None:
  """Reads how opaque the pixels are that `read_image` gives.

  None: all of them are, or the file is a video or a picture that moves.

  Raises:
    MediaError: as `read_image`.
  """
  with _opened(path) as image:
    if image is None or _moves(image):
      return None
    shrink = _shrink(image)
    image.load()
    if image.mode in ("P", "PA") or "transparency" in image.info:
      image = image.convert("RGBA")
    image = ImageOps.exif_transpose(image)
    if "A" not in image.getbands():
      return None
    alpha = image.getchannel("A")
    alpha = np.asarray(alpha if shrink == 1 else alpha.reduce(shrink))
    return None if alpha.min() == 255 else alpha


def read_texts(path: str | os.PathLike) -> dict[str, str] | None:
  """What a picture says of itself in words; None if the file is no picture.

  Raises:
    MediaError: as `read_image`.
  """
  with _opened(path) as image:
    if image is None:
      return None
    found = image.info.items()
    return {str(k): v for k, v in found if isinstance(v, str)}


def pictures(
  path: str | os.PathLike,
) -> Iterator[tuple[UInt8[np.ndarray, "h w 3"], float]] | None:
  """All pictures of a file with their seconds; 0 of one that stands still.

  None if the file is no picture: then it may be a video.

  Raises:
    MediaError: as `read_image`.
  """
  with _opened(path) as image:
    return None if image is None else _each(path)


def _each(path: str | os.PathLike) -> Iterator[tuple[np.ndarray, float]]:
  with _opened(path) as image:
    if image is None:
      return
    if not _moves(image):
      yield _shown(path, image, _shrink(image)), 0.0
      return
    most = min(LIMITS.side_px**2, LIMITS.pixels)
    if math.prod(image.size) > most:
      size = f"{image.width}x{image.height}"
      raise MediaError(path, f"{size} is over {most / 1e6:.0f} MP")
    for picture in ImageSequence.Iterator(image):
      pixels = _shown(path, picture, 1)  # only now its duration is known
      seconds = float(picture.info.get("duration", 0)) / 1000
      yield pixels, DEFAULT_S if seconds < SHORTEST_S else seconds


def over_ground(
  picture: UInt8[np.ndarray, "h w 4"],
) -> UInt8[np.ndarray, "h w 3"]:
  """Lays a picture with alpha over mid-grey."""
  share = picture[..., 3:].astype(np.float32) / 255
  over = picture[..., :3] * share + GROUND * (1 - share)
  return over.round().astype(np.uint8)


@contextlib.contextmanager
def _opened(path: str | os.PathLike) -> Iterator[Image.Image | None]:
  """A picture whose pixels are not read yet; None if it is none."""
  check_file(path)
  # Pillow's own guard stands far below what a phone of today takes.
  Image.MAX_IMAGE_PIXELS = LIMITS.image_pixels
  try:
    try:
      image = Image.open(path, formats=FORMATS)
    except UnidentifiedImageError:
      yield None
      return
    with image:
      if math.prod(image.size) > LIMITS.image_pixels:
        raise MediaError(path, _too_large())
      yield image
  except MediaError:
    raise
  except Image.DecompressionBombError:  # twice as many
    raise MediaError(path, _too_large()) from None
  # Pillow raises SyntaxError, ValueError and more on broken headers.
  except (
    *(OSError, SyntaxError, ValueError, EOFError, KeyError, TypeError),
  ) as e:
    raise MediaError(path, f"cannot be read ({e})") from None


def _too_large() -> str:
  return f"over {LIMITS.image_pixels // 1_000_000} megapixels"


def _moves(image: Image.Image) -> bool:
  return image.format in MOVING and getattr(image, "is_animated", False)


def _shrink(image: Image.Image) -> int:
  """By what a picture is to be read smaller; 1: as it is."""
  return math.ceil(math.sqrt(math.prod(image.size) / LIMITS.image_shown_pixels))


def _shown(
  path: str | os.PathLike, image: Image.Image, shrink: int
) -> UInt8[np.ndarray, "h w 3"]:
  """Pixels as they are meant to be seen, `shrink` times smaller."""
  size, left = image.size, shrink
  if shrink > 1:
    # A JPEG's decoder gives a half or a quarter itself, without the rest.
    image.draft(None, (size[0] // shrink, size[1] // shrink))
    left = max(round(shrink * image.width / size[0]), 1)
  image.load()
  space = _space(path, image)
  facts = image.info | {"adobe": _is_adobe_rgb(image), "space": space}
  image = ImageOps.exif_transpose(image)
  if left > 1 and image.mode in _SHRINKS:
    image, left = image.reduce(left), 1
  pixels = np.ascontiguousarray(_rgb(path, image, facts))
  if left > 1:
    height, width = pixels.shape[:2]
    small = (width // left, height // left)
    pixels = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
  if shrink > 1:
    megapixels = math.prod(size) / 1e6
    warn(path, f"{megapixels:.0f} megapixels, read at 1/{shrink} of its size")
  return pixels


def _rgb(
  path: str | os.PathLike, image: Image.Image, facts: dict
) -> UInt8[np.ndarray, "h w 3"]:
  if image.mode.startswith("I") or image.mode == "F":
    # PIL would clip 16 bit to 255 instead of scaling it.
    grey = np.asarray(image).astype(np.float64)
    top = 1.0 if image.mode == "F" and grey.max() <= 1 else 65535.0
    grey = (grey / top * 255).round().clip(0, 255).astype(np.uint8)
    image = Image.fromarray(grey)
  elif image.mode == "1":
    image = image.convert("L")
  elif image.mode in ("P", "PA") or "transparency" in image.info:
    image = image.convert("RGBA")
  alpha = None
  if image.mode in ("RGBA", "LA"):
    alpha = np.asarray(image.getchannel("A"))
    image = image.convert(image.mode[:-1])
  pixels = np.asarray(_profiled(path, image, facts))
  if not facts.get("icc_profile"):
    pixels = _plain(path, pixels, facts)
  if alpha is None or alpha.min() == 255:
    return pixels
  return over_ground(np.dstack([pixels, alpha]))


def _space(path: str | os.PathLike, image: Image.Image) -> colour.Space | None:
  """What the file says of its colours as H.273 has them."""
  nclx = image.info.get("nclx_profile")
  if nclx:
    return colour.Space(
      nclx["transfer_characteristics"], nclx["color_primaries"]
    )
  if image.format == "PNG":
    space = declared.png_space(path)
    if space is not None:
      image.info.pop("icc_profile", None)  # which is for older readers
    return space
  return declared.avif_space(path) if image.format == "AVIF" else None


def _plain(
  path: str | os.PathLike, pixels: UInt8[np.ndarray, "h w 3"], facts: dict
) -> UInt8[np.ndarray, "h w 3"]:
  """Pixels without a colour profile in sRGB, by what else the file says."""
  space, gamma = facts["space"], facts.get("gamma")
  if facts["adobe"]:
    space = colour.ADOBE_RGB
  elif space is None and gamma and "srgb" not in facts:
    pixels = colour.from_power(pixels, gamma)
    space = colour.nearest(facts.get("chromaticity"))
  elif space is not None and space.gamma:
    pixels = colour.from_power(pixels, space.gamma)
    space = space._replace(transfer=colour.UNKNOWN)
  if space is None or space.is_srgb:
    return pixels
  if space.is_hdr:
    warn(path, f"{space.name}, tone-mapped to standard range")
  return colour.to_srgb(pixels, space)


def _profiled(
  path: str | os.PathLike, image: Image.Image, facts: dict
) -> Image.Image:
  """RGB by the picture's own colour profile, where it has one that fits."""
  profile = facts.get("icc_profile")
  if profile:
    try:
      source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
      space = profile[16:20].decode("latin-1").strip()  # ICC.1, 7.2
      if _is_srgb(source):
        pass
      elif _MODES.get(space) == image.mode:
        return _through(image, source)
      elif space == "RGB" and image.mode == "L":
        pass  # a grey picture in a colour program: common, and harmless
      else:
        warn(path, f"a colour profile for {space}, not used")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
      warn(path, "a broken colour profile, not used")
  if image.mode == "LAB":
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    return _through(image, lab)
  return image.convert("RGB")


def _through(
  image: Image.Image, source: ImageCms.ImageCmsProfile
) -> Image.Image:
  """A picture of a profile's space in sRGB."""
  converted = ImageCms.profileToProfile(
    image,
    source,
    _srgb(),
    ImageCms.Intent.RELATIVE_COLORIMETRIC,
    "RGB",
    flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
  )
  assert converted is not None  # not in place
  return converted


@functools.cache
def _srgb() -> ImageCms.ImageCmsProfile:
  return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
  """Most profiles are sRGB's own: then there is nothing to do."""
  name = ImageCms.getProfileDescription(profile)
  return "srgb" in name.lower() and "linear" not in name.lower()


def _is_adobe_rgb(image: Image.Image) -> bool:
  """Whether EXIF says Adobe RGB, as cameras do that add no profile."""
  try:
    exif = image.getexif()
    inner = exif.get_ifd(_EXIF)
    sort = inner.get(_COLOUR_SPACE)
    return sort == 2 or (
      sort == 0xFFFF and exif.get_ifd(_INTEROP).get(1) == "R03"
    )
  except (OSError, SyntaxError, ValueError, KeyError, TypeError):
    return False
