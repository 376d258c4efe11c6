"""The model of `general`: it starts as the measurement, takes any frame, and its latents matter."""

import random
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import torch

from drsvg_cli.config import MotionConfig
from drsvg_cli.data.motion_clips import MotionBatch
from drsvg_cli.frames import Frames
from drsvg_cli.inference.baselines import Motion
from drsvg_cli.inference.motion import MotionPredictor
from drsvg_cli.motion_model.discriminator import PoseDiscriminator
from drsvg_cli.motion_model.fields import enlarge_path, extend, fetch
from drsvg_cli.motion_model.latents import Latent
from drsvg_cli.motion_model.network import MotionNetwork, build_network
from drsvg_cli.optical_flow import measure_evidence, measure_steps
from drsvg_cli.training.motion_losses import motion_losses

CONFIG = MotionConfig(content_dim=3, pose_dim=2, whole_dim=2, width=12)


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def stirred(network: MotionNetwork) -> MotionNetwork:
    """Return a network as after some training: none of its layers gives zeros."""
    with torch.no_grad():
        network.coefficients.weight.normal_(std=0.5)
        network.scene.maps.weight.normal_(std=0.1)
    return network.eval()


def panning(height: int, width: int, *, frames: int = 7, speed: int = 2) -> Frames:
    """Draw a textured picture that moves to the left by `speed` pixels a frame."""
    texture = np.random.default_rng(0).integers(0, 255, (height, width + 40, 3), np.uint8)
    smooth = cv2.GaussianBlur(texture, (0, 0), 3)
    wide = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return np.stack([wide[:, t * speed : t * speed + width] for t in range(frames)])


def drawn(predictor: MotionPredictor | Motion, clip: Frames, **options: object) -> Frames:
    seeds = options.pop("seeds", [1])
    moments = predictor.predict(clip, 3, seeds=seeds, **options)  # type: ignore[arg-type]
    found: dict[tuple[int, int], Frames] = {}
    for samples, time, frames in moments:
        found |= {(k, time): frame for k, frame in zip(samples, frames, strict=True)}
    count, length = (1 + max(key[i] for key in found) for i in (0, 1))
    return np.stack([np.stack([found[k, t] for t in range(length)]) for k in range(count)])


@pytest.mark.parametrize("size", [(96, 96), (72, 128), (200, 90), (131, 97)])
def test_before_training_it_is_the_measurement_at_any_size(size: tuple[int, int]) -> None:
    clip = panning(*size)[:5]
    network = build_network(CONFIG).eval()
    made = drawn(MotionPredictor(network), clip, temperature=0)[0]
    base = drawn(Motion(), clip)[0]
    assert made.shape == (3, *size, 3)
    assert np.abs(made.astype(int) - base).mean() < 2.0


def test_a_pan_goes_on() -> None:
    clip = panning(96, 128, frames=8)
    made = drawn(MotionPredictor(build_network(CONFIG).eval()), clip[:5], temperature=0)[0]
    inner = np.s_[:, 8:-8, 8:-16]
    error = np.abs(made[inner].astype(int) - clip[5:8][inner]).mean()
    assert error < 0.25 * np.abs(clip[4][None].astype(int) - clip[5:8])[inner].mean()


def test_a_sample_depends_on_its_seed_alone() -> None:
    predictor = MotionPredictor(stirred(build_network(CONFIG)))
    clip = panning(64, 96)[:5]
    several = drawn(predictor, clip, seeds=[7, 8, 9])
    alone = drawn(predictor, clip, seeds=[8])
    assert np.abs(several[1].astype(int) - alone[0]).max() <= 2
    assert np.abs(several[0].astype(int) - several[1]).mean() > 0.1


def test_frames_between_lie_on_the_way() -> None:
    predictor = MotionPredictor(stirred(build_network(CONFIG)))
    clip = panning(64, 96)[:5]
    fine, coarse = drawn(predictor, clip, between=2), drawn(predictor, clip)
    assert fine.shape[1] == 9
    np.testing.assert_array_equal(fine[:, 2::3], coarse)


def test_fewer_frames_than_the_network_reads_are_enough() -> None:
    assert drawn(MotionPredictor(build_network(CONFIG).eval()), panning(64, 80)[:1]).shape[1] == 3


def test_another_clip_moves_the_first_frame() -> None:
    predictor = MotionPredictor(build_network(CONFIG).eval())
    still, moves = np.repeat(panning(96, 128)[:1], 4, 0), panning(96, 128, frames=4)
    moments = [*predictor.swap(still, moves, seeds=[1, 2])]
    assert [moment.time for moment in moments] == [0, 1, 2]
    inner = np.s_[8:-8, 8:-16]
    error = np.abs(moments[-1].frames[0][inner].astype(int) - moves[3][inner]).mean()
    assert error < 0.3 * np.abs(still[0][inner].astype(int) - moves[3][inner]).mean()
    kept = [*predictor.swap(still, still, seeds=[1])][-1].frames[0]
    assert np.abs(kept.astype(int) - still[0]).max() <= 1


def test_following_a_uniform_flow_adds_up() -> None:
    flow = torch.zeros(1, 2, 12, 16)
    flow[:, 0] = 1.5
    path = extend(extend(None, flow), flow)
    torch.testing.assert_close(path, 2 * flow)
    ramp = torch.arange(16.0).expand(1, 1, 12, 16)
    torch.testing.assert_close(fetch(ramp, path)[..., :13], ramp[..., :13] + 3)
    torch.testing.assert_close(enlarge_path(path, (24, 32)), 4 * flow.repeat(1, 1, 2, 2))


def test_kl_is_that_of_gaussians() -> None:
    def latent(mean: float, deviation: float) -> Latent:
        maps = torch.full((1, 2, 3, 3), mean), torch.full((1, 2, 3, 3), deviation).log() * 2
        return Latent(maps, (torch.zeros(1, 0, 1, 1), torch.zeros(1, 0, 1, 1)))

    one, other = latent(1.0, 0.5), latent(0.0, 2.0)
    wanted = torch.distributions.kl_divergence(
        torch.distributions.Normal(1.0, 0.5), torch.distributions.Normal(0.0, 2.0)
    )
    torch.testing.assert_close(one.kl(other), 18 * wanted[None])
    torch.testing.assert_close(latent(0.0, 1.0).kl(None), torch.zeros(1))


def batch_of(clips: list[Frames]) -> MotionBatch:
    def stacked(arrays: list[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(arrays, 1)).movedim(-1, -3).contiguous()

    return MotionBatch(
        stacked(clips).float() / 255,
        stacked([measure_evidence(clip[:5]) for clip in clips]),
        stacked([measure_steps(clip) for clip in clips]),
    )


def test_every_part_of_the_network_learns() -> None:
    network = stirred(build_network(CONFIG)).train()
    discriminator = PoseDiscriminator(4)
    clips = [panning(48, 48, frames=8, speed=speed) for speed in (1, 3)]
    terms, _ = motion_losses(
        network,
        discriminator,
        batch_of(clips),
        context=5,
        perceptual=lambda frames: frames.flatten(1),
        chance=random.Random(3),
    )
    torch.stack(list(terms.values())).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.abs().sum() > 0), name
    assert all(bool(torch.isfinite(term)) for term in terms.values())
