"""Swaps that are judged, and latents that are probed."""

import pytest
import torch
from torch.nn import functional

from drsvg_cli.commands.evaluate_swap import _bounds
from drsvg_cli.commands.swap_report import STILL, TRUTH
from drsvg_cli.data.dataset import Benchmark
from drsvg_cli.evaluation import disentanglement
from drsvg_cli.evaluation.classifier import Classifier
from drsvg_cli.evaluation.disentanglement import (
    Known,
    adversary_accuracy,
    agreement,
    discriminator_accuracy,
    ideal,
    infer,
    movement,
    partners,
    probe,
    swap_all,
)
from drsvg_cli.evaluation.metrics import sharpness
from drsvg_cli.evaluation.prediction import Content
from drsvg_cli.inference.rollout import swap
from drsvg_cli.model.discriminator import PoseDiscriminator
from drsvg_cli.model.gaussian import Gaussian

LEVELS = 4
"""Who is the brightness of a frame's left half, what is done that of its right half."""


class Reader(Classifier):
    """Reads both exactly."""

    def __init__(self):
        super().__init__({"who": LEVELS, "act": LEVELS}, size=32, channels=3)

    def forward(self, frames):
        halves = {"who": frames[..., :16], "act": frames[..., 16:]}
        levels = {k: (x.mean((1, 2, 3)) * LEVELS).long() for k, x in halves.items()}
        return {k: functional.one_hot(level, LEVELS).float() for k, level in levels.items()}


def paint(who, act):
    """Frames `(N, T, 3, 32, 32)` in [0, 1] of who `(N,)` acts how `(N, T)`."""
    frames = torch.zeros(*act.shape, 3, 32, 32)
    frames[..., :16] += ((who + 0.5) / LEVELS)[:, None, None, None, None]
    frames[..., 16:] += ((act + 0.5) / LEVELS)[..., None, None, None]
    return frames


@pytest.fixture
def known():
    generator = torch.Generator().manual_seed(0)
    who = torch.tensor([0, 1, 2, 3])
    act = torch.randint(0, LEVELS, (4, 5), generator=generator)
    act[:, 1:] = (act[:, :1] + torch.tensor([0, 1, 2, 3])) % LEVELS
    act[1] = (act[0] + 1) % LEVELS  # never what the first one does
    return Known(Reader().eval(), {"who": who}, {"act": act})


class TestJudge:
    """The judge of swaps: a wrong one would praise what it should not."""

    FIRST, OTHER = torch.tensor([0]), torch.tensor([1])

    def judge(self, known, who, act):
        frames = paint(who, act[:, 1:])[:, None]
        return known.judge(frames, content=self.FIRST, poses=self.OTHER)

    def test_a_swap_has_the_content_of_one_and_the_pose_of_the_other(self, known):
        who, act = known.content["who"], known.poses["act"]
        right = self.judge(known, who[:1], act[1:2])
        assert right.both.shape == (1, 1, 4) and right.both.all()
        unmoved = self.judge(known, who[:1], act[:1])
        assert unmoved.kept.all() and not unmoved.taken.any() and not unmoved.both.any()
        replaced = self.judge(known, who[1:2], act[1:2])
        assert not replaced.kept.any() and replaced.taken.all() and not replaced.both.any()

    def test_it_looks_at_every_frame(self, known):
        act = known.poses["act"][1:2].clone()
        act[0, 3] = (act[0, 3] + 1) % LEVELS
        found = self.judge(known, known.content["who"][:1], act)
        assert found.taken[0, 0].tolist() == [1, 1, 0, 1]

    def test_all_attributes_must_be_right(self, known):
        classes = known.content["who"]
        stricter = known._replace(content={"who": classes, "act": classes})
        found = self.judge(stricter, classes[:1], known.poses["act"][1:2])
        assert found.content["who"].all() and not found.kept.all()


