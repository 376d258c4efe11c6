"""Predictors measured on sequences: what the numbers are, and what they reward."""

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from drsvg_cli.evaluation.classifier import Classifier, Known
from drsvg_cli.evaluation.lpips import LPIPS
from drsvg_cli.evaluation.metrics import CEILING, psnr, sharpness, ssim
from drsvg_cli.evaluation.prediction import (
    Judge,
    Scores,
    draw,
    join,
    marks,
    measure,
    score,
)
from drsvg_cli.inference.baselines import BASELINES, Copy, MotionSpeeds
from drsvg_cli.inference.paper import PaperPredictor
from drsvg_cli.inference.predictor import Moment
from drsvg_cli.inference.rollout import predict

SEEDS = [1, 2, 3, 4, 5, 6]


@pytest.fixture(scope="module")
def judge():
    return Judge(LPIPS(), similarity=False, channels=3, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def pans():
    """Clips of a camera that pans over a texture, and on at another speed once unobserved."""
    chance = np.random.default_rng(0)
    clips = []
    for number in range(6):
        noise = chance.integers(0, 256, (96, 260, 3), np.uint8)
        picture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.0), None, 0, 255, cv2.NORM_MINMAX)
        speeds = [4] * 4 + [1 + number] * 10
        lefts = 20 + np.concatenate([[0], np.cumsum(speeds)])
        clips.append(np.stack([picture[16:80, left : left + 96] for left in lefts]))
    return clips


class Haze:
    """The mean of what the baselines predict: nobody loses much by it in PSNR."""

    def predict(self, observed, horizon, *, seeds, temperature=None):
        drawn = [draw(make(), observed, horizon, seeds=SEEDS) for make in BASELINES.values()]
        mean = np.mean([each.mean(0) for each in drawn], axis=0).astype(np.uint8)
        for time, frame in enumerate(mean):
            yield Moment(
                range(len(seeds)), time, np.broadcast_to(frame, (len(seeds), *frame.shape))
            )


def test_haze_loses_to_sharp_samples_by_the_energy_score(pans, judge):
    scores = {
        name: score(predictor, pans, horizon=10, seeds=SEEDS, judge=judge)
        for name, predictor in (("haze", Haze()), ("sharp", MotionSpeeds()))
    }
    energy, error = (
        {name: float(getattr(each, metric).mean()) for name, each in scores.items()}
        for metric in ("energy", "psnr")
    )
    assert error["haze"] > error["sharp"], "PSNR is fooled"
    assert energy["sharp"] < 0.9 * energy["haze"]
    assert float(scores["haze"].spread.abs().max()) < 1e-2
    assert 0.3 < float(scores["sharp"].spread.mean()) < 1.2


def test_numbers_are_those_of_the_metrics(noisy_frames, judge):
    frames = (noisy_frames(3, 5, 3, 40, 48) * 255).round().to(torch.uint8)
    samples, truth = frames[:2].movedim(2, -1).numpy(), frames[2].movedim(1, -1).numpy()
    last = truth[0].copy()
    last[:, :20] = 7
    truth[:, :, :20] = samples[:, :, :, :20] = 7
    truth[1, :, :20] = 7 + 8  # no more than eight levels: it stands still
    given = judge._replace(similarity=True)
    found = measure(samples, truth, last, judge=given, number=0)
    made, true = (torch.from_numpy(each).movedim(-1, -3).float() / 255 for each in (samples, truth))
    torch.testing.assert_close(found.psnr[0], psnr(made, true).clamp(max=CEILING))
    torch.testing.assert_close(found.ssim[0], ssim(made, true))
    assert marks(5) == [1, 4, 5] and found.lpips.shape == (1, 2, 3)
    for place, mark in enumerate(marks(5)):
        points = [judge.lpips.features(each) for each in (made[:, mark - 1], true[None, mark - 1])]
        expected = (points[0] - points[1]).square().sum(1)
        torch.testing.assert_close(found.lpips[0, :, place], expected, rtol=1e-3, atol=1e-5)
        sharp = (sharpness(made[:, mark - 1]) / sharpness(true[mark - 1])).mean()
        torch.testing.assert_close(found.sharpness[0, place], sharp)
    assert found.flicker[0].tolist() == pytest.approx([0, 0, 0])
    itself = measure(truth[None], truth, last, judge=given, number=0)
    assert itself.psnr.eq(CEILING).all() and itself.energy.eq(0).all()
    assert found.content.shape == (1, 2, 0), "nobody knows what it shows"


