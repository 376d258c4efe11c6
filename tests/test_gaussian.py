"""Gaussians against torch.distributions, and where their noise comes from."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from drsvg_cli.model.gaussian import Gaussian, join, standard
from drsvg_cli.model.noise import BatchNoise, SeededNoise


def gaussian(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean, logvar = torch.randn((2, *shape), generator=generator)
    return Gaussian(mean, logvar)


def normal(of):
    return Normal(of.mean, torch.exp(of.logvar / 2))


def test_kl_is_that_of_torch_summed_over_the_last_dimension():
    first, then = gaussian(4, 3, 6, seed=1), gaussian(4, 3, 6, seed=2)
    expected = kl_divergence(normal(first), normal(then)).sum(-1)
    torch.testing.assert_close(first.kl(then), expected)
    torch.testing.assert_close(first.kl(first), torch.zeros(4, 3))
    assert not torch.allclose(first.kl(then), then.kl(first))


def test_kl_stays_finite_at_the_ends_of_the_log_variance():
    narrow = Gaussian(torch.full((1,), 3.0), torch.full((1,), -12.0))
    assert torch.isfinite(standard(narrow.mean).kl(narrow))


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_samples_have_the_mean_and_the_scaled_deviation(temperature):
    of = gaussian(1, 4)
    many = Gaussian(*(part.expand(40_000, 4) for part in of))
    drawn = many.sample(BatchNoise(0), temperature=temperature)
    torch.testing.assert_close(drawn.mean(0), of.mean[0], atol=0.05 * temperature, rtol=0)
    deviation = torch.exp(of.logvar[0] / 2) * temperature
    torch.testing.assert_close(drawn.std(0), deviation, atol=0, rtol=0.02)


def test_temperature_zero_gives_the_mean():
    of = gaussian(3, 4)
    assert torch.equal(of.sample(BatchNoise(0), temperature=0.0), of.mean)


def test_a_sample_passes_the_gradient_to_mean_and_variance():
    of = Gaussian(torch.zeros(5, requires_grad=True), torch.zeros(5, requires_grad=True))
    noise = BatchNoise(1)(of.mean)
    of.sample(BatchNoise(1)).sum().backward()
    assert torch.equal(of.mean.grad, torch.ones(5))
    torch.testing.assert_close(of.logvar.grad, noise / 2)  # d exp(v / 2) / dv at v = 0


def test_selecting_joining_and_tiling_keep_the_order():
    of = gaussian(4, 2, 3)
    assert torch.equal(join(of.at(slice(0, 1)), of.at(slice(1, None))).mean, of.mean)
    assert torch.equal(of.at(2).logvar, of.logvar[2])
    for tiled, source in ((of.tile(3), of), (of.at(0).tile(3), of.at(0))):
        for k in range(3):
            for b in range(2):
                assert torch.equal(tiled.mean[..., 2 * k + b, :], source.mean[..., b, :])
                assert torch.equal(tiled.logvar[..., 2 * k + b, :], source.logvar[..., b, :])


def test_a_sample_does_not_depend_on_the_others():
    three, one = SeededNoise([7, 8, 9]), SeededNoise([9])
    for shape in ((4,), (2, 5), (4,)):  # the draws that follow as well
        assert torch.equal(three(torch.empty(3, *shape))[2], one(torch.empty(1, *shape))[0])


def test_samples_differ_by_seed_and_by_call_and_clips_share_them():
    noise = SeededNoise([1, 2], copies=3)
    first, then = noise(torch.empty(6, 4)), noise(torch.empty(6, 4))
    assert torch.equal(first[0], first[1]) and torch.equal(first[0], first[2])
    assert not torch.equal(first[0], first[3])
    assert not torch.equal(first, then)


def test_the_same_seed_gives_the_same_numbers():
    like = torch.empty(3, 4)
    assert torch.equal(BatchNoise(5)(like), BatchNoise(5)(like))
    assert not torch.equal(BatchNoise(5)(like), BatchNoise(6)(like))
    assert torch.equal(SeededNoise([1, 2, 3])(like), SeededNoise([1, 2, 3])(like))


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    gaussian(2, 2).sample(BatchNoise(0))
    gaussian(2, 2).sample(SeededNoise([3, 4]))
    assert torch.equal(torch.get_rng_state(), before)
