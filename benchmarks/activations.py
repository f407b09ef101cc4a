"""Memory that a turn keeps with `train.checkpoint_activations` and without, on a CPU.

Per network and turn: MiB of tensors, weights aside, that are kept between the forward and the backward pass, and
CPU-seconds of the turn. Each in its own process.
The turns: the generator's; the discriminator's on a real batch; the same with R1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from gandist import Facts, Noise, Recomputable, slopes
from gandist.config.resolve import resolve
from gandist.contract.recompute import recompute

CASES: dict[str, tuple[dict[str, Any], int, int, int]] = {
    "stylegan2 256": ({"name": "stylegan2", "channel_base": 16384, "group": 2}, 256, 0, 2),
    "biggan 128": ({"name": "biggan", "attention": 64}, 128, 1000, 2),
    "r3gan 256": ({"name": "r3gan"}, 256, 0, 2),
}
"""Name → architecture, size, classes, rows."""
TURNS = ("generator", "discriminator", "r1")


def players(case: str, again: bool) -> tuple[nn.Module, nn.Module, Tensor, Tensor | None]:
    fields, size, classes, rows = CASES[case]
    config = resolve({"run": {"name": "x"}, "dataset": "digits", "architecture": fields, "loss": "hinge"})
    # Initial weights take longer than the turns; memory does not depend on them.
    with torch.device("meta"):
        networks = config.architecture.players(Facts((3, size, size), classes, 1000, "activations"), 0)
    for network in networks.values():
        network.to_empty(device="cpu").train()
        with torch.no_grad():
            for tensor in (*network.parameters(), *network.buffers()):
                tensor.normal_(0.0, 0.02) if tensor.is_floating_point() else tensor.zero_()
        if again:
            recompute(network)
    labels = torch.arange(rows) if classes else None
    return networks["generator"], networks["discriminator"], torch.randn(rows, 3, size, size), labels


def tensors(inputs: Any) -> Iterator[Tensor]:
    """All tensors in nested lists."""
    for one in inputs if isinstance(inputs, list | tuple) else [inputs]:
        if isinstance(one, Tensor):
            yield one
        elif isinstance(one, list | tuple):
            yield from tensors(one)


def measure(case: str, turn: str, again: bool) -> dict[str, float]:
    generator, discriminator, real, labels = players(case, again)
    noise = Noise(0, start=0, stop=len(real), total=len(real), device=torch.device("cpu"), dtype=torch.float32)
    kept: dict[int, int] = {}
    alive: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        alive.append(tensor)
        return tensor

    for module in (*generator.modules(), *discriminator.modules()):
        if isinstance(module, Recomputable) and module.recomputes:
            # Not saved for a derivative, but kept to begin from.
            module.register_forward_pre_hook(lambda _, inputs: [pack(one) for one in tensors(inputs)] and None)

    begin = time.process_time()
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        if turn == "generator":
            discriminator.requires_grad_(False)
            total = discriminator(generator(generator.draw(noise, len(real)), labels), labels).sum()  # type: ignore[operator]
        else:
            real.requires_grad_(turn == "r1")
            logits = discriminator(real, labels)
            total = logits.sum() + (slopes(logits, real).square().sum() if turn == "r1" else 0.0)
    for player in (generator, discriminator):
        for tensor in (*player.parameters(), *player.buffers()):
            kept.pop(tensor.untyped_storage().data_ptr(), None)
    alive.clear()
    total.backward()
    seconds = time.process_time() - begin
    return {"kept": sum(kept.values()) / 2**20, "seconds": seconds}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.one:
        case, turn, again = arguments.one
        print(json.dumps(measure(case, turn, again == "again")))
        return 0
    print("| network, rows | turn | kept, MiB | CPU-seconds |")
    print("| --- | --- | --- | --- |")
    for case in arguments.only:
        for turn in TURNS:
            pair = [
                json.loads(
                    subprocess.run(
                        [sys.executable, __file__, "--one", case, turn, how], check=True, capture_output=True, text=True
                    ).stdout
                )
                for how in ("keep", "again")
            ]
            cells = [" → ".join(f"{one[name]:.{digits}f}" for one in pair) for name, digits in MEASURED.items()]
            print(f"| {case}, {CASES[case][3]} | {turn} | {' | '.join(cells)} |", flush=True)
    return 0


MEASURED = {"kept": 0, "seconds": 1}
"""What is shown → digits behind the point."""

if __name__ == "__main__":
    sys.exit(main())
