"""Proper scores, and intervals that resample whole clips."""

import math

import numpy as np
import pytest
import torch

from drsvg_cli.evaluation.scores import estimate, judge_ensemble


def gaussian(count, seed, *, deviation=1.0, mean=0.0):
    generator = torch.Generator().manual_seed(seed)
    return mean + deviation * torch.randn(count, 3, generator=generator)


def energy(samples_of):
    """Average the score of samples against truths that are standard normal."""
    truths = gaussian(400, 0)
    scores = [judge_ensemble(samples_of(n), truth).energy for n, truth in enumerate(truths)]
    return float(torch.stack(scores).mean())


def test_the_energy_score_by_hand():
    samples = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    found = judge_ensemble(samples, torch.zeros(2))
    assert found.distances.tolist() == pytest.approx([5, 0])
    assert float(found.energy) == pytest.approx(2.5 - 5 / 2)
    assert float(found.spread) == pytest.approx(5 / 2.5)
    single = judge_ensemble(samples[:1], torch.zeros(2))
    assert (float(single.energy), float(single.spread)) == pytest.approx((5, 0))


def test_neither_haze_nor_spread_wins():
    """Samples of what is true have the best score; the mean, and samples too far apart, lose."""
    right = energy(lambda n: gaussian(10, 1000 + n))
    haze = energy(lambda n: torch.zeros(10, 3))
    wide = energy(lambda n: gaussian(10, 1000 + n, deviation=2))
    narrow = energy(lambda n: gaussian(10, 1000 + n, deviation=0.4))
    wrong = energy(lambda n: gaussian(10, 1000 + n, mean=1))
    assert right < min(haze, wide, narrow, wrong) - 0.02


def test_it_is_unbiased_over_pairs():
    few = energy(lambda n: gaussian(2, 1000 + n))
    many = energy(lambda n: gaussian(40, 1000 + n))
    assert few == pytest.approx(many, abs=0.06)


def test_spread_is_one_where_the_truth_could_be_a_sample():
    truths = gaussian(200, 0)
    spreads = [judge_ensemble(gaussian(10, 1000 + n), t).spread for n, t in enumerate(truths)]
    assert float(torch.stack(spreads).mean()) == pytest.approx(1, abs=0.1)


def test_many_samples_that_are_alike_are_at_no_distance():
    samples = gaussian(1, 0).expand(60, 3)
    found = judge_ensemble(samples, torch.full((3,), 100.0))
    assert float(found.spread) == pytest.approx(0, abs=1e-3)


def test_windows_of_one_clip_are_not_independent():
    """Clips differ, windows of a clip do not: twenty windows of each are no more than one."""
    clips = torch.from_numpy(np.random.default_rng(0).normal(size=12))
    once = estimate(clips, [*range(12)])
    often = estimate(clips.repeat_interleave(20), [n for n in range(12) for _ in range(20)])
    assert often == pytest.approx(once)
    alone = estimate(clips.repeat_interleave(20), [*range(240)])
    assert alone.high - alone.low < 0.3 * (once.high - once.low)
    error = float(clips.std()) / math.sqrt(12)
    assert (once.high - once.low) / 2 == pytest.approx(1.96 * error, rel=0.15)


def test_a_paired_difference_does_not_see_how_hard_clips_are():
    generator = np.random.default_rng(1)
    hard = torch.from_numpy(generator.normal(25, 5, size=40))
    better = hard + 0.5 + 0.1 * torch.from_numpy(generator.normal(size=40))
    groups = [*range(40)]
    assert estimate(better, groups).low < estimate(hard, groups).high, "apart they overlap"
    paired = estimate(better - hard, groups)
    assert 0.4 < paired.low < paired.value < paired.high < 0.6


def test_what_cannot_be_known_is_not_a_number():
    values = torch.tensor([1.0, math.nan, 3.0])
    one = estimate(values, ["a", "b", "a"])
    assert one.value == 2 and math.isnan(one.low) and math.isnan(one.high)
    assert math.isnan(estimate(values[1:2], ["b"]).value)
    assert estimate(values, ["a", "b", "c"]).low == pytest.approx(1)
