"""Eq. 4, 5 and 6 against loops over time, one frame and one clip after the other."""

import math

import pytest
import torch
from drsvg_cli.model.heads import HALF_REACH, OPEN_MASK, SPEED_GAIN
from torch.distributions import Normal, kl_divergence

from drsvg_cli.model.discriminator import PoseDiscriminator
from drsvg_cli.model.losses import (
    EXACT,
    TYPICAL,
    LossTerms,
    confusion,
    discriminator_loss,
    model_loss,
    reconstruction_error,
)
from drsvg_cli.model.noise import BatchNoise
from drsvg_cli.optical_flow import measure

T, B, CONTEXT = 6, 3, 2
ALL = torch.arange(T - CONTEXT)


@pytest.fixture
def discriminator():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = PoseDiscriminator(3, hidden=8)
        for parameter in network.parameters():
            parameter.data *= 2
    return network


@pytest.fixture
def poses():
    return torch.randn(T, B, 3, generator=torch.Generator().manual_seed(4)) * 2


@pytest.fixture
def frames(noisy_frames):
    return noisy_frames(T, B, 3, 32, 32, seed=6)


def loss(model, frames, discriminator, *, decoded=ALL, context=CONTEXT, **settings):
    return model_loss(
        model,
        frames,
        context=context,
        decoded=decoded,
        noise=BatchNoise(1),
        discriminator=discriminator,
        **settings,
    )


def by_hand(model, frames, discriminator, likelihood, shown=None, origins=range(T)):
    """Return the terms of Eq. 4 and 6, written as the paper writes them (group norm only)."""
    pairs = zip(frames, frames[[0, *range(T - 1)]], strict=True)
    encoded = [model.encode(frame[None], before[None]) for frame, before in pairs]
    h = [reading.features[0] for reading in encoded]
    noise = BatchNoise(1)
    drawn, kls = [], []
    for latent in model.latents:
        epsilon = noise(torch.empty(T, B, latent.dim))
        divergence, samples, q_state, p_state = [], [], None, None
        before = Normal(torch.zeros(B, latent.dim), torch.ones(B, latent.dim))
        for t in range(T):
            q, q_state = latent.posterior(h[t][None], q_state)
            posterior = Normal(q.mean[0], torch.exp(q.logvar[0] / 2))
            if hasattr(latent, "rollout"):  # content: the posterior a frame earlier
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
    errors, masks, misses, strayed, state, travel = [], [], [], [], None, None
    start = origins[CONTEXT - 1]
    scene = model.settle(encoded[start], 0, frames[start])
    for t in range(1, T):
        given = h[origins[t - 1]]
        given = given if shown is None else given * shown[t - 1]
        inputs = torch.cat([given, *(z[t] for z in drawn)], -1)
        hidden, state = model.predictor(inputs[None], state)
        if model.config.predictor_shortcut:
            hidden = hidden + given @ model.shortcut.weight.T + model.shortcut.bias
        if model.config.latent_shortcut:
            hidden = hidden + model.bypass(torch.cat([z[t] for z in drawn], -1))
        g = torch.tanh(hidden)
        # A target: features of a frame must not become what is easy to predict.
        misses.append((g[0] - h[t][:, : model.config.feature_dim].detach()) ** 2)
        if t < CONTEXT:
            continue
        ahead = torch.tensor([t - CONTEXT + 1.0])
        maps = model.decoder(g, scene.prepared, ahead)
        travel = model.head.travel(maps, scene.reference, ahead, travel)
        predicted = model.head.compose(maps, scene.reference, ahead, travel)
        if model.head.moving:
            reach = ahead / (ahead + HALF_REACH)
            aim, known = model.head.aim(
                torch.stack([measure(frames[n], frames[n - 1]) for n in range(CONTEXT, T)])
            )
            strayed.append((travel.told - aim[t - CONTEXT]) * known[t - CONTEXT] / SPEED_GAIN)
            masks.append((1.2 * torch.sigmoid(maps[:, -1] * reach + OPEN_MASK) - 0.1).clamp(0, 1))
        errors.append(predicted - frames[t])
    pose, doubts = drawn[-1], []
    for t in range(1, T):
        for i in range(B):
            d = torch.sigmoid(discriminator(pose[0][i], pose[t][i]))
            doubts.append(-(torch.log(d) / 2 + torch.log(1 - d) / 2))
    content = kls[0] if len(kls) == 2 else torch.zeros(())
    error = torch.stack(errors)
    if likelihood == "gaussian":
        reconstruction = (error**2).mean()
    elif likelihood == "laplace":
        reconstruction = error.abs().mean()
    else:  # a variance a frame: the one that fits it best
        each = [math.log(float((one**2).mean() + EXACT) / TYPICAL) for one in error.flatten(0, 1)]
        reconstruction = torch.tensor(TYPICAL * sum(each) / len(each))
    drawn = 1 - torch.stack(masks).mean() if masks else torch.zeros(())
    doubt = sum(doubts) / len(doubts)
    mismatch = torch.stack(misses).mean()
    astray = torch.stack(strayed).abs().mean() if strayed else torch.zeros(())
    return LossTerms(reconstruction, content, kls[-1], doubt, drawn, mismatch, astray), pose