def test_flicker_is_what_changes_where_nothing_moves(judge):
    truth = np.full((2, 40, 40, 3), 100, np.uint8)
    truth[:, :, 20:] = 200
    samples = truth[None].copy()
    samples[0, 0, :, :20] += 6
    found = measure(samples, truth, np.full_like(truth[0], 100), judge=judge, number=0)
    assert found.flicker[0].tolist() == pytest.approx([6, 6], abs=1e-4)
    moving = measure(truth[None], truth + 50, truth[0], judge=judge, number=0)
    assert moving.flicker.isnan().all()


def test_the_best_sample_depends_on_the_horizon():
    values = torch.tensor([[[1.0, 1.0, 9.0], [3.0, 3.0, 0.0]], [[5.0, 5.0, 5.0], [6.0, 0.0, 0.0]]])
    scores = Scores(*[values] * 8)
    assert scores.best("psnr").tolist() == [[1, 1, 9], [5, 5, 5]]
    assert scores.best("psnr", 2).tolist() == [[3, 3], [5, 5]]
    whole = join([Scores(*[torch.full((n, 2, 3), n)] * 8) for n in (1, 2)])
    assert whole.energy[:, 0, 0].tolist() == [1, 2, 2]


def test_content_is_read_from_every_frame(judge):
    class Brightness(Classifier):
        def forward(self, frames):
            return {"level": functional.one_hot((4 * frames.mean((1, 2, 3))).long(), 4).float()}

    reader = Brightness({"level": 4}, size=32, channels=1).eval()
    known = Known(reader, {"level": torch.tensor([3, 0])})
    samples = np.full((2, 3, 32, 32, 3), 10, np.uint8)
    samples[1, 2] = 250
    given = judge._replace(known=known, channels=1)
    found = [measure(samples, samples[0], samples[0, 0], judge=given, number=n) for n in (0, 1)]
    assert found[0].content[0].tolist() == [[0, 0, 0], [0, 0, 1]]
    assert found[1].content[0].tolist() == [[1, 1, 1], [1, 1, 0]]


class TestPaperPredictor:
    def test_squares_of_its_size_are_predicted_as_they_are(self, tiny_model, noisy_frames):
        model = tiny_model(channels=1)
        frames = (noisy_frames(1, 4, 1, 32, 32) * 255).round()
        observed = frames[0].movedim(1, -1).expand(-1, -1, -1, 3).to(torch.uint8).numpy()
        found = draw(PaperPredictor(model, fit="crop"), observed, 3, seeds=[4, 5])
        expected = predict(model, frames / 255, 3, seeds=[4, 5]).frames[0]
        assert found.shape == (2, 3, 32, 32, 3)
        assert np.abs(found[..., 0] - 255 * expected[:, :, 0].numpy()).max() < 0.51

    @pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
    def test_frames_of_any_aspect_come_back_as_they_were(self, tiny_model, noisy_frames, fit):
        frames = (noisy_frames(4, 48, 80, 3) * 255).to(torch.uint8).numpy()
        found = draw(PaperPredictor(tiny_model(), fit=fit), frames, 2, seeds=[1])
        assert found.shape == (1, 2, 48, 80, 3)
        assert (found[0, 0, :, :16] == frames[-1, :, :16]).all() == (fit == "crop")


def test_copies_are_all_alike(pans, judge):
    found = score(Copy(), pans[:2], horizon=3, seeds=[1], judge=judge)
    assert found.psnr.shape == (2, 1, 3) and found.spread.eq(0).all()
    torch.testing.assert_close(found.energy, found.lpips[:, 0].sqrt())
