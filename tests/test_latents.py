"""Observing and imagining agree: one network, read at once or step by step."""

import pytest
import torch

from drsvg_cli.model.gaussian import Gaussian
from drsvg_cli.model.lstm import Recurrent
from drsvg_cli.model.noise import BatchNoise

FRAMES = 6
VARIANTS = {
    "learned": {},
    "fixed": {"prior": "fixed"},
    "svg-lp": {"content_dim": 0},
    "svg-fp": {"content_dim": 0, "prior": "fixed"},
}
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU with CUDA")
variants = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)


@pytest.fixture
def features():
    return torch.tanh(torch.randn(FRAMES, 2, 8, generator=torch.Generator().manual_seed(3)))


def same(one, other):
    torch.testing.assert_close(one.mean, other.mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(one.logvar, other.logvar, atol=1e-5, rtol=1e-5)


def is_standard(gaussian):
    return not gaussian.mean.any() and not gaussian.logvar.any()


@torch.no_grad()
@variants
@pytest.mark.parametrize("split", range(1, FRAMES))
def test_observed_priors_are_what_is_imagined_from_any_moment(tiny_model, features, changes, split):
    for latent in tiny_model(**changes).latents:
        whole = latent.observe(features)
        state = latent.observe(features[:split]).state
        for time in range(split, FRAMES):
            prior, state = latent.imagine(features[time - 1], state)
            same(prior, whole.prior.at(time))


@torch.no_grad()
@variants
@pytest.mark.parametrize("split", range(1, FRAMES))
def test_the_predictor_reads_at_once_what_it_reads_step_by_step(
    tiny_model, features, changes, split
):
    model = tiny_model(**changes)
    whole = model.observe(features, BatchNoise(0))
    state = None
    if split > 1:
        given = [z[1:split] for z in whole.drawn]
        outputs, state = model.advance(features[: split - 1], given)
        torch.testing.assert_close(outputs, whole.outputs[: split - 1])
    for time in range(split, FRAMES):
        given = [z[time : time + 1] for z in whole.drawn]
        outputs, state = model.advance(features[time - 1][None], given, state)
        torch.testing.assert_close(outputs[0], whole.outputs[time - 1], atol=1e-5, rtol=1e-5)


@torch.no_grad()
@variants
def test_what_comes_later_changes_nothing_before(tiny_model, features, changes):
    model = tiny_model(**changes)
    other = features.clone()
    other[3:] += 1
    one, two = model.observe(features), model.observe(other)
    for before, after in zip(one.posteriors, two.posteriors, strict=True):
        torch.testing.assert_close(before.mean[:3], after.mean[:3])
        assert not torch.allclose(before.mean[3], after.mean[3], atol=1e-4)
    for before, after in zip(one.priors, two.priors, strict=True):
        torch.testing.assert_close(before.mean[:4], after.mean[:4])


@torch.no_grad()
def test_the_content_prior_is_the_content_posterior_a_frame_earlier(tiny_model, features):
    observed = tiny_model().latents[0].observe(features)
    assert is_standard(observed.prior.at(0))
    same(observed.prior.at(slice(1, None)), observed.posterior.at(slice(0, -1)))


@torch.no_grad()
@variants
def test_the_first_prior_is_standard(tiny_model, features, changes):
    for length in (1, 2, FRAMES):
        observed = tiny_model(**changes).observe(features[:length])
        for prior, posterior in zip(observed.priors, observed.posteriors, strict=True):
            assert prior.mean.shape == posterior.mean.shape == (length, *prior.mean.shape[1:])
            assert is_standard(prior.at(0))
        assert observed.outputs.shape == (length - 1, 2, 8)


@torch.no_grad()
def test_the_baselines_have_one_latent_and_a_fixed_prior_is_standard(tiny_model, features):
    learned, fixed = (tiny_model(content_dim=0, prior=prior) for prior in ("learned", "fixed"))
    assert len(learned.latents) == len(fixed.latents) == 1
    assert len(tiny_model().latents) == 2
    assert not is_standard(learned.observe(features).priors[0])
    assert is_standard(fixed.observe(features).priors[0])
    imagined, _ = fixed.latents[0].imagine(features[-1], None)
    assert is_standard(imagined) and imagined.mean.shape == (2, 3)


@torch.no_grad()
def test_without_noise_a_latent_is_its_posterior_s_mean(tiny_model, features):
    observed = tiny_model().observe(features)
    for drawn, posterior in zip(observed.drawn, observed.posteriors, strict=True):
        assert torch.equal(drawn, posterior.mean)
    noisy = tiny_model().observe(features, BatchNoise(0))
    noise = BatchNoise(0)
    for drawn, posterior in zip(noisy.drawn, noisy.posteriors, strict=True):
        assert torch.equal(drawn, posterior.sample(noise))


@torch.no_grad()
def test_a_tiled_state_continues_every_copy(tiny_model, features):
    latent = tiny_model().latents[0]
    state = latent.observe(features).state
    once, _ = latent.imagine(features[-1], state)
    thrice, after = latent.imagine(features[-1].repeat(3, 1), state.tile(3))
    same(thrice, once.tile(3))
    assert after.hidden.shape[1] == 6


def test_log_variances_are_bounded_and_start_small(tiny_config, tiny_model, features):
    posterior = tiny_model().latents[-1].posterior
    with torch.no_grad():
        posterior.recurrent.output.weight *= 1e4
        found, _ = posterior(features)
    assert isinstance(found, Gaussian)
    assert found.logvar.min() >= -12 and found.logvar.max() <= 4
    assert found.logvar.min() == -12 and found.logvar.max() == 4


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_tiny_gradients_reach_the_recurrent_parts_in_half_precision(device, features):
    """The loss is a mean over pixels: those of latents are near 1e-9, and float16 has none such."""
    recurrent = Recurrent(8, 4, hidden=16, layers=1).to(device)
    gradients = []
    for half in (False, True):
        recurrent.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=half):
            outputs, _ = recurrent(features.to(device))
        (outputs.float().square().sum() * 1e-9).backward()
        gradients.append(recurrent.lstm.weight_hh_l0.grad)
    exact, found = gradients
    assert 0 < exact.abs().max() < 1e-8
    torch.testing.assert_close(found, exact, rtol=0.1, atol=0.03 * float(exact.abs().max()))
