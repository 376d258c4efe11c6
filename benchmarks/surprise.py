"""How well `drsvg surprise` finds events that were put into clips of fixed cameras.

python -m benchmarks.surprise CAMERA.mp4 ... --other CLIP [--model general]

Puts four events of two seconds into each clip: another clip in a part of the frame, time running
backwards, a jump in time, a still. Prints the AUC by frame of the energy score, of the error of
motion that goes on and of the difference from the frame before; the three are computed by block,
compared with what is usual there and pooled in the same way. What counts as the event: the other
clip as long as it is seen, and half a second from each change of time.
"""

import argparse
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from drsvg_cli.commands.models import find_predictor
from drsvg_cli.evaluation.surprise import judge_blocks, learn_usual, score_moments
from drsvg_cli.frames import resize, resize_whole
from drsvg_cli.inference.loading import load_predictor
from drsvg_cli.inference.moments import MULTIPLE, SIDE, as_predicted, draw_moments
from drsvg_cli.inference.motion import CONTEXT
from drsvg_cli.video.reading import read_frames

EVENTS = ("part", "backwards", "jump", "still")
LASTS, HORIZON, SAMPLES, MOST = 24, 6, 8, 150


def read(path: Path, most: int = MOST) -> np.ndarray:
    frames = islice(read_frames(path, rate=Fraction(12)), most)
    return np.stack([resize_whole(frame, SIDE, multiple=MULTIPLE) for frame in frames])


def with_events(frames: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return frames with the four events, and of each frame which one it belongs to, 0 for none."""
    height, width = frames.shape[1:3]
    spots = [int(len(frames) * share) for share in (0.28, 0.5, 0.68, 0.86)]
    first, second, third, fourth = spots
    part = frames[first : first + LASTS].copy()
    h, w = height // 3, width // 4
    for frame, inserted in zip(part, other, strict=False):
        frame[h : 2 * h, 2 * w : 3 * w] = resize(inserted, width=w, height=h)
    pieces = [
        (frames[:first], 0, 0),
        (part, 1, LASTS),
        (frames[first + LASTS : second], 0, 0),
        (frames[second - LASTS : second][::-1], 2, HORIZON),
        (frames[second - LASTS : third], 2, HORIZON),
        (frames[min(third + LASTS, fourth) : fourth], 3, HORIZON),
        (np.repeat(frames[fourth - 1 : fourth], LASTS, 0), 4, HORIZON),
        (frames[fourth:], 4, HORIZON),
    ]
    labels = [np.where(np.arange(len(f)) < count, event, 0) for f, event, count in pieces]
    return np.concatenate([piece[0] for piece in pieces]), np.concatenate(labels)


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    above = scores[positive][:, None] - scores[~positive]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


def judge(predictor, frames: np.ndarray) -> np.ndarray:
    """Return a score a frame; NaN before the first moment. No predictor: the frame before."""
    small, maps = as_predicted(frames), []
    moments = range(CONTEXT, len(frames) - HORIZON + 1, HORIZON)
    for moment in moments:
        truth = small[moment : moment + HORIZON]
        if predictor is None:
            drawn = small[moment - 1 : moment + HORIZON - 1][None, None]
        else:
            seeds = range(1, 1 + SAMPLES) if hasattr(predictor, "network") else [0]
            drawn = draw_moments(predictor, [frames[:moment][-CONTEXT:]], HORIZON, seeds=seeds)
        maps.append(judge_blocks(drawn, truth[None])[0].numpy())
    usual = learn_usual(np.stack(maps), trusted=False)
    scores = np.full(len(frames), np.nan)
    for moment, score in zip(moments, score_moments(usual.standard(np.stack(maps))), strict=True):
        scores[moment : moment + HORIZON] = score
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--other", type=Path, required=True)
    parser.add_argument("--model", default="general")
    given = parser.parse_args()
    source = find_predictor(given.model, offline=True, quiet=True)
    rows = {
        given.model: load_predictor(given.model, source, torch.device("cpu")).predictor,
        "motion goes on": load_predictor("motion", None, torch.device("cpu")).predictor,
        "frame before": None,
    }
    other, found = read(given.other, LASTS), {name: [] for name in rows}
    for clip in given.clips:
        frames, labels = with_events(read(clip), other)
        for name, predictor in rows.items():
            scores = judge(predictor, frames)
            known = ~np.isnan(scores)
            each = [known & ((labels == 0) | (labels == n)) for n in range(1, 1 + len(EVENTS))]
            each.append(known)
            found[name].append([auc(scores[mask], labels[mask] > 0) for mask in each])
        print(clip.name, *(f"{name} {found[name][-1][-1]:.3f}" for name in rows), flush=True)
    print("mean AUC".ljust(16), *(name.rjust(10) for name in (*EVENTS, "all")))
    for name, values in found.items():
        print(name.ljust(16), *(f"{value:10.3f}" for value in np.mean(values, 0)))


if __name__ == "__main__":
    main()
