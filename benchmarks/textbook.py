"""The loop that people write by hand, which the benchmarks compare with: plain torch modules, two discriminator
forwards, `detach`, plain Adam, nothing else. The networks are those of gandist's architectures, with torch's layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Workload:
    """One comparison. architecture and loss are as in a config; shape is that of an image."""

    architecture: dict[str, object]
    loss: dict[str, object]
    shape: tuple[int, int, int]
    batch: int
    latent: int
    betas: tuple[float, float] = (0.5, 0.999)
    critic_steps: int = 1
    target: float = 1.0


WORKLOADS = {
    "w1": Workload({"name": "mlp-conv"}, {"name": "non-saturating"}, (1, 28, 28), 128, 100, target=1.30),
    "w2": Workload(
        {"name": "dcgan", "width": 64, "latent": 100}, {"name": "non-saturating"}, (3, 32, 32), 64, 100, target=1.20
    ),
    "w3": Workload(
        {"name": "sngan-resnet", "width": 32, "norm": "none", "latent": 128},
        {"name": "wgan-gp", "d_steps": 5},
        (3, 32, 32),
        32,
        128,
        (0.0, 0.9),
        5,
        1.28,
    ),
}


class MlpConvGenerator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((100, 256), (256, 512), (512, 1024)):
            layers += [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers, nn.Linear(1024, 784), nn.Tanh())

    def forward(self, latents: Tensor) -> Tensor:
        return self.body(latents).view(-1, 1, 28, 28)


def mlp_conv_discriminator() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 64, 5, 2, 2),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.3),
        nn.Conv2d(64, 128, 5, 2, 2),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(128 * 7 * 7, 1),
        nn.Flatten(0),
    )


def dcgan_generator() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (100, 1, 1)),
        nn.ConvTranspose2d(100, 256, 4, 1, 0, bias=False),
        nn.BatchNorm2d(256),
        nn.ReLU(True),
        nn.ConvTranspose2d(256, 128, 4, 2, 1, bias=False),
        nn.BatchNorm2d(128),
        nn.ReLU(True),
        nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(True),
        nn.ConvTranspose2d(64, 3, 4, 2, 1),
        nn.Tanh(),
    )


def dcgan_discriminator() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 64, 4, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(64, 128, 4, 2, 1, bias=False),
        nn.BatchNorm2d(128),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(128, 256, 4, 2, 1, bias=False),
        nn.BatchNorm2d(256),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(256, 1, 4, 1, 0),
        nn.Flatten(0),
    )


class UpBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.shortcut = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x) + self.shortcut(x)


class DownBlock(nn.Module):
    def __init__(self, inputs: int, width: int, down: bool, first: bool = False) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *([] if first else [nn.ReLU()]),
            nn.Conv2d(inputs, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            *([nn.AvgPool2d(2)] if down else []),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, width, 1), nn.AvgPool2d(2)) if down else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x) + self.shortcut(x)


def resnet_generator(width: int) -> nn.Module:
    wide = 2 * width
    return nn.Sequential(
        nn.Linear(128, wide * 16),
        nn.Unflatten(1, (wide, 4, 4)),
        UpBlock(wide),
        UpBlock(wide),
        UpBlock(wide),
        nn.BatchNorm2d(wide),
        nn.ReLU(),
        nn.Conv2d(wide, 3, 3, padding=1),
        nn.Tanh(),
    )


class ResnetDiscriminator(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            DownBlock(3, width, True, first=True),
            DownBlock(width, width, True),
            DownBlock(width, width, False),
            DownBlock(width, width, False),
            nn.ReLU(),
        )
        self.dense = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.body(x).sum((2, 3))).squeeze(1)


def networks(workload: Workload) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator of plain torch layers."""
    name = workload.architecture["name"]
    if name == "mlp-conv":
        return MlpConvGenerator(), mlp_conv_discriminator()
    if name == "dcgan":
        return dcgan_generator(), dcgan_discriminator()
    width = int(str(workload.architecture["width"]))
    return resnet_generator(width), ResnetDiscriminator(width)


def penalty(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Gulrajani et al. 2017, algorithm 1."""
    mix = torch.rand(len(real), 1, 1, 1)
    between = (mix * real + (1 - mix) * fake).requires_grad_(True)
    logits = critic(between)
    (gradient,) = torch.autograd.grad(logits, between, torch.ones_like(logits), create_graph=True)
    return ((gradient.flatten(1).norm(2, dim=1) - 1) ** 2).mean()


def discriminator_loss(workload: Workload, critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    if workload.critic_steps > 1:
        return critic(fake).mean() - critic(real).mean() + 10 * penalty(critic, real, fake)
    return F.softplus(-critic(real)).mean() + F.softplus(critic(fake)).mean()


def generator_loss(workload: Workload, logits: Tensor) -> Tensor:
    return -logits.mean() if workload.critic_steps > 1 else F.softplus(-logits).mean()


def batches(workload: Workload, images: Tensor) -> Iterator[Tensor]:
    """Float batches of shuffled uint8 images, for ever."""
    while True:
        order = torch.randperm(len(images))
        for rows in order[: len(order) // workload.batch * workload.batch].view(-1, workload.batch):
            yield images[rows].float() / 127.5 - 1


def random_images(workload: Workload, count: int = 4096) -> Tensor:
    """uint8 images; what they show does not change the time of a step."""
    return torch.randint(0, 256, (count, *workload.shape), dtype=torch.uint8)


def train(workload: Workload, reuse: bool = False) -> Iterator[int]:
    """Trains for ever; yields the number of real images of each step when it is done.

    Each turn draws its own latents (Goodfellow et al. 2014, algorithm 1), as Lightning's example and gandist do.
    reuse: the generator's turn takes the fakes of the discriminator's turn instead, which saves a generator forward
    (PyTorch's DCGAN example).
    """
    generator, critic = networks(workload)
    g_adam = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=workload.betas)
    d_adam = torch.optim.Adam(critic.parameters(), lr=2e-4, betas=workload.betas)
    data = batches(workload, random_images(workload))
    fake = torch.empty(0)
    while True:
        for _ in range(workload.critic_steps):
            real = next(data)
            fake = generator(torch.randn(len(real), workload.latent))
            d_adam.zero_grad()
            discriminator_loss(workload, critic, real, fake.detach()).backward()
            d_adam.step()
        if not reuse:
            fake = generator(torch.randn(workload.batch, workload.latent))
        g_adam.zero_grad()
        generator_loss(workload, critic(fake)).backward()
        g_adam.step()
        yield workload.batch * workload.critic_steps
