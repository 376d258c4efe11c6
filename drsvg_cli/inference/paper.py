"""The paper's model as a predictor: clips are brought to its square frames and back."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from drsvg_cli.config import Fit
from drsvg_cli.errors import WeightsError
from drsvg_cli.frames import Frames, cut_out, fit_all, put_back, to_frames, to_tensor
from drsvg_cli.inference.predictor import Moment
from drsvg_cli.inference.rollout import stream
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
        config, device = self.network.config, next(self.network.parameters()).device
        small = to_tensor(fit_all(observed, config.size, how=self.fit), channels=config.channels)
        seen = np.stack([cut_out(frame, how=self.fit) for frame in observed[-2:]])
        view = None
        if seen.shape[1:3] != (config.size, config.size):
            view = to_tensor(seen, channels=config.channels)[None].to(device)
        last = to_frames(to_tensor(observed[-1:], channels=config.channels))[0]
        moments = stream(
            self.network,
            small[None].to(device),
            horizon,
            seeds=seeds,
            temperature=temperature,
            view=view,
        )
        before: dict[int, Frames] = {}
        for samples, time, frames, views in moments:
            if not bool(torch.isfinite(frames).all()):
                raise WeightsError("the model predicts no numbers; its weights are broken")
            pictures = to_frames((frames if views is None else views)[0])
            if pictures.shape[1:] != last.shape:
                pictures = np.stack([put_back(each, last, how=self.fit) for each in pictures])
            if between:
                pairs = [
                    (before.get(k, last), new) for k, new in zip(samples, pictures, strict=True)
                ]
                steps = [interpolate(old if time else last, new, between) for old, new in pairs]
                for part, found in enumerate(zip(*steps, strict=True)):
                    yield Moment(samples, time * (between + 1) + part, np.stack(found))
                before.update(zip(samples, pictures, strict=True))
            yield Moment(samples, time * (between + 1) + between, pictures)
