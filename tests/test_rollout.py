"""Rollouts: what a sample depends on, and what it does not."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from drsvg_cli.model.freezing import freeze
from drsvg_cli.model.heads import SPEED_GAIN
from drsvg_cli.model.warping import warp
from torch.multiprocessing.reductions import StorageWeakRef

from drsvg_cli.frames import to_frames, to_tensor
from drsvg_cli.inference import batching
from drsvg_cli.inference.batching import BATCH, FEWEST
from drsvg_cli.inference.rollout import predict, stream, stream_swap, swap
from drsvg_cli.model.drsvg import MEASURED, SURPRISE_GAIN
from drsvg_cli.model.noise import BatchNoise
from drsvg_cli.optical_flow import measure
from drsvg_cli.weights import registry
from drsvg_cli.weights.files import load_model

GOLDEN = Path(__file__).parent / "golden"
VARIANTS = {
    "dr-svg": {},
    "hold": {"content_rollout": "hold"},
    "svg-lp": {"content_dim": 0},
    "svg-fp": {"content_dim": 0, "prior": "fixed"},
    "vgg-warp-group": {"backbone": "vgg", "head": "warp", "normalization": "group"},
    "dcgan-warp": {"head": "warp"},
    "forward-warp": {"head": "forward_warp"},
    "correlated": {"noise_correlation": 0.9},
}
variants = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)


@pytest.fixture
def context(noisy_frames):
    """Three clips of four frames."""
    return noisy_frames(3, 4, 3, 32, 32, seed=8)


def close(one, other):
    """Equal to a fortieth of a level: a warp of noise enlarges the last bits of its motion."""
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def differ(one, other):
    return (one - other).abs().max() > 1e-3


def decoded(model, outputs, reading, frame):
    """Decode the newest of the outputs so far, each `(N, D)`, after a frame; say its speed."""
    scene, ahead = model.settle(reading, -1, frame), torch.arange(1.0, 1 + len(outputs))
    maps = model.decoder(torch.stack(outputs), scene.prepared, ahead)
    travel = model.head.travel(maps, scene.reference, ahead)
    frames = model.head.compose(maps, scene.reference, ahead, travel)
    return frames[-len(frame) :], None if travel is None else travel.speed[-len(frame) :]


def encoded(model, frames, speed=None):
    """Encode the last of the frames so far, each `(N, C, S, S)`; nothing moves before the first."""
    return model.encode(frames[-1][None], frames[max(len(frames) - 2, 0)][None], speed)


@torch.inference_mode()
def by_hand(model, context, horizon):
    """Predict at temperature 0 as Eq. 9 says: all frames so far are read anew for each frame."""
    clips = context.transpose(0, 1)
    readings = [encoded(model, clips[: time + 1]) for time in range(len(clips))]
    h = [reading.features[0] for reading in readings]
    means = [list(latent.observe(torch.stack(h)).posterior.mean[1:]) for latent in model.latents]
    frames = []
    for _ in range(horizon):
        for number, latent in enumerate(model.latents):
            # The prior of the frame to come does not depend on it: any features will do.
            prior = latent.observe(torch.stack([*h, h[-1]])).prior.mean[-1]
            if getattr(latent, "rollout", "") == "hold":
                prior = latent.observe(torch.stack(h[: len(clips)])).posterior.mean[-1]
            means[number].append(prior)
        drawn = [torch.stack(each) for each in means]
        outputs, _ = model.advance(torch.stack(h), drawn)
        frame, speed = decoded(model, list(outputs[len(clips) - 1 :]), readings[-1], clips[-1])
        frames.append(frame)
        h.append(encoded(model, [*clips, *frames], speed).features[0])
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


def test_more_samples_keep_the_first_ones(noisy_frames):
    """With the default model, as it predicts: its sums are long enough to depend on their order."""
    model = freeze(registry.load_model()[0])
    context, view = noisy_frames(1, 5, 3, 64, 64), noisy_frames(1, 2, 3, 96, 80, seed=1)
    most = predict(model, context, 3, seeds=range(2 * BATCH + 1), view=view)
    for count in (1, 2, 3, FEWEST + 1, BATCH + 1):
        found = predict(model, context, 3, seeds=range(count), view=view)
        close(found.frames, most.frames[:, :count])
        assert (found.views.int() - most.views[:, :count].int()).abs().max() <= 1, count


@pytest.mark.parametrize("count", [0, 1, 5, 16, 100, 1000])
@pytest.mark.parametrize("workers", [1, 2, 8])
def test_every_worker_gets_as_many_samples(count, workers):
    batches = batching._shared_out(count, workers, 20)
    assert [sample for batch in batches for sample in batch] == list(range(count))
    sizes = [len(batch) for batch in batches]
    assert max(sizes, default=0) <= 20 and max(sizes, default=0) - min(sizes, default=0) <= 1
    assert len(batches) == count or len(batches) % workers == 0


@pytest.mark.parametrize(
    ("clips", "samples", "batches"), [(1, 3, 1), (1, 4, 1), (1, 5, 2), (3, 1, 1), (3, 2, 2)]
)
def test_few_sequences_are_one_batch_on_all_cores(
    tiny_model, context, monkeypatch, clips, samples, batches
):
    asked, shared_out, before = [], batching._shared_out, torch.get_num_threads()
    monkeypatch.setattr(
        batching, "_shared_out", lambda *given: asked.append(shared_out(*given)) or asked[-1]
    )
    torch.set_num_threads(2)
    try:
        predict(tiny_model(), context[:clips], 2, seeds=range(samples))
    finally:
        torch.set_num_threads(before)
    assert [len(each) for each in asked] == [batches]


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
        assert moment.views is None
    assert sorted(seen) == [(sample, time) for sample in seeds for time in range(3)]


@pytest.mark.parametrize("way", ["predict", "swap"])
def test_a_stream_keeps_nothing(tiny_model, noisy_frames, way):
    """What was given away is gone; so memory depends neither on the horizon nor on the samples."""
    gone, model, given = [], tiny_model(), noisy_frames(1, 7, 3, 32, 32)
    what = {"seeds": range(2 * BATCH), "view": given[:, :1]}
    moments = (
        stream(model, given, 6, **what)
        if way == "predict"
        else stream_swap(model, given, given.flip(1), **what)
    )
    for moment in moments:
        assert all(storage.expired() for storage in gone[:-2])
        given = moment.frames, moment.views
        gone += [StorageWeakRef(each.untyped_storage()) for each in given]
        del given
        del moment


@pytest.mark.parametrize("room", [1, 3, BATCH - 1])
def test_batches_shrink_where_memory_is_used_up(tiny_model, context, monkeypatch, room):
    model = tiny_model()
    expected = predict(model, context[:1], 2, seeds=range(BATCH)).frames
    compose = model.head.compose

    def greedy(maps, *others):
        if len(maps) > room:
            torch.empty(2**46)
        return compose(maps, *others)

    monkeypatch.setattr(model.head, "compose", greedy)
    close(predict(model, context[:1], 2, seeds=range(BATCH)).frames, expected)
    close(predict(model, context[:1], 2, seeds=[0]).frames, expected[:, :1])
    room = 0
    with pytest.raises(RuntimeError, match="allocate memory"):
        predict(model, context[:1], 2, seeds=range(BATCH))


def test_a_long_context_is_encoded_in_parts(tiny_model, noisy_frames, monkeypatch):
    model = tiny_model(head="warp")
    context = noisy_frames(2, 9, 3, 32, 32)
    whole = predict(model, context, 2, seeds=[0]).frames
    monkeypatch.setattr(batching, "READ_AT_ONCE", 4)
    close(predict(model, context, 2, seeds=[0]).frames, whole)


def test_a_model_with_a_warp_sees_how_frames_move(tiny_model, noisy_frames):
    """Their motion, and what it does not explain; a model without one sees the frames alone."""
    frames = noisy_frames(3, 2, 3, 32, 32)
    flat = frames.flatten(0, 1)
    plain, model = tiny_model(), tiny_model(head="warp")
    assert torch.equal(plain.encode(frames).features.flatten(0, 1), plain.encoder(flat)[0])
    before = frames[[0, 0, 1]].flatten(0, 1)
    motion = measure(flat, before)
    assert motion[:2].abs().max() == 0 < motion[2:].abs().max()
    surprise = flat - warp(before, motion)
    seen = torch.cat([flat, motion / SPEED_GAIN, surprise * SURPRISE_GAIN], dim=1)
    reading = model.encode(frames)
    learned, coarse = reading.features.flatten(0, 1).split([8, MEASURED], dim=-1)
    torch.testing.assert_close(learned, model.encoder(seen)[0])
    means = motion.unflatten(-1, (4, 8)).unflatten(-3, (4, 8)).mean((-3, -1))
    torch.testing.assert_close(coarse, torch.asinh(means.flatten(1) / SPEED_GAIN))
    assert torch.equal(reading.motion, motion)


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


@pytest.mark.parametrize("head", ["pixels", "warp", "forward_warp"])
def test_views_show_the_same_frames_at_another_size(tiny_model, noisy_frames, context, head):
    model = tiny_model(head=head)
    plain = predict(model, context, 2, seeds=[0, 1])
    assert plain.views is None
    own = predict(model, context, 2, seeds=[0, 1], view=context[:, -2:])
    close(own.frames, plain.frames)
    assert own.views.dtype == torch.uint8
    assert (own.views.float() - plain.frames * 255).abs().max() <= 1
    larger = predict(model, context, 2, seeds=[0, 1], view=noisy_frames(3, 1, 3, 48, 80))
    close(larger.frames, plain.frames)
    assert larger.views.shape == (3, 2, 2, 3, 48, 80)
    swapped = swap(model, context, context, seeds=[0], view=noisy_frames(3, 1, 3, 48, 80))
    assert swapped.views.shape == (3, 1, 3, 3, 48, 80)


def test_progress_counts_every_frame_of_every_sample(tiny_model, context):
    ticks = []
    predict(tiny_model(), context, 3, seeds=range(BATCH), tick=ticks.append)
    assert sum(ticks) == 3 * BATCH
    assert len(ticks) > 3


@torch.inference_mode()
def swapped_by_hand(model, content, pose):
    """Swap at temperature 0 as Section 4.3 says."""
    clips = content.transpose(0, 1)
    first, moves = encoded(model, clips[:1]), pose.transpose(0, 1)
    read = [
        [encoded(model, frames[: time + 1]).features[0] for time in range(len(frames))]
        for frames in (clips, moves)
    ]
    h, k = (torch.stack(features) for features in read)
    givers = [h, k] if len(model.latents) == 2 else [k]
    means = [
        latent.observe(giver).posterior.mean
        for latent, giver in zip(model.latents, givers, strict=True)
    ]
    newest, frames = [h[0]], []
    for t in range(1, len(clips)):
        outputs, _ = model.advance(torch.stack(newest), [mean[1 : t + 1] for mean in means])
        frame, speed = decoded(model, list(outputs), first, clips[0])
        frames.append(frame)
        newest.append(encoded(model, [clips[0], *frames], speed).features[0])
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
    output = model.observe(model.encode(context.transpose(0, 1)).features).outputs[0]
    first = encoded(model, context.transpose(0, 1)[:1])
    expected, _ = decoded(model, [output], first, context[:, 0])
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


@torch.no_grad()
@pytest.mark.parametrize("correlation", [0.0, 1.0])
def test_each_latent_goes_on_from_its_own_noise(tiny_model, context, correlation):
    """Priors that never change, so that what the predictor gets differs by its noise alone."""
    model = tiny_model(
        prior="fixed", content_rollout="hold", noise_correlation=correlation, predictor_layers=1
    )
    given, features = [], model.config.feature_dim
    model.predictor.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    predict(model, context, 3, seeds=range(FEWEST))
    first, *later = (latents[0, :, features:] for latents in given[1:])  # the context comes first
    assert len(later) == 2
    assert all(torch.equal(each, first) for each in later) == bool(correlation)
    content, pose = first.split([latent.dim for latent in model.latents], dim=-1)
    assert not torch.allclose(content[:, : pose.shape[-1]], pose)


def test_a_step_draws_fresh_noise(tiny_model, context):
    """Two steps of one rollout do not share their noise."""
    model = tiny_model(content_dim=0, prior="fixed")
    features = model.encode(context.transpose(0, 1)).features
    state, noise = model.observe(features).state, BatchNoise(0)
    one, _ = model.imagine(features[-1], state, noise)
    two, _ = model.imagine(features[-1], state, noise)
    assert not torch.allclose(one, two, atol=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU with CUDA")
@variants
def test_a_gpu_draws_the_same_futures_and_swaps(tiny_model, context, changes):
    """But for what its convolutions round."""
    model = tiny_model(**changes)
    expected = predict(model, context, 5, seeds=[3, 4]).frames
    swapped = swap(model, context[:1], context[1:2], seeds=[3]).frames
    freeze(model.cuda())
    found = predict(model, context.cuda(), 5, seeds=[3, 4]).frames.cpu()
    assert (found - expected).abs().mean() < 0.005 < (found[:, 0] - expected[:, 1]).abs().mean()
    found = swap(model, context[:1].cuda(), context[1:2].cuda(), seeds=[3]).frames.cpu()
    assert (found - swapped).abs().mean() < 0.005
