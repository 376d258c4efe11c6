"""Means, best samples and intervals of hand-made scores."""

import math

import pytest
import torch
from torch.nn import functional

from drsvg_cli.evaluation.metrics import CEILING, psnr
from drsvg_cli.evaluation.prediction import STILL, Curves, average, by_frame, evaluate, join
from drsvg_cli.inference.rollout import predict


def test_the_best_sample_depends_on_the_horizon_and_the_mean_does_not_choose():
    samples = torch.tensor([[[1.0, 1.0, 9.0], [3.0, 3.0, 0.0]], [[5.0, 5.0, 5.0], [6.0, 0.0, 0.0]]])
    curves = Curves(samples, torch.zeros(2, 3))
    assert curves.best().tolist() == [[1, 1, 9], [5, 5, 5]]
    assert curves.best(2).tolist() == [[3, 3], [5, 5]]
    assert curves.best(1).tolist() == [[3], [6]]
    assert curves.mean.tolist() == [[2, 2, 4.5], [5.5, 2.5, 2.5]]


def test_an_interval_is_over_sequences():
    scores = torch.tensor([[1.0, 3.0, 100.0], [3.0, 5.0, 100.0], [5.0, 7.0, 100.0]])
    estimate = average(scores, 2)
    assert estimate.value == 4
    assert estimate.interval == pytest.approx(1.96 * 2 / math.sqrt(3))
    first, _, last = by_frame(scores)
    assert (first.value, last) == (3, (100, 0))
    assert first.interval == pytest.approx(1.96 * 2 / math.sqrt(3))
    assert math.isnan(average(scores[:1]).interval)


def test_sequences_of_which_nothing_is_known_do_not_count():
    scores = torch.tensor([[1.0, 3.0], [math.nan, math.nan], [3.0, 5.0]])
    assert average(scores).value == 3
    assert math.isnan(average(scores[1:2]).value)


def test_parts_are_joined_in_order(make_scores):
    parts = [make_scores(Curves(torch.full((n, 2, 3), n), torch.full((n, 3), n))) for n in (1, 2)]
    whole = join(parts)
    assert whole.noise.shape == (3, 3)
    assert whole.psnr.samples[:, 0, 0].tolist() == [1, 2, 2]
    assert whole.ssim.copied[:, 0].tolist() == [1, 2, 2]
    assert whole.content is None


@pytest.fixture
def scene(noisy_frames):
    """Two clips `(2, 7, 3, 64, 64)` whose left half never changes."""
    frames = noisy_frames(2, 7, 3, 64, 64)
    frames[..., :32] = frames[:, :1, ..., :32] + 0.02 * frames[..., :32]
    return frames


def test_larger_clips_are_measured_as_they_are_shown(tiny_model, scene):
    model, context = tiny_model(), 3
    measured = evaluate(model, scene, context=context, seeds=[4, 5])
    truth = scene[:, context:]
    small = functional.avg_pool2d(scene[:, :context].flatten(0, 1), 2).unflatten(0, (2, context))
    found = predict(model, small, 4, seeds=[4, 5]).frames
    large = functional.interpolate(found.flatten(0, 2), (64, 64), mode="bicubic")
    large = large.clamp(0, 1).unflatten(0, (2, 2, 4))
    expected = psnr(large, truth[:, None])
    torch.testing.assert_close(measured.shown.psnr.samples, expected, atol=1e-3, rtol=1e-4)


def test_the_error_of_what_is_exact_has_a_ceiling(tiny_model):
    clip = torch.full((1, 5, 3, 32, 32), 0.5)
    copied = evaluate(tiny_model(), clip, context=2, seeds=[1]).shown.psnr.copied
    assert copied.eq(CEILING).all()


@pytest.mark.parametrize("levels", [8, 9])
def test_what_changes_by_no_more_than_eight_levels_stands_still(tiny_model, levels):
    """Whatever level it changes from: in floats a difference of 8 / 255 is sometimes more."""
    before = (torch.arange(32 * 32) % 240).view(1, 1, 1, 32, 32).expand(1, 2, 3, -1, -1)
    clip = torch.cat([before, before + levels], dim=1).to(torch.uint8)
    scores = evaluate(tiny_model(), clip, context=2, seeds=[1, 2]).shown
    assert scores.apart_moving.isnan().all() == (levels == 8)
    assert scores.apart_still.isnan().all() == (levels == 9)


def test_what_moves_and_what_stands_still_are_told_apart(tiny_model, scene):
    model, context = tiny_model(size=64), 3
    scores = evaluate(model, scene, context=context, seeds=[4, 5, 6]).shown
    futures = predict(model, scene[:, :context], 4, seeds=[4, 5, 6]).frames
    for number, (clip, samples) in enumerate(zip(scene, futures, strict=True)):
        last, truth = clip[context - 1], clip[context:]
        still = ((truth - last).abs() <= STILL).all(1).all(0)
        assert still[:, :32].all() and not still[:, 32:].all()
        before = torch.cat([last.expand(3, 1, -1, -1, -1), samples[:, :-1]], dim=1)
        for t in range(4):
            distances = (samples[1:, t] - samples[0, t]).abs().mean(1)
            for found, region in ((scores.apart_moving, ~still), (scores.apart_still, still)):
                expected = 255 * distances[:, region].mean()
                torch.testing.assert_close(found[number, t], expected, rtol=1e-3, atol=1e-4)
            change = 255 * (samples[:, t] - before[:, t]).abs().mean(1)[:, still].mean()
            torch.testing.assert_close(scores.flicker[number, t], change, rtol=1e-3, atol=1e-4)
            true = 255 * (clip[context + t] - clip[context + t - 1]).abs().mean(0)[still].mean()
            torch.testing.assert_close(scores.noise[number, t], true, rtol=1e-3, atol=1e-4)
    alone = evaluate(model, scene, context=context, seeds=[4]).shown
    assert alone.apart_moving.isnan().all() and not alone.flicker.isnan().any()
