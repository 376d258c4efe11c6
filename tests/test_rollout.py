"""Rollouts: what a sample depends on, and what it does not."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef

from drsvg_cli.frames import to_frames, to_tensor
from drsvg_cli.inference import rollout
from drsvg_cli.inference.batching import BATCH
from drsvg_cli.inference.rollout import predict, stream, stream_swap, swap
from drsvg_cli.model.folding import fold_batchnorm
from drsvg_cli.weights.files import load_model

GOLDEN = Path(__file__).parent / "golden"
VARIANTS = {
    "dr-svg": {},
    "svg-lp": {"content_dim": 0},
    "svg-fp": {"content_dim": 0, "prior": "fixed"},
    "vgg": {"backbone": "vgg"},
}
variants = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)


@pytest.fixture
def context(noisy_frames):
    """Three clips of four frames."""
    return noisy_frames(3, 4, 3, 32, 32, seed=8)


def close(one, other):
    """Equal up to rounding: sums come out in another order in another batch."""
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def differ(one, other):
    return (one - other).abs().max() > 1e-3


@torch.inference_mode()
def by_hand(model, context, horizon):
    """Predict at temperature 0 as Eq. 9 says: all frames so far are read anew for each frame."""
    clips = context.transpose(0, 1)
    h = [model.encode(frame[None]).features[0] for frame in clips]
    prepared = model.decoder.prepare(model.encode(clips[-1:]).skips_at(0))
    means = [list(latent.observe(torch.stack(h)).posterior.mean[1:]) for latent in model.latents]
    frames = []
    for _ in range(horizon):
        for number, latent in enumerate(model.latents):
            # The prior of the frame to come does not depend on it: any features will do.
            means[number].append(latent.observe(torch.stack([*h, h[-1]])).prior.mean[-1])
        outputs, _ = model.advance(torch.stack(h), [torch.stack(each) for each in means])
        frames.append(model.decoder(outputs[-1:], prepared)[0])
        h.append(model.encode(frames[-1][None]).features[0])
    return torch.stack(frames, 1)


@variants
def test_a_rollout_is_what_eq_9_says(tiny_model, context, changes):
    model = tiny_model(**changes)
    found = predict(model, context, 3, seeds=[0], temperature=0.0).frames
    assert found.shape == (3, 1, 3, 3, 32, 32)
    close(found[:, 0], by_hand(model, context, 3))
    assert differ(found[:, :, 0], found[:, :, 2])


@variants
def test_a_clip_alone_equals_the_same_clip_in_a_batch(tiny_model, context, changes):
    model = tiny_model(**changes)
    together = predict(model, context, 3, seeds=[4, 5]).frames
    for number in range(3):
        alone = predict(model, context[number : number + 1], 3, seeds=[4, 5]).frames
        close(alone[0], together[number])
    assert differ(together[0], together[1])


@variants
def test_a_sample_does_not_depend_on_how_many_are_drawn(tiny_model, context, changes):
    model = tiny_model(**changes)
    five = predict(model, context, 3, seeds=range(5)).frames
    three = predict(model, context, 3, seeds=range(3)).frames
    last = predict(model, context, 3, seeds=[4]).frames
    close(five[:, :3], three)
    close(five[:, 4:], last)
    assert differ(five[:, 0], five[:, 1])


@variants
def test_a_longer_horizon_extends_a_shorter_one(tiny_model, context, changes):
    model = tiny_model(**changes)
    long, short = (predict(model, context, count, seeds=[0, 1]).frames for count in (5, 2))
    assert long.shape[2] == 5 and short.shape[2] == 2
    close(long[:, :, :2], short)


def test_drawing_in_turns_changes_nothing(tiny_model, context):
    model = tiny_model()
    many = predict(model, context[:2], 2, seeds=range(3 * BATCH)).frames
    assert many.shape[1] == 3 * BATCH
    for seed in (0, BATCH // 2 - 1, BATCH // 2, 3 * BATCH - 1):
        one = predict(model, context[:2], 2, seeds=[seed]).frames
        close(many[:, seed : seed + 1], one)


@pytest.mark.parametrize("way", ["predict", "swap"])
def test_a_stream_gives_every_frame_of_every_sample_in_order(tiny_model, context, way):
    model, seeds = tiny_model(), range(BATCH + 1)
    if way == "predict":
        whole = predict(model, context[:1], 3, seeds=seeds).frames
        moments = stream(model, context[:1], 3, seeds=seeds)
    else:
        whole = swap(model, context[:1], context[1:2], seeds=seeds).frames
        moments = stream_swap(model, context[:1], context[1:2], seeds=seeds)
    seen = []
    for moment in moments:
        seen += [(sample, moment.time) for sample in moment.samples]
        chosen = slice(moment.samples.start, moment.samples.stop)
        assert torch.equal(moment.frames, whole[:, chosen, moment.time])
    assert sorted(seen) == [(sample, time) for sample in seeds for time in range(3)]


@pytest.mark.parametrize("way", ["predict", "swap"])
def test_a_stream_keeps_nothing(tiny_model, noisy_frames, way):
    """What was given away is gone; so memory depends neither on the horizon nor on the samples."""
    gone, model, given = [], tiny_model(), noisy_frames(1, 7, 3, 32, 32)
    seeds = range(2 * BATCH)
    moments = (
        stream(model, given, 6, seeds=seeds)
        if way == "predict"
        else stream_swap(model, given, given.flip(1), seeds=seeds)
    )
    for moment in moments:
        assert all(storage.expired() for storage in gone[:-1])
        gone.append(StorageWeakRef(moment.frames.untyped_storage()))
        del moment


@pytest.mark.parametrize("room", [1, 3, BATCH - 1])
def test_batches_shrink_where_memory_is_used_up(tiny_model, context, monkeypatch, room):
    model = tiny_model()
    expected = predict(model, context[:1], 2, seeds=range(BATCH)).frames
    decode = model.decoder.forward

    def greedy(outputs, prepared):
        if len(outputs) > room:
            torch.empty(2**46)
        return decode(outputs, prepared)

    monkeypatch.setattr(model.decoder, "forward", greedy)
    close(predict(model, context[:1], 2, seeds=range(BATCH)).frames, expected)
    close(predict(model, context[:1], 2, seeds=[0]).frames, expected[:, :1])
    room = 0
    with pytest.raises(RuntimeError, match="allocate memory"):
        predict(model, context[:1], 2, seeds=range(BATCH))


def test_a_long_context_is_encoded_in_parts(tiny_model, noisy_frames, monkeypatch):
    model = tiny_model()
    context = noisy_frames(2, 9, 3, 32, 32)
    whole = predict(model, context, 2, seeds=[0]).frames
    monkeypatch.setattr(rollout, "READ_AT_ONCE", 4)
    close(predict(model, context, 2, seeds=[0]).frames, whole)


def test_at_temperature_zero_all_samples_are_equal(tiny_model, context):
    model = tiny_model()
    still = predict(model, context, 3, seeds=range(3), temperature=0.0).frames
    close(still[:, 0], still[:, 2])
    spread = {
        temperature: predict(model, context, 1, seeds=range(8), temperature=temperature)
        .frames.std(1)
        .mean()
        for temperature in (0.5, 1.0)
    }
    assert 0 < spread[0.5] < spread[1.0]


def test_a_single_frame_is_context_enough(tiny_model, context):
    model = tiny_model()
    found = predict(model, context[:, :1], 2, seeds=[0], temperature=0.0).frames
    close(found[:, 0], by_hand(model, context[:, :1], 2))


def test_the_same_call_gives_the_same_frames_and_leaves_the_global_generators_alone(
    tiny_model, context
):
    model = tiny_model()
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    one, two = (predict(model, context, 2, seeds=[3, 4]).frames for _ in range(2))
    swap(model, context, context, seeds=[1])
    assert torch.equal(one, two)
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]


def test_training_mode_is_refused(tiny_model, context):
    model = tiny_model().train()
    with pytest.raises(ValueError, match=r"model\.eval"):
        predict(model, context, 1, seeds=[0])
    with pytest.raises(ValueError, match=r"model\.eval"):
        swap(model, context, context, seeds=[0])


def test_predicting_changes_nothing_in_the_model(tiny_model, context):
    model = tiny_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    predict(model, context, 2, seeds=[0])
    for name, tensor in model.state_dict().items():
        assert torch.equal(before[name], tensor), name


@torch.inference_mode()
def swapped_by_hand(model, content, pose):
    """Swap at temperature 0 as Section 4.3 says."""
    clips = content.transpose(0, 1)
    h, k = (model.encode(each.transpose(0, 1)).features for each in (content, pose))
    prepared = model.decoder.prepare(model.encode(clips[:1]).skips_at(0))
    givers = [h, k] if len(model.latents) == 2 else [k]
    means = [
        latent.observe(giver).posterior.mean
        for latent, giver in zip(model.latents, givers, strict=True)
    ]
    newest, frames = [h[0]], []
    for t in range(1, len(clips)):
        outputs, _ = model.advance(torch.stack(newest), [mean[1 : t + 1] for mean in means])
        frames.append(model.decoder(outputs[-1:], prepared)[0])
        newest.append(model.encode(frames[-1][None]).features[0])
    return torch.stack(frames, 1)


@variants
def test_a_swap_is_what_section_4_3_says(tiny_model, noisy_frames, context, changes):
    model, pose = tiny_model(**changes), noisy_frames(3, 4, 3, 32, 32, seed=9)
    found = swap(model, context, pose, seeds=[0], temperature=0.0).frames
    assert found.shape == (3, 1, 3, 3, 32, 32)
    close(found[:, 0], swapped_by_hand(model, context, pose))


@torch.inference_mode()
def test_a_swap_with_itself_begins_as_teacher_forcing_reconstructs(tiny_model, context):
    """Up to its first frame nothing has been generated yet, so the two are the same."""
    model = tiny_model()
    encoded = model.encode(context.transpose(0, 1))
    output = model.observe(encoded.features).outputs[:1]
    expected = model.decoder(output, model.decoder.prepare(encoded.skips_at(0)))[0]
    found = swap(model, context, context, seeds=[0], temperature=0.0).frames
    close(found[:, 0, 0], expected)


def test_pose_comes_from_one_clip_and_content_from_the_other(tiny_model, noisy_frames, context):
    model, other = tiny_model(), noisy_frames(3, 4, 3, 32, 32, seed=10)
    found = swap(model, context, other, seeds=[0]).frames
    again = swap(model, context, other.roll(1, 0), seeds=[0]).frames
    assert differ(found, again)
    # With the first frame kept, a later one reaches the result through its content alone.
    content = context.clone()
    content[:, 2] = other[:, 0]
    changed = swap(model, content, other, seeds=[0]).frames
    close(changed[:, :, 0], found[:, :, 0])
    assert differ(changed[:, :, 1], found[:, :, 1])
    baseline = tiny_model(content_dim=0)
    close(
        swap(baseline, content, other, seeds=[0]).frames,
        swap(baseline, context, other, seeds=[0]).frames,
    )


def test_a_swapped_sample_depends_on_its_clips_and_its_seed_alone(
    tiny_model, noisy_frames, context
):
    model, pose = tiny_model(), noisy_frames(3, 4, 3, 32, 32, seed=9)
    together = swap(model, context, pose, seeds=range(BATCH)).frames
    for seed in (0, BATCH // 2, BATCH - 1):
        alone = swap(model, context[1:2], pose[1:2], seeds=[seed]).frames
        close(together[1:2, seed : seed + 1], alone)
    assert differ(together[:, 0], together[:, 1])


def test_clips_of_different_length_or_of_one_frame_cannot_be_swapped(tiny_model, context):
    with pytest.raises(ValueError, match="differ"):
        swap(tiny_model(), context, context[:, :3], seeds=[0])
    with pytest.raises(ValueError, match="two frames"):
        swap(tiny_model(), context[:, :1], context[:, :1], seeds=[0])


def test_the_golden_rollout_has_not_changed():
    """To 1e-3, a quarter of a level: processors and versions of torch round differently."""
    model, recipe = load_model(GOLDEN)
    with np.load(GOLDEN / "expected.npz") as expected:
        given = to_tensor(expected["clip"], channels=3)[None]
        observed = given[:, : recipe.data.context]
        predicted = predict(model, observed, recipe.data.horizon, seeds=(0, 1)).frames
        swapped = swap(model, observed, observed.flip(1), seeds=(0,)).frames
        for found, name in ((predicted, "predicted"), (swapped, "swapped")):
            torch.testing.assert_close(found, torch.from_numpy(expected[name]), atol=1e-3, rtol=0)
    assert to_frames(predicted).std() > 5  # not an empty picture
    assert differ(predicted[:, 0], predicted[:, 1])


def test_the_golden_folder_is_small():
    files = [path for path in GOLDEN.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(path.stat().st_size for path in files) < 150 * 1024


def test_content_latents_of_another_clip_change_a_swap_and_none_of_a_baseline(
    tiny_model, noisy_frames, context
):
    pose, other = (noisy_frames(3, 4, 3, 32, 32, seed=seed) for seed in (9, 10))
    for changes in ({}, {"content_dim": 0}):
        model = tiny_model(**changes)
        usual, exchanged = (
            swap(model, context, pose, seeds=[0], content_latents=given).frames
            for given in (None, other)
        )
        assert bool(differ(usual, exchanged)) == (not changes)


@torch.inference_mode()
def test_every_frame_and_latent_has_its_own_noise(tiny_model, context):
    """Priors that never change: what the predictor gets differs by its noise alone."""
    model, given = tiny_model(content_dim=0, prior="fixed"), []
    model.predictor.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    predict(model, context, 3, seeds=range(4))
    drawn = [inputs[0, :, model.config.feature_dim :] for inputs in given[1:]]
    assert len(drawn) == 3  # the context comes first
    assert not torch.allclose(drawn[0], drawn[1]) and not torch.allclose(drawn[1], drawn[2])
    assert not torch.allclose(drawn[0][0], drawn[0][3])  # those of another sample


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU with CUDA")
@variants
def test_a_gpu_draws_the_same_futures_and_swaps(tiny_model, context, changes):
    """But for what its convolutions round."""
    model = tiny_model(**changes)
    expected = predict(model, context, 5, seeds=[3, 4]).frames
    swapped = swap(model, context[:1], context[1:2], seeds=[3]).frames
    fold_batchnorm(model).cuda()
    found = predict(model, context.cuda(), 5, seeds=[3, 4]).frames.cpu()
    assert (found - expected).abs().mean() < 0.005 < (found[:, 0] - expected[:, 1]).abs().mean()
    found = swap(model, context[:1].cuda(), context[1:2].cuda(), seeds=[3]).frames.cpu()
    assert (found - swapped).abs().mean() < 0.005