@torch.no_grad()
@pytest.mark.parametrize("likelihood", ["gaussian", "laplace", "adaptive"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"prior": "fixed"},
        {"content_dim": 0},
        {"head": "warp", "backbone": "vgg"},
        {"head": "warp"},
        {"head": "forward_warp"},
        {"predictor_shortcut": True},
        {"predictor_shortcut": True, "latent_shortcut": True, "head": "warp"},
    ],
    ids=[
        "dr-svg",
        "fixed",
        "svg-lp",
        "warp-vgg",
        "warp",
        "forward-warp",
        "shortcut",
        "shortcuts-warp",
    ],
)
def test_the_terms_are_those_of_a_loop_over_time(
    tiny_model, frames, discriminator, changes, likelihood
):
    model = tiny_model(normalization="group", **changes).train()
    terms, pose = loss(model, frames, discriminator, likelihood=likelihood)
    expected, expected_pose = by_hand(model, frames, discriminator, likelihood)
    for name, value in expected._asdict().items():
        torch.testing.assert_close(getattr(terms, name), value, atol=1e-6, rtol=1e-4, msg=name)
    torch.testing.assert_close(pose, torch.stack(expected_pose), atol=1e-5, rtol=1e-4)
    assert terms.reconstruction > 0 and terms.pose_kl > 0
    assert (terms.content_kl > 0) == (len(model.latents) == 2)


def test_the_gradients_are_those_of_a_loop_over_time(tiny_model, frames, discriminator):
    model = tiny_model(normalization="group").train()
    weights = [*model.encoder.parameters()]
    (all_at_once, _), (one_by_one, _) = (
        terms(model, frames, discriminator, likelihood="gaussian") for terms in (loss, by_hand)
    )
    found, expected = (
        torch.autograd.grad(terms.reconstruction + terms.mismatch, weights)
        for terms in (all_at_once, one_by_one)
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)
    assert max(each.abs().max() for each in expected) > 1e-3


@torch.no_grad()
def test_a_pose_may_be_read_from_another_view(tiny_model, frames, discriminator):
    model = tiny_model(normalization="group").train()
    usual, _ = loss(model, frames, discriminator)
    same, _ = loss(model, frames, discriminator, posed=frames)
    assert all(map(torch.equal, usual, same))
    other, other_pose = loss(model, frames, discriminator, posed=frames.flip(-1))
    assert torch.equal(other.content_kl, usual.content_kl)
    assert not torch.allclose(other.pose_kl, usual.pose_kl)
    # The pose is that of the other view, and the prior still reads the one that is predicted.
    flipped = model.observe(model.encode(frames.flip(-1)).features, BatchNoise(1))
    torch.testing.assert_close(other_pose, flipped.drawn[-1])
    priors = model.observe(model.encode(frames).features, BatchNoise(1)).priors
    expected = flipped.posteriors[-1].kl(priors[-1]).mean()
    torch.testing.assert_close(other.pose_kl, expected)


@torch.no_grad()
def test_features_that_are_hidden_do_not_reach_the_predictor(tiny_model, frames, discriminator):
    model = tiny_model(normalization="group").train()
    shown = torch.ones(T, B, 1)
    everything, _ = loss(model, frames, discriminator, shown=shown)
    shown[CONTEXT:, ::2] = 0
    hidden, pose = loss(model, frames, discriminator, shown=shown)
    expected, expected_pose = by_hand(model, frames, discriminator, "gaussian", shown)
    torch.testing.assert_close(hidden.reconstruction, expected.reconstruction)
    assert not torch.allclose(hidden.reconstruction, everything.reconstruction, rtol=1e-4)
    # Posteriors and priors go on seeing every frame.
    torch.testing.assert_close(pose, torch.stack(expected_pose), atol=1e-5, rtol=1e-4)
    assert torch.equal(hidden.pose_kl, everything.pose_kl)


