"""Perceptual path length (Karras et al. 2019, section 4.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gandist import ConfigError, Exploration, Explored, Noise


class PathLength(Exploration):
    """How far samples move in feature space for a small step between two latents: smooth generators have short paths.

    The mean of |f(G(t)) - f(G(t + ε))|² / ε² over pairs of latents and t from 0 to 1, without the outermost percentiles
    at both ends, as the published code has it. It takes the distance in the feature space of the evaluation, where the
    paper takes that of VGG16: compare figures of one space only.
    """

    name: ClassVar[str] = "path-length"
    scores: ClassVar[tuple[str, ...]] = ("path_length",)

    latents: Literal["z", "w"] = "z"
    """What the path goes through: latents, along great circles, or the styles that they are mapped to, straight."""
    where: Literal["full", "end"] = "full"
    """Steps anywhere on the path, or at its beginning only, where there is a real latent."""
    epsilon: float = Field(default=1e-4, gt=0, le=0.1)
    """The step, as a share of the path."""
    trim: float = Field(default=0.01, ge=0, lt=0.5)
    """Share of the distances that is left out at each end."""

    def unsuited(self, generator: nn.Module) -> str | None:
        """Latents of one tensor, or a mapping to styles."""
        mapped = hasattr(generator, "map") and hasattr(generator, "synthesize")
        if self.latents == "w":
            return None if mapped else "with latents: w needs a generator that maps latents to styles; set latents: z"
        training = generator.training
        generator.eval()
        try:
            weight = next(generator.parameters(), torch.zeros(()))
            noise = Noise("path-length", start=0, stop=1, total=1, device=weight.device, dtype=weight.dtype)
            plain = isinstance(generator.draw(noise, 1), Tensor)  # type: ignore[operator]
        finally:
            generator.train(training)
        cure = "set latents: w" if mapped else "leave it out"
        return None if plain else f"needs latents of one tensor, this generator draws several parts; {cure}"

    def answers(self, explored: Explored) -> dict[str, Tensor]:
        """The distance of each row, float64."""
        noise = explored.noise("t")
        t = noise.uniform(len(noise)).double()
        if self.where == "end":
            t = torch.zeros_like(t)
        start, stop = self._end(explored, "start"), self._end(explored, "stop")
        here, there = (self._features(explored, start, stop, t + step).double() for step in (0.0, self.epsilon))
        return {"distance": (there - here).square().sum(1) / self.epsilon**2}

    def grade(self, answers: Mapping[str, Tensor]) -> dict[str, float]:
        """Squared feature distance per squared path, from 0."""
        found = answers["distance"].sort().values
        last = len(found) - 1
        low, high = found[math.floor(self.trim * last)], found[math.ceil((1 - self.trim) * last)]
        return {"path_length": float(found[(found >= low) & (found <= high)].mean())}

    def _end(self, explored: Explored, name: str) -> Tensor:
        noise = explored.noise(name)
        latents = explored.generator.draw(noise, len(noise))  # type: ignore[operator]
        if self.latents == "w":
            return explored.still(lambda: explored.generator.map(latents, explored.labels))  # type: ignore[operator]
        if not isinstance(latents, Tensor):
            raise ConfigError("evaluate.metrics: path-length needs latents of one tensor")
        return latents

    def _features(self, explored: Explored, start: Tensor, stop: Tensor, t: Tensor) -> Tensor:
        passed = (straight if self.latents == "w" else great_circle)(start, stop, t)
        if self.latents == "w":
            samples = explored.still(lambda: explored.generator.synthesize(passed))  # type: ignore[operator]
        else:
            samples = explored.still(lambda: explored.generator(passed, explored.labels))
        return explored.features(samples)


def straight(start: Tensor, stop: Tensor, t: Tensor) -> Tensor:
    """Rows (B, …) at shares t (B,), float64, of the straight way between them."""
    return _mixed(start, stop, 1 - t, t)


def great_circle(start: Tensor, stop: Tensor, t: Tensor) -> Tensor:
    """Rows (B, …) at shares t (B,), float64, of the great circle between them (White 2016); straight along one line."""
    angle = torch.nn.functional.cosine_similarity(start.flatten(1).double(), stop.flatten(1).double()).clamp(-1, 1)
    angle = angle.arccos()
    sine = angle.sin()
    line = sine < 1e-6
    sine = torch.where(line, 1.0, sine)
    first = torch.where(line, 1 - t, ((1 - t) * angle).sin() / sine)
    return _mixed(start, stop, first, torch.where(line, t, (t * angle).sin() / sine))


def _mixed(start: Tensor, stop: Tensor, first: Tensor, second: Tensor) -> Tensor:
    a, b = start.flatten(1).double(), stop.flatten(1).double()
    return (first[:, None] * a + second[:, None] * b).view_as(start).to(start.dtype)