def test_content_is_that_of_its_own_sequence():
    content = Content(Reader().eval(), {"who": torch.tensor([0, 1, 2])})
    frames = paint(torch.tensor([0, 1, 3]), torch.zeros(3, 4))
    assert content.read(frames[:, None]).tolist() == [[[1] * 4], [[1] * 4], [[0] * 4]]
    assert content.of(slice(1, 3)).read(frames[1:]).tolist() == [[1] * 4, [0] * 4]


def test_what_stands_still_keeps_the_content_and_takes_no_pose(known):
    frames = (paint(known.content["who"], known.poses["act"]) * 255).round().to(torch.uint8)
    found = _bounds(Benchmark(frames, "words", (4,), known.content, known.poses), known)
    assert found[TRUTH].both.all()
    assert found[STILL].kept.all() and not found[STILL].taken.all()


def test_a_probe_is_tested_on_other_sequences():
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(2, 40, 60, generator=generator)
    labels = torch.randint(0, 2, (40,), generator=generator)
    assert probe(Gaussian(mean, mean), labels).accuracy < 0.8  # it would know those it learned


def test_nobody_is_swapped_with_themselves_or_a_neighbour():
    for count in (4, 5, 64):
        others = partners(count)
        assert sorted(others.tolist()) == list(range(count))
        distance = (others - torch.arange(count)).abs()
        assert distance.min() >= 2
    for count in (0, 1):
        with pytest.raises(ValueError, match="two sequences"):
            partners(count)


def test_swaps_are_measured_in_turns(tiny_model, noisy_frames, known, monkeypatch):
    model = tiny_model()
    frames = (noisy_frames(4, 5, 3, 32, 32) * 255).to(torch.uint8)
    ticks = []
    whole = swap_all(model, frames, seeds=[3, 4], known=known, tick=ticks.append)
    assert sum(ticks) == 4
    floats, own, others = frames.float() / 255, torch.arange(4), partners(4)
    true = sharpness(floats[:, 1:]).mean(1)[:, None, None]
    for found, giver in ((whole.swap, others), (whole.reconstruction, own)):
        made = swap(model, floats, floats[giver], seeds=[3, 4]).frames
        judged = known.judge(made, content=own, poses=giver)
        assert torch.equal(found.reading.kept, judged.kept)
        assert torch.equal(found.reading.taken, judged.taken)
        torch.testing.assert_close(found.sharpness, sharpness(made) / true)
        for sample in range(2):
            shown = torch.cat([floats[:, :1], made[:, sample]], dim=1)
            torch.testing.assert_close(found.motion[:, sample], movement(shown))
    monkeypatch.setattr(disentanglement, "PAIRS_AT_ONCE", 3)
    parts = swap_all(model, frames, seeds=[3, 4], known=known)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one.sharpness, other.sharpness, rtol=1e-4, atol=1e-5)
        assert one.reading.taken.shape == other.reading.taken.shape
    blind = swap_all(model, frames, seeds=[3])
    assert blind.swap.reading is None and blind.reconstruction.reading is None


def test_how_much_alike_sequences_move(noisy_frames):
    """Textures that travel: whatever they show, and however fast."""
    wide = [
        torch.nn.functional.interpolate(noisy_frames(1, 1, 3, 16, 16, seed=seed)[0], 160)
        for seed in range(3)
    ]

    def travel(picture, x, y):
        corners = [(40 + y * time, 40 + x * time) for time in range(4)]
        return torch.stack([picture[0, :, b : b + 64, a : a + 64] for b, a in corners])[None]

    right, fast, back, down = (
        movement(travel(picture, x, y))
        for picture, x, y in ((wide[0], 1, 0), (wide[1], 2, 0), (wide[2], -1, 0), (wide[0], 0, 1))
    )
    assert right.shape == (1, 3, 2 * 16)
    assert agreement(right, fast) > 0.95
    assert agreement(right, back) < -0.95
    assert abs(agreement(right, down)) < 0.1
    still = movement(travel(wide[0], 0, 0))
    assert agreement(still, right) == 0


