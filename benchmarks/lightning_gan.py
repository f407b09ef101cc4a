"""The textbook networks in Lightning with manual optimisation, in the manner of Lightning's GAN example."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator

import lightning  # pyright: ignore[reportMissingImports]  (installed by `make bench` only)
import torch
from textbook import Workload, batches, discriminator_loss, generator_loss, networks, random_images
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

VERSION = lightning.__version__


class Images(IterableDataset):
    """The textbook loop's batches."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload

    def __iter__(self) -> Iterator[Tensor]:
        return batches(self.workload, random_images(self.workload))


class Gan(lightning.LightningModule):
    """Each batch is a turn of the discriminator; after as many as the workload says comes one of the generator."""

    def __init__(self, workload: Workload, stepped: Callable[[int], None]) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.workload, self.stepped = workload, stepped
        self.generator, self.discriminator = networks(workload)

    def forward(self, latents: Tensor) -> Tensor:
        return self.generator(latents)

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        for_generator, for_discriminator = self.optimizers()  # type: ignore[misc]
        latents = torch.randn(len(batch), self.workload.latent).type_as(batch)
        self.toggle_optimizer(for_discriminator)
        loss = discriminator_loss(self.workload, self.discriminator, batch, self(latents).detach())
        self.log("d_loss", loss)
        self.manual_backward(loss)
        for_discriminator.step()
        for_discriminator.zero_grad()
        self.untoggle_optimizer(for_discriminator)
        if (batch_idx + 1) % self.workload.critic_steps == 0:
            latents = torch.randn(len(batch), self.workload.latent).type_as(batch)
            self.toggle_optimizer(for_generator)
            loss = generator_loss(self.workload, self.discriminator(self(latents)))
            self.log("g_loss", loss)
            self.manual_backward(loss)
            for_generator.step()
            for_generator.zero_grad()
            self.untoggle_optimizer(for_generator)

    def on_train_batch_end(self, outputs: object, batch: Tensor, batch_idx: int) -> None:
        self.stepped(len(batch))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        players = (self.generator, self.discriminator)
        return [torch.optim.Adam(p.parameters(), lr=2e-4, betas=self.workload.betas) for p in players]


def train(workload: Workload, stepped: Callable[[int], None]) -> None:
    """Trains for ever, without Lightning's logger, checkpoints and progress bar; tells of each batch that is done."""
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = lightning.Trainer(
        max_epochs=-1,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Gan(workload, stepped), DataLoader(Images(workload), batch_size=None))
