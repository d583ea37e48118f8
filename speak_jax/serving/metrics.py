"""What a server counts, as Prometheus reads it."""

from prometheus_client import (
  CollectorRegistry,
  Counter,
  Gauge,
  Histogram,
  generate_latest,
)


class Metrics:
  """Of one server."""

  def __init__(self):
    """All at nothing."""
    self._registry = CollectorRegistry()
    self._answers = self._made(Counter, "answers", "HTTP", "method", "status")
    self._jobs = self._made(Counter, "jobs", "Videos that are over", "state")
    self._seconds = self._made(Histogram, "job_seconds", "Making of a video")
    self.waiting = self._made(Gauge, "jobs_waiting", "Videos in the line")
    self.streams = self._made(Gauge, "streams", "Streams that are open")
    self.frames = self._made(Counter, "stream_frames", "Frames of streams")
    self.frame_seconds = self._made(
      Histogram,
      "stream_frame_seconds",
      "Making of a frame of a stream",
      buckets=(0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.3, 0.6, 1.2),
    )

  def _made(self, kind, name, about, *labels, **more):
    made = kind(f"speak_{name}", about, labels, registry=self._registry, **more)
    return made

  def answer(self, method: str, status: int) -> None:
    """A request was answered."""
    known = method if method in ("GET", "POST", "DELETE") else "other"
    self._answers.labels(known, str(status)).inc()

  def job(self, state: str, seconds: float) -> None:
    """A video is over."""
    self._jobs.labels(state).inc()
    self._seconds.observe(seconds)

  def text(self) -> bytes:
    """All of them."""
    return generate_latest(self._registry)