def test_posteriors_are_those_of_the_model(tiny_model, noisy_frames, monkeypatch):
    frames = (noisy_frames(3, 4, 3, 32, 32) * 255).to(torch.uint8)
    monkeypatch.setattr(disentanglement, "PAIRS_AT_ONCE", 2)
    model = tiny_model()
    with torch.no_grad():
        features = model.encode(frames.transpose(0, 1).float() / 255).features
        wanted = model.observe(features).posteriors
    for found, want in zip(infer(model, frames), wanted, strict=True):
        torch.testing.assert_close(found.mean, want.mean, rtol=1e-4, atol=1e-5)
    (only,) = infer(tiny_model(content_dim=0), frames)
    assert only.mean.shape == (4, 3, 3)


def latents(*, identity):
    """Pose latents `(6, 120, 6)`, random in time; with `identity` they tell sequences apart."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(6, 120, 6, generator=generator)
    who = torch.randint(0, 3, (120,), generator=generator)
    if identity:
        mean[..., :3] += 4 * functional.one_hot(who, 3)
    return Gaussian(mean, torch.full_like(mean, -4.0)), who


class TestProbes:
    def test_find_what_is_there(self):
        latent, who = latents(identity=True)
        assert probe(latent, who).accuracy > 0.9

    def test_find_nothing_where_nothing_is(self):
        latent, who = latents(identity=False)
        found = probe(latent, who)
        assert abs(found.accuracy - found.chance) < 0.1 and found.chance < 0.5

    def test_read_what_changes_from_frame_to_frame(self):
        latent, _ = latents(identity=False)
        act = (latent.mean[..., 0] > 0).long().T
        assert probe(latent, act).accuracy > 0.9

    def test_leave_the_global_generator_alone(self, monkeypatch):
        monkeypatch.setattr(disentanglement, "ADVERSARY_STEPS", 3)
        latent, who = latents(identity=True)
        before = torch.random.get_rng_state()
        probe(latent, who)
        adversary_accuracy(latent)
        assert torch.equal(before, torch.random.get_rng_state())


class TestAdversary:
    @pytest.fixture(autouse=True)
    def short(self, monkeypatch):
        monkeypatch.setattr(disentanglement, "ADVERSARY_STEPS", 120)

    def test_finds_what_tells_sequences_apart(self):
        latent, _ = latents(identity=True)
        assert adversary_accuracy(latent) > 0.7  # a third of the other sequences look the same

    def test_is_at_chance_where_nothing_does(self):
        latent, _ = latents(identity=False)
        assert adversary_accuracy(latent) == pytest.approx(0.5, abs=0.06)

    def test_neighbours_that_are_of_one_clip_hide_nothing(self):
        """Windows of a clip lie side by side; to tell clips apart is to tell sequences apart."""
        generator = torch.Generator().manual_seed(0)
        clips = torch.randn(24, 6, generator=generator).repeat_interleave(5, 0)
        mean = 3 * clips + 0.1 * torch.randn(6, 120, 6, generator=generator)
        assert adversary_accuracy(Gaussian(mean, torch.full_like(mean, -4.0))) > 0.7

    def test_true_poses_as_latents(self):
        act = torch.tensor([[0, 2, 1], [1, 1, 0]])
        found = ideal({"act": act, "way": act % 2})
        assert found.mean.shape == (3, 2, 5) and found.mean[1, 0].tolist() == [0, 0, 1, 1, 0]


def test_accuracy_counts_both_kinds_of_pairs():
    discriminator = PoseDiscriminator(2)
    with torch.no_grad():
        for parameter in discriminator.parameters():
            parameter.zero_()
        discriminator.layers[-1].bias.fill_(1.0)  # always says: of one clip
    assert discriminator_accuracy(discriminator, torch.randn(5, 6, 2)) == 0.5
