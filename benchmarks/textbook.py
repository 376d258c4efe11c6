"""DR-SVG as research programs write it: the yardstick of the other files, not part of drsvg.

A frame at a time, LSTM cells in a Python loop, skip maps concatenated, float32, the usual layout of
memory; a future at a time, its context encoded again. It takes its weights from a `DRSVG`, so that
both can be shown to compute the same numbers.
"""

import torch
from torch import nn
from torch.nn import functional

from drsvg_cli.model.discriminator import PoseDiscriminator
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.training.step import LARGEST_GRADIENT


class Cells(nn.Module):
    """An LSTM between two linear layers, one step at a time."""

    def __init__(self, other):
        super().__init__()
        self.embed, self.output = other.embed, other.output
        hidden, layers = other.lstm.hidden_size, other.lstm.num_layers
        self.cells = nn.ModuleList(nn.LSTMCell(hidden, hidden) for _ in range(layers))
        for number, cell in enumerate(self.cells):
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(cell, name).data.copy_(getattr(other.lstm, f"{name}_l{number}"))
        self.start()

    def start(self):
        self.state = [None] * len(self.cells)

    def forward(self, inputs):
        hidden = self.embed(inputs)
        for number, cell in enumerate(self.cells):
            self.state[number] = cell(hidden, self.state[number])
            hidden = self.state[number][0]
        return self.output(hidden)


class GaussianCells(Cells):
    def forward(self, inputs):
        mean, logvar = super().forward(inputs).chunk(2, dim=-1)
        return mean, logvar.clamp(-12, 4)


class Textbook(nn.Module):
    """DR-SVG with a DCGAN backbone and the paper's pixels; everything is of batch size B."""

    def __init__(self, model: DRSVG):
        super().__init__()
        content, pose = model.latents
        self.content = GaussianCells(content.posterior.recurrent)
        self.posterior = GaussianCells(pose.posterior.recurrent)
        self.prior = GaussianCells(pose.prior.recurrent)
        self.predictor = Cells(model.predictor)
        self.encoder, self.start = model.encoder, model.decoder.start
        self.levels, self.rest = nn.ModuleList(), nn.ModuleList()
        for level in model.decoder.levels:
            above, skip = level.above, level.skip
            both = nn.ConvTranspose2d(
                2 * above.in_channels, above.out_channels, 4, 2, 1, bias=above.bias is not None
            )
            both.weight.data = torch.cat([above.weight, skip.weight])
            if above.bias is not None:
                both.bias.data = above.bias.data
            self.levels.append(both)
            self.rest.append(level.rest)
        self.to(memory_format=torch.contiguous_format)

    def begin(self):
        for part in (self.content, self.posterior, self.prior, self.predictor):
            part.start()

    def encode(self, frame):
        maps, skips = frame, []
        for level in self.encoder.levels:
            maps = level(maps)
            skips.append(maps)
        return self.encoder.code(maps).flatten(1), skips

    def decode(self, output, skips):
        maps = self.start(output[:, :, None, None])
        for level, rest, skip in zip(self.levels, self.rest, reversed(skips), strict=True):
            maps = rest(level(torch.cat([maps, skip], 1)))
        return torch.sigmoid(maps)

    @torch.no_grad()
    def sample(self, context, horizon, seed):
        """Draw one future `(horizon, C, S, S)` of a context `(T, C, S, S)`."""
        generator = torch.Generator().manual_seed(seed)
        self.begin()
        before = content = None
        for frame in context:
            features, skips = self.encode(frame[None])
            content, pose = self.content(features), self.posterior(features)
            if before is not None:
                self.predictor(torch.cat([before, content[0], pose[0]], 1))
                self.prior(before)
            before = features
        future = []
        for _ in range(horizon):
            drawn = []
            for mean, logvar in (content, self.prior(before)):
                noise = torch.randn(mean.shape[1:], generator=generator)[None].to(mean)
                drawn.append(mean + noise * torch.exp(logvar / 2))
            output = torch.tanh(self.predictor(torch.cat([before, *drawn], 1)))
            frame = self.decode(output, skips)
            future.append(frame[0])
            before, _ = self.encode(frame)
            content = self.content(before)
        return torch.stack(future)

    def loss(self, frames, context, noise):
        """Return the terms of Eq. 4 and the drawn pose of frames `(T, B, C, S, S)`."""
        self.begin()
        zero = frames.new_zeros(1)
        reconstruction, kl, poses = zero, zero, []
        before = content = skips = None
        for time, frame in enumerate(frames):
            features, maps = self.encode(frame)
            expected = [content or (zero, zero), (zero, zero)]
            if time:
                expected[1] = self.prior(before)
            content, pose = self.content(features), self.posterior(features)
            drawn = []
            for (mean, logvar), (m, v), each in zip((content, pose), expected, noise, strict=True):
                drawn.append(mean + each[time] * torch.exp(logvar / 2))
                divergence = v - logvar + torch.exp(logvar - v) + (mean - m) ** 2 / torch.exp(v) - 1
                kl = kl + divergence.sum(-1).mean() / 2
            poses.append(drawn[1])
            if time:
                output = torch.tanh(self.predictor(torch.cat([before, *drawn], 1)))
                if time >= context:
                    predicted = self.decode(output, skips)
                    reconstruction = reconstruction + functional.mse_loss(predicted, frame)
            if time < context:
                skips = maps
            before = features
        return reconstruction / (len(frames) - context), kl / len(frames), poses


class TextbookTraining:
    """One step as `drsvg train` takes it: the model, then the discriminator, a frame at a time."""

    def __init__(self, model, config, training):
        self.model, self.training = Textbook(model).train(), training
        device = next(model.parameters()).device
        self.opponent = PoseDiscriminator(config.pose_dim)
        self.opponent.to(device)
        self.adam = torch.optim.Adam(self.model.parameters(), lr=training.learning_rate)
        self.other = torch.optim.Adam(self.opponent.parameters(), lr=training.learning_rate)

    def step(self, frames, context, noise):
        training = self.training
        reconstruction, kl, poses = self.model.loss(frames, context, noise)
        confusion = 0
        for pose in poses[1:]:
            logits = self.opponent(poses[0], pose)
            both = functional.logsigmoid(logits) + functional.logsigmoid(-logits)
            confusion = confusion - both.mean() / 2 / (len(poses) - 1)
        loss = reconstruction + training.beta * kl + training.adversarial * confusion
        self.adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), LARGEST_GRADIENT)
        self.adam.step()
        poses, loss = [pose.detach() for pose in poses], 0
        for pose in poses[1:]:
            same, other = (self.opponent(poses[0], each) for each in (pose, pose.roll(1, 0)))
            both = functional.logsigmoid(same) + functional.logsigmoid(-other)
            loss = loss - both.mean() / (len(poses) - 1)
        self.other.zero_grad()
        loss.backward()
        self.other.step()
