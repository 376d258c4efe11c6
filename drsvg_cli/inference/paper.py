"""The paper's model as a predictor: clips are brought to its square frames and back."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from drsvg_cli.config import Fit
from drsvg_cli.errors import WeightsError
from drsvg_cli.frames import Frames, cut_out, fit_all, put_back, resize, to_frames, to_tensor
from drsvg_cli.inference.batching import Moment as Generated
from drsvg_cli.inference.predictor import Moment
from drsvg_cli.inference.rollout import stream, stream_swap
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.optical_flow import interpolate


class PaperPredictor:
    """Predicts with a DR-SVG, SVG-LP or SVG-FP network."""

    def __init__(self, network: DRSVG, *, fit: Fit) -> None:
        """Take a network in evaluation mode, and how frames that are no squares are fitted."""
        self.network, self.fit = network, fit

    def predict(
        self,
        observed: Frames,
        horizon: int,
        *,
        seeds: Sequence[int],
        temperature: float | None = None,
        between: int = 0,
    ) -> Iterator[Moment]:
        """Predict as `Predictor` says; where frames are cropped the rest of them stays as it is.

        Raises:
            WeightsError: what is predicted are no numbers.
        """
        moments = stream(
            self.network,
            self._small(observed),
            horizon,
            seeds=seeds,
            temperature=1.0 if temperature is None else temperature,
        )
        last = self._coloured(observed[-1:])[0]
        before: dict[int, Frames] = {}
        for samples, time, pictures in self._whole(moments, last):
            if between:
                pairs = [
                    (before.get(k, last), new) for k, new in zip(samples, pictures, strict=True)
                ]
                steps = [interpolate(old if time else last, new, between) for old, new in pairs]
                for part, found in enumerate(zip(*steps, strict=True)):
                    yield Moment(samples, time * (between + 1) + part, np.stack(found))
                before.update(zip(samples, pictures, strict=True))
            yield Moment(samples, time * (between + 1) + between, pictures)

    def swap(
        self,
        content: Frames,
        pose: Frames,
        *,
        seeds: Sequence[int],
        temperature: float | None = None,
    ) -> Iterator[Moment]:
        """Show what is in one clip moving as another one does, as `Swapper` says.

        Raises:
            WeightsError: what is predicted are no numbers.
        """
        moments = stream_swap(
            self.network,
            self._small(content),
            self._small(pose),
            seeds=seeds,
            temperature=1.0 if temperature is None else temperature,
        )
        yield from self._whole(moments, self._coloured(content[:1])[0])

    def _small(self, frames: Frames) -> Tensor:
        """Bring frames of a clip to what the network takes, `(1, T, C, S, S)`."""
        config = self.network.config
        small = fit_all(frames, config.size, how=self.fit)
        return to_tensor(small, channels=config.channels)[None].to(self._device)

    def _coloured(self, frames: Frames) -> Frames:
        """Show frames in the colours that the network sees."""
        return to_frames(to_tensor(frames, channels=self.network.config.channels))

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    def _whole(self, moments: Iterator[Generated], around: Frames) -> Iterator[Moment]:
        """Put what was generated back into a whole frame `(H, W, 3)`."""
        height, width = cut_out(around, how=self.fit).shape[:2]
        for samples, time, frames in moments:
            if not bool(torch.isfinite(frames).all()):
                raise WeightsError("the model predicts no numbers; its weights are broken")
            pictures = to_frames(frames[0])
            if pictures.shape[1:] != around.shape:
                shown = (resize(each, width=width, height=height) for each in pictures)
                pictures = np.stack([put_back(each, around, how=self.fit) for each in shown])
            yield Moment(samples, time, pictures)
