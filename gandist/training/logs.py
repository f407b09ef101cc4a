"""What a log line holds. docs/metrics.md lists every key."""

from __future__ import annotations

import torch
from torch import Tensor

from gandist.contract.turn import Turn
from gandist.training.state import State
from gandist.training.surroundings import Surroundings


def terms_of(turn: Turn, terms: dict[str, Tensor], accuracy: bool = False) -> dict[str, Tensor]:
    """The terms of a part, and the discriminator's logits and probabilities on what it judged in its own turn.

    accuracy: also the share of rows that it judged right.
    """
    if turn.role != "discriminator":
        return terms
    judged = {name: rows for name, rows in turn.seen.items() if name in ("real", "fake")}
    found = {f"logits/{name}": rows.mean() for name, rows in judged.items()}
    found |= {f"probability/{name}": torch.sigmoid(rows).mean() for name, rows in judged.items()}
    if accuracy:
        right = {name: rows > 0 if name == "real" else rows < 0 for name, rows in judged.items()}
        found |= {f"accuracy/{name}": rows.float().mean() for name, rows in right.items()}
    return {**terms, **found}


def log_line(state: State, means: dict[str, float], speed: dict[str, float], around: Surroundings) -> dict[str, float]:
    """The scalars of a logging step, with their public names.

    means: by "role/term", as `Scalars.reduce` gives them.
    """
    line: dict[str, float] = {"images": float(state.images)}
    for name, value in means.items():
        role, _, term = name.partition("/")
        if "/" in term:
            line[term] = value
        else:
            line[f"gradient_norm/{role}" if term == "gradient_norm" else f"loss/{name}"] = value
    for role, player in state.players.items():
        line[f"lr/{role}"] = player.lr
    line |= speed
    line |= {f"heartbeat/rank-{rank}": seconds for rank, seconds in around.heartbeats().items()}
    if around.device.type == "cuda":
        line["memory/gpu_gib"] = torch.cuda.max_memory_allocated(around.device) / 2**30
        torch.cuda.reset_peak_memory_stats(around.device)
    line |= {key: value for key, value in around.recorded.items() if key not in line}
    around.recorded.clear()
    if state.progress.evaluated == state.progress.step:
        line |= {f"evaluation/{name}": value for name, value in state.progress.metrics.items()}
    return line
