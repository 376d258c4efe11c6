"""Eq. 4, 5 and 6 against loops over time, one frame and one clip after the other."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from drsvg_cli.model.discriminator import PoseDiscriminator
from drsvg_cli.model.latents import ContentLatent
from drsvg_cli.model.losses import LossTerms, adversarial_loss, discriminator_loss, model_loss
from drsvg_cli.model.noise import BatchNoise

T, B, CONTEXT = 6, 3, 2


@pytest.fixture
def discriminator():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = PoseDiscriminator(3)
        for parameter in network.parameters():
            parameter.data *= 2
    return network


@pytest.fixture
def poses():
    return torch.randn(T, B, 3, generator=torch.Generator().manual_seed(4)) * 2


@pytest.fixture
def frames(noisy_frames):
    return noisy_frames(T, B, 3, 32, 32, seed=6)


def loss(model, frames, discriminator, *, order=None):
    return model_loss(
        model,
        frames,
        context=CONTEXT,
        noise=BatchNoise(1),
        discriminator=discriminator,
        order=order,
    )


def by_hand(model, frames, discriminator, order=range(T)):
    """Return the terms of Eq. 4 and 6, written as the paper writes them."""
    encoded = [model.encode(frame[None]) for frame in frames]
    h = [each.features[0] for each in encoded]
    noise = BatchNoise(1)
    drawn, kls = [], []
    for latent in model.latents:
        epsilon = noise(torch.empty(T, B, latent.dim))
        divergence, samples, q_state, p_state = [], [], None, None
        before = Normal(torch.zeros(B, latent.dim), torch.ones(B, latent.dim))
        for t in range(T):
            q, q_state = latent.posterior(h[t][None], q_state)
            posterior = Normal(q.mean[0], torch.exp(q.logvar[0] / 2))
            if isinstance(latent, ContentLatent):  # the posterior a frame earlier
                prior, before = before, posterior
            elif latent.prior is None or t == 0:
                prior = Normal(torch.zeros(B, latent.dim), torch.ones(B, latent.dim))
            else:
                p, p_state = latent.prior(h[t - 1][None], p_state)
                prior = Normal(p.mean[0], torch.exp(p.logvar[0] / 2))
            divergence.append(kl_divergence(posterior, prior).sum(-1).mean())
            samples.append(posterior.mean + posterior.stddev * epsilon[t])
        drawn.append(samples)
        kls.append(sum(divergence) / T)
    errors, state = [], None
    prepared = model.decoder.prepare(encoded[order[CONTEXT - 1]].skips_at(0))
    for t in range(1, T):
        given = h[order[t - 1]]
        hidden, state = model.predictor(torch.cat([given, *(z[t] for z in drawn)], -1)[None], state)
        if model.config.predictor_shortcut:
            hidden = hidden + given @ model.shortcut.weight.T + model.shortcut.bias
        if t >= CONTEXT:
            errors.append(model.decoder(torch.tanh(hidden), prepared)[0] - frames[t])
    pose, doubts = drawn[-1], []
    for t in range(1, T):
        for i in range(B):
            d = torch.sigmoid(discriminator(pose[0][i], pose[t][i]))
            doubts.append(-(torch.log(d) / 2 + torch.log(1 - d) / 2))
    content = kls[0] if len(kls) == 2 else torch.zeros(())
    reconstruction = (torch.stack(errors) ** 2).mean()
    return LossTerms(reconstruction, content, kls[-1], sum(doubts) / len(doubts)), pose


def check(found, expected):
    for name, value in expected[0]._asdict().items():
        torch.testing.assert_close(getattr(found[0], name), value, atol=1e-6, rtol=1e-4, msg=name)
    torch.testing.assert_close(found[1], torch.stack(expected[1]), atol=1e-5, rtol=1e-4)


# The loops are in evaluation mode: one frame after the other has no statistics of a batch.
@torch.no_grad()
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"prior": "fixed"},
        {"content_dim": 0},
        {"content_dim": 0, "prior": "fixed"},
        {"backbone": "vgg"},
        {"predictor_shortcut": True},
    ],
    ids=["dr-svg", "fixed", "svg-lp", "svg-fp", "vgg", "shortcut"],
)
def test_the_terms_are_those_of_a_loop_over_time(tiny_model, frames, discriminator, changes):
    model = tiny_model(**changes)
    found = loss(model, frames, discriminator)
    check(found, by_hand(model, frames, discriminator))
    assert found[0].reconstruction > 0 and found[0].pose_kl > 0
    assert (found[0].content_kl > 0) == (len(model.latents) == 2)


def test_the_gradients_are_those_of_a_loop_over_time(tiny_model, frames, discriminator):
    model = tiny_model()
    weights = [*model.encoder.parameters()]
    found, expected = (
        torch.autograd.grad(terms(model, frames, discriminator)[0].reconstruction, weights)
        for terms in (loss, by_hand)
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)
    assert max(each.abs().max() for each in expected) > 1e-3


@torch.no_grad()
def test_frames_may_be_predicted_from_any_others(tiny_model, frames, discriminator):
    """As in a swap: the pose must say what is done next, and not what changes."""
    model, order = tiny_model(), [3, 4, 0, 0, 5, 2]
    usual, _ = loss(model, frames, discriminator)
    found = loss(model, frames, discriminator, order=order)
    check(found, by_hand(model, frames, discriminator, order))
    assert not torch.allclose(found[0].reconstruction, usual.reconstruction, rtol=1e-4)
    assert torch.equal(found[0].pose_kl, usual.pose_kl)


def test_the_total_weighs_the_terms():
    terms = LossTerms(*(torch.tensor(value) for value in (1.0, 2.0, 3.0, 4.0)))
    total = float(terms.total(beta=0.1, adversarial=0.01))
    assert total == pytest.approx(1 + 0.1 * 5 + 0.04)


def test_eq_6_leaves_the_discriminator_alone(tiny_model, frames, discriminator):
    model = tiny_model().train()
    terms, pose = loss(model, frames, discriminator)
    terms.adversarial.backward()
    assert all(parameter.grad is None for parameter in discriminator.parameters())
    assert all(parameter.requires_grad for parameter in discriminator.parameters())
    posterior = model.latents[-1].posterior.recurrent.output.weight
    assert posterior.grad.abs().sum() > 0
    assert model.latents[0].posterior.recurrent.output.weight.grad is None
    model.zero_grad(set_to_none=True)
    discriminator_loss(discriminator, pose).backward()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in discriminator.parameters())


def test_every_weight_of_the_model_learns(tiny_model, frames, discriminator):
    model = tiny_model().train()
    terms, _ = loss(model, frames, discriminator)
    terms.total(beta=1.0, adversarial=1.0).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@torch.no_grad()
def test_the_discriminator_s_loss_is_that_of_a_loop_over_pairs(discriminator, poses):
    total = 0.0
    for t in range(1, T):
        for i in range(B):
            same = torch.sigmoid(discriminator(poses[0][i], poses[t][i]))
            other = torch.sigmoid(discriminator(poses[0][i], poses[t][i - 1]))
            total -= float(torch.log(same) + torch.log(1 - other))
    found = float(discriminator_loss(discriminator, poses))
    assert found == pytest.approx(total / ((T - 1) * B), rel=1e-5)


def test_the_discriminator_learns_to_tell_clips_apart(discriminator):
    """Poses that give their clip away: Eq. 5 falls and the term of Eq. 6 rises."""
    mark = torch.eye(3)[None].expand(T, 3, 3) * 3
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=0.01)
    first = discriminator_loss(discriminator, mark).detach()
    doubt = adversarial_loss(discriminator, mark)
    for _ in range(60):
        optimizer.zero_grad()
        step = discriminator_loss(discriminator, mark)
        step.backward()
        optimizer.step()
    assert step.detach() < first / 2
    assert adversarial_loss(discriminator, mark) > doubt


@torch.no_grad()
@pytest.mark.parametrize("logit", [-3.0, -0.5, 0.0, 0.5, 3.0])
def test_eq_6_is_smallest_at_one_half(discriminator, poses, logit):
    last = discriminator.layers[-1]
    last.weight.zero_()
    last.bias.fill_(logit)
    found = float(adversarial_loss(discriminator, poses))
    if logit == 0:
        assert found == pytest.approx(math.log(2))
    else:
        assert found > math.log(2) + 0.01
