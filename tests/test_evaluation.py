"""Means, best samples and intervals of hand-made scores."""

import math

import pytest
import torch

from drsvg_cli.evaluation import Curves, Scores, average, by_frame, join


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


def test_parts_are_joined_in_order():
    parts = [
        Scores(*(Curves(torch.full((n, 2, 3), n), torch.full((n, 3), n)),) * 2) for n in (1, 2)
    ]
    whole = join(parts)
    assert whole.psnr.samples[:, 0, 0].tolist() == [1, 2, 2]
    assert whole.ssim.copied[:, 0].tolist() == [1, 2, 2]
    assert whole.content is None
