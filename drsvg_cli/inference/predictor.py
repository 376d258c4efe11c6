"""What every model and every baseline offers: frames of one clip in, samples of its future out."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from drsvg_cli.frames import Frames


class Moment(NamedTuple):
    """One predicted frame of some samples."""

    samples: range
    """Which samples, counted from 0."""
    time: int
    """Which frame that came out, counted from 0."""
    frames: Frames
    """uint8 `(S, H, W, 3)`, one a sample, of the size of the observed frames."""


class Predictor(Protocol):
    """Predicts what follows the observed frames of one clip."""

    def predict(
        self,
        observed: Frames,
        horizon: int,
        *,
        seeds: Sequence[int],
        temperature: float | None = None,
        between: int = 0,
    ) -> Iterator[Moment]:
        """Draw samples, one a seed, and yield each frame as soon as it is there.

        The frames of a sample come in order; samples come in batches, in any order. Where memory
        ran out a batch is begun anew, and its frames come again.

        Args:
            observed: uint8 RGB `(T, H, W, 3)` of any aspect, at the size that is wanted.
            horizon: frames to predict.
            seeds: one a sample. A sample depends on the clip and its seed alone.
            temperature: scales the spread of the samples; 0 is the most expected future. The
                predictor's own if left out.
            between: extra frames before each predicted one, evenly in time: horizon × (between + 1)
                come out, and every last one is what would come without them.
        """


@runtime_checkable
class Swapper(Protocol):
    """Shows what is in one clip moving as another one does; not every predictor can."""

    def swap(
        self,
        content: Frames,
        pose: Frames,
        *,
        seeds: Sequence[int],
        temperature: float | None = None,
    ) -> Iterator[Moment]:
        """Draw samples, one a seed, and yield each frame as `Predictor` does.

        Args:
            content: uint8 RGB `(T, H, W, 3)`; its first frame is what is moved. The same clip twice
                is a reconstruction.
            pose: `(T, h, w, 3)`, the same number of frames of any size.
            seeds: one a sample.
            temperature: scales the spread of the samples; the predictor's own if left out.

        Returns:
            T − 1 frames a sample, of the size of `content`: its first frame is not repeated.
        """