@torch.no_grad()
@pytest.mark.parametrize("head", ["pixels", "warp"])
def test_in_a_closed_loop_the_prior_reads_what_was_predicted(
    tiny_model, frames, discriminator, head
):
    model = tiny_model(normalization="group", head=head).train()
    usual, _ = loss(model, frames, discriminator)
    terms, _ = loss(model, frames, discriminator, closed_loop=True)
    encoded = model.encode(frames)
    observed = model.observe(encoded.features, BatchNoise(1))
    scene, ahead = model.settle(encoded, CONTEXT - 1, frames[CONTEXT - 1]), ALL + 1.0
    maps = model.decoder(observed.outputs[CONTEXT - 1 :], scene.prepared, ahead)
    travel = model.head.travel(maps, scene.reference, ahead)
    predicted = model.head.compose(maps, scene.reference, ahead, travel)
    seen = [*frames[:CONTEXT], *predicted.unflatten(0, (-1, B))]
    speeds = [None] * T  # measured, unless known
    if travel is not None:
        speeds[CONTEXT:] = travel.speed.unflatten(0, (-1, B))
    posterior = observed.posteriors[-1]
    state, divergences = None, [posterior.at(0).kl(observed.priors[-1].at(0)).mean()]
    for t in range(T - 1):
        newest = model.encode(seen[t][None], seen[max(t - 1, 0)][None], speeds[t]).features
        prior, state = model.latents.pose.prior(newest, state)
        divergences.append(posterior.at(t + 1).kl(prior.at(0)).mean())
    torch.testing.assert_close(terms.pose_kl, sum(divergences) / T)
    assert not torch.allclose(terms.pose_kl, usual.pose_kl, rtol=1e-4)
    assert torch.equal(terms.reconstruction, usual.reconstruction)


def test_reading_predictions_again_counts_for_no_statistics(tiny_model, frames, discriminator):
    """A rollout reads with the statistics of frames, and so does training."""
    models = [tiny_model(head="warp").train() for _ in range(2)]
    for model, closed_loop in zip(models, (False, True), strict=True):
        loss(model, frames, discriminator, closed_loop=closed_loop)
    one, other = (model.state_dict() for model in models)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert all(module.training for module in models[1].modules())


@torch.no_grad()
def test_a_prior_goes_without_a_share_of_the_features(tiny_model, frames, discriminator):
    """The same ones in all frames of a sequence, others in the next; the rest counts for them."""
    model = tiny_model(normalization="group", feature_dim=64).train()
    given = []
    model.latents.pose.prior.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    terms, pose = loss(model, frames, discriminator, prior_dropout=0.25)
    whole, dropped = given
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], whole[kept] / 0.75)
    assert (kept == kept[:1]).all()
    assert 0.6 < kept.float().mean() < 0.9
    assert not torch.equal(kept[0, 0], kept[0, 1])
    usual, usual_pose = loss(model, frames, discriminator)
    assert not torch.allclose(terms.pose_kl, usual.pose_kl, rtol=1e-4)
    assert torch.equal(terms.reconstruction, usual.reconstruction)
    assert torch.equal(pose, usual_pose)


@torch.no_grad()
def test_frames_may_be_predicted_from_any_others(tiny_model, frames, discriminator):
    """As in a swap: the pose must say what is done next, and not what changes."""
    model = tiny_model(normalization="group").train()
    usual, _ = loss(model, frames, discriminator)
    origins = [3, 4, 0, 0, 5, 2]
    start = origins[CONTEXT - 1]
    terms, pose = loss(model, frames, discriminator, origins=torch.tensor(origins), start=start)
    expected, expected_pose = by_hand(model, frames, discriminator, "gaussian", origins=origins)
    torch.testing.assert_close(terms.reconstruction, expected.reconstruction)
    assert not torch.allclose(terms.reconstruction, usual.reconstruction, rtol=1e-4)
    torch.testing.assert_close(pose, torch.stack(expected_pose), atol=1e-5, rtol=1e-4)
    assert torch.equal(terms.pose_kl, usual.pose_kl)


@torch.no_grad()
def test_frames_may_be_decoded_from_their_own_features(tiny_model, frames, discriminator):
    """As an autoencoder; the rest of the loss stays what it is."""
    model = tiny_model(normalization="group").train()
    usual, _ = loss(model, frames, discriminator)
    terms, _ = loss(model, frames, discriminator, autoencoded=True)
    encoded = model.encode(frames)
    scene = model.settle(encoded, CONTEXT - 1, frames[CONTEXT - 1])
    own = encoded.features[CONTEXT:]
    maps = model.decoder(own, scene.prepared, ALL + 1.0)
    shown = model.head.compose(maps, scene.reference, ALL + 1.0, None)
    expected = (shown - frames[CONTEXT:].flatten(0, 1)).square().mean()
    torch.testing.assert_close(terms.reconstruction, expected)
    assert terms._replace(reconstruction=usual.reconstruction) == usual
    assert not torch.allclose(terms.reconstruction, usual.reconstruction, rtol=1e-4)


