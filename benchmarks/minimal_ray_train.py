"""A minimal script for Ray Train, which startup.py and recovery.py compare with: two workers, two small networks.

`python minimal_ray_train.py FOLDER` writes FOLDER/workers-up when rank 0 starts and FOLDER/first-step after its step.
With STEPS, `python minimal_ray_train.py FOLDER STEPS` goes on, appends a line to FOLDER/steps after each of them, saves
a checkpoint of Ray's every 50, and starts again from it when a worker dies.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
import torch.nn.functional as F
from torch import nn

WORKERS, BATCH, LATENT, WIDTH, SAVE_EVERY = 2, 64, 64, 32, 50


def networks() -> tuple[nn.Module, nn.Module]:
    """DCGAN's two players for 32×32 grey images."""
    generator = nn.Sequential(
        nn.ConvTranspose2d(LATENT, 4 * WIDTH, 4),
        nn.BatchNorm2d(4 * WIDTH),
        nn.ReLU(),
        nn.ConvTranspose2d(4 * WIDTH, 2 * WIDTH, 4, 2, 1),
        nn.BatchNorm2d(2 * WIDTH),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * WIDTH, WIDTH, 4, 2, 1),
        nn.BatchNorm2d(WIDTH),
        nn.ReLU(),
        nn.ConvTranspose2d(WIDTH, 1, 4, 2, 1),
        nn.Tanh(),
    )
    discriminator = nn.Sequential(
        nn.Conv2d(1, WIDTH, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(WIDTH, 2 * WIDTH, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(2 * WIDTH, 4 * WIDTH, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(4 * WIDTH, 1, 4),
        nn.Flatten(0),
    )
    return generator, discriminator


def work(settings: dict[str, Any]) -> None:
    """Steps on random images; rank 0 tells of its start and of the end of each step."""
    folder, first = Path(settings["folder"]), ray.train.get_context().get_world_rank() == 0
    if first:
        (folder / "workers-up").touch()
    generator, discriminator = (ray.train.torch.prepare_model(network) for network in networks())
    players = {
        network: torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999))
        for network in (generator, discriminator)
    }
    state = {str(number): part for number, part in enumerate([*players, *players.values()])}
    begin = resume(state)
    for step in range(begin, settings["steps"]):
        rows = BATCH // WORKERS
        real, latents = torch.rand(rows, 1, 32, 32) * 2 - 1, torch.randn(rows, LATENT, 1, 1)
        fake = generator(latents)
        loss = F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(fake.detach())).mean()
        loss.backward()
        players[discriminator].step()
        F.softplus(-discriminator(fake)).mean().backward()
        players[generator].step()
        if first and step == begin:
            (folder / "first-step").write_text(str(loss.item()))
        if first and settings["steps"] > 1:
            with (folder / "steps").open("a") as file:
                file.write(f"{step + 1}\n")
        for optimizer in players.values():
            optimizer.zero_grad()
        if (step + 1) % SAVE_EVERY == 0:
            save(state, step + 1, first)


def save(state: dict[str, Any], step: int, first: bool) -> None:
    """Reports a checkpoint to Ray, from rank 0."""
    with tempfile.TemporaryDirectory() as folder:
        if first:
            torch.save(
                {"step": step, **{name: part.state_dict() for name, part in state.items()}}, f"{folder}/state.pt"
            )
        ray.train.report({"step": step}, checkpoint=ray.train.Checkpoint.from_directory(folder) if first else None)


def resume(state: dict[str, Any]) -> int:
    """Loads the newest checkpoint that was reported; the step to go on with."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return 0
    with checkpoint.as_directory() as folder:
        saved = torch.load(f"{folder}/state.pt")
    for name, part in state.items():
        part.load_state_dict(saved[name])
    return saved["step"]


def main() -> None:
    """Starts Ray, or joins the cluster whose job this is, and the workers, with a line on stderr before each."""
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    failures = ray.train.FailureConfig(max_failures=3 if steps > 1 else 0)
    with tempfile.TemporaryDirectory() as storage:
        print("starting Ray", file=sys.stderr, flush=True)
        own = (
            {} if "RAY_ADDRESS" in os.environ else {"address": "local", "num_cpus": WORKERS, "include_dashboard": False}
        )
        ray.init(**own, log_to_driver=False, logging_level=logging.ERROR)
        print("starting the workers", file=sys.stderr, flush=True)
        ray.train.torch.TorchTrainer(
            work,
            train_loop_config={"folder": sys.argv[1], "steps": steps},
            torch_config=ray.train.torch.TorchConfig(backend="gloo"),
            scaling_config=ray.train.ScalingConfig(num_workers=WORKERS),
            run_config=ray.train.RunConfig(name="minimal", storage_path=storage, failure_config=failures),
        ).fit()
        ray.shutdown()


if __name__ == "__main__":
    main()
