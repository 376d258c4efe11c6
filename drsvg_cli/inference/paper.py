"""The paper's model as a predictor: clips are brought to its square frames and back."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from drsvg_cli.config import Fit
from drsvg_cli.errors import WeightsError
from drsvg_cli.frames import Frames, cut_out, fit_all, put_back, resize, to_frames, to_tensor
from drsvg_cli.inference.predictor import Moment
from drsvg_cli.inference.rollout import stream
from drsvg_cli.model.drsvg import DRSVG


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
    ) -> Iterator[Moment]:
        """Predict as `Predictor` says; where frames are cropped the rest of them stays as it is.

        Raises:
            WeightsError: what is predicted are no numbers.
        """
        config, device = self.network.config, next(self.network.parameters()).device
        small = to_tensor(fit_all(observed, config.size, how=self.fit), channels=config.channels)
        last = to_frames(to_tensor(observed[-1:], channels=config.channels))[0]
        height, width = cut_out(last, how=self.fit).shape[:2]
        moments = stream(
            self.network,
            small[None].to(device),
            horizon,
            seeds=seeds,
            temperature=1.0 if temperature is None else temperature,
        )
        for samples, time, frames in moments:
            if not bool(torch.isfinite(frames).all()):
                raise WeightsError("the model predicts no numbers; its weights are broken")
            pictures = to_frames(frames[0])
            if pictures.shape[1:] != last.shape:
                shown = (resize(each, width=width, height=height) for each in pictures)
                pictures = np.stack([put_back(each, last, how=self.fit) for each in shown])
            yield Moment(samples, time, pictures)
