"""How much a server takes and keeps; numbers of one machine that many share."""

from typing import NamedTuple


class Limits(NamedTuple):
  """What is asked for beyond these is refused with one line."""

  upload_bytes: int = 200 << 20  # of a whole request
  field_bytes: int = 4096  # of a field that is no file
  upload_s: float = 120.0  # until a request has arrived
  header_s: float = 10.0  # until its first line and headers have
  sound_s: float = 600.0  # of a video
  side_px: int = 1024  # of a video or stream
  job_s: float = 1800.0  # that making a video may take
  wait_s: float = 30.0  # for which a request may wait for its video
  queue: int = 16  # videos that wait
  kept: int = 64  # videos that are done; those that were fetched go first
  kept_s: float = 3600.0  # until all of a job's files are gone
  streams: int = 2  # at a time
  stream_s: float = 1800.0  # of one
  idle_s: float = 60.0  # without a word from its client
  picture_bytes: int = 20 << 20
  piece_bytes: int = 1 << 20  # of sound
  queued_s: float = 30.0  # of sound ahead of the frames; then nothing is read
  send_s: float = 10.0  # for which a client may leave a frame untaken
  connections: int = 64
