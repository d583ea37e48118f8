"""What a media file says of itself in words: title, comment, encoder."""

import os

from data_pipelines.media import image
from data_pipelines.media.container import opened

MOST = 4096  # characters of one text
COUNT = 64  # texts of a file


def read_tags(path: str | os.PathLike) -> dict[str, str]:
  """Returns the texts of a video, or of a picture, names in small letters.

  Args:
    path: The file. Its texts are what anybody may have written there: long
      ones are cut at MOST characters, and COUNT are read.

  Raises:
    MediaError: unreadable.
  """
  found = image.read_texts(path)
  if found is None:
    with opened(path) as container:
      found = dict(container.metadata)
  texts = list(found.items())[:COUNT]
  return {str(k).lower()[:MOST]: str(v)[:MOST] for k, v in texts}