def test_an_adaptive_error_weighs_easy_and_hard_frames_alike():
    """To halve an error counts the same whatever it was, down to what nobody sees."""
    truth = torch.zeros(2, 1, 1, 8, 8)

    def error(easy, hard):
        predicted = truth + torch.tensor([easy, hard])[:, None, None, None, None]
        return float(reconstruction_error(predicted, truth, likelihood="adaptive"))

    before = error(0.2, 0.8)
    assert error(0.1, 0.8) == pytest.approx(error(0.2, 0.4), abs=1e-4)
    assert error(0.1, 0.8) < before - 2e-3
    by_hand = [TYPICAL * math.log((value**2 + EXACT) / TYPICAL) for value in (0.2, 0.8)]
    assert before == pytest.approx(sum(by_hand) / 2)
    assert error(0.0, 0.4) - error(1e-4, 0.4) == pytest.approx(0, abs=1e-5)


def test_the_total_weighs_the_terms():
    terms = LossTerms(*(torch.tensor(value) for value in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)))
    total = float(terms.total(beta=0.1, adversarial=0.01, drawing=0.001))
    assert total == pytest.approx(1 + 0.1 * 5 + 0.04 + 0.005)
    weights = {"beta": 0.1, "adversarial": 0.01, "drawing": 0.001}
    assert float(terms.total(**weights, content_kl=0.0)) == pytest.approx(1 + 0.1 * 3 + 0.045)
    assert float(terms.total(**weights, matching=0.5)) == pytest.approx(total + 3)
    assert float(terms.total(**weights, motion=0.5)) == pytest.approx(total + 3.5)


@torch.no_grad()
def test_decoding_some_frames_estimates_decoding_all(tiny_model, frames, discriminator):
    model = tiny_model(normalization="group").train()
    whole, _ = loss(model, frames, discriminator)
    ones = [loss(model, frames, discriminator, decoded=torch.tensor([k]))[0] for k in ALL]
    mean = sum(terms.reconstruction for terms in ones) / len(ones)
    torch.testing.assert_close(mean, whole.reconstruction)
    assert not torch.allclose(ones[0].reconstruction, ones[-1].reconstruction, rtol=1e-4)
    for terms in ones:  # only decoding is thinned
        assert torch.equal(terms.pose_kl, whole.pose_kl)


def test_confusion_leaves_the_discriminator_alone(tiny_model, frames, discriminator):
    model = tiny_model(normalization="group").train()
    terms, pose = loss(model, frames, discriminator)
    terms.confusion.backward()
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
    terms.total(beta=1.0, adversarial=1.0, drawing=1.0).backward()
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
    """Poses that give their clip away: Eq. 5 falls and the confusion of Eq. 6 rises."""
    mark = torch.eye(3)[None].expand(T, 3, 3) * 3
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=0.01)
    first = discriminator_loss(discriminator, mark).detach()
    doubt = confusion(discriminator, mark)
    for _ in range(60):
        optimizer.zero_grad()
        step = discriminator_loss(discriminator, mark)
        step.backward()
        optimizer.step()
    assert step.detach() < first / 2
    assert confusion(discriminator, mark) > doubt


@torch.no_grad()
@pytest.mark.parametrize("logit", [-3.0, -0.5, 0.0, 0.5, 3.0])
def test_confusion_is_smallest_at_one_half(discriminator, poses, logit):
    last = discriminator.layers[-1]
    last.weight.zero_()
    last.bias.fill_(logit)
    found = float(confusion(discriminator, poses))
    if logit == 0:
        assert found == pytest.approx(math.log(2))
    else:
        assert found > math.log(2) + 0.01


@torch.no_grad()
def test_some_frames_aim_at_their_own_motion(tiny_model, noisy_frames):
    model = tiny_model(normalization="group", head="warp").train()
    frames = noisy_frames(6, 3, 3, 32, 32, seed=6)
    terms, _ = loss(model, frames, PoseDiscriminator(3, hidden=8), decoded=torch.tensor([3]))
    encoded, ahead = model.encode(frames), torch.tensor([4.0])
    outputs = model.observe(encoded.features, BatchNoise(1)).outputs[CONTEXT + 2 :][:1]
    scene = model.settle(encoded, CONTEXT - 1, frames[CONTEXT - 1])
    maps = model.decoder(outputs, scene.prepared, ahead)
    told = model.head.travel(maps, scene.reference, ahead).told
    expected = (told - measure(frames[5], frames[4])).abs().mean() / SPEED_GAIN
    torch.testing.assert_close(terms.astray, expected)
