"""Translators of one convolution each, with all that the losses of image-to-image methods ask for."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from gandist import Architecture, Facts


class Filter(nn.Module):
    """A 3×3 convolution and tanh; its features are the pixels and what it makes of them."""

    def __init__(self, channels: int):
        super().__init__()
        self.layer = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images).tanh()

    def features(self, images: Tensor) -> list[Tensor]:
        return [images, self(images)]


class Heads(nn.Module):
    """A linear map to four numbers for both depths."""

    def __init__(self, channels: int):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(channels, 4) for _ in range(2))

    def forward(self, patches: list[Tensor]) -> list[Tensor]:
        made = (head(rows) for head, rows in zip(self.heads, patches, strict=True))
        return [nn.functional.normalize(rows, dim=-1) for rows in made]


class Patches(nn.Module):
    """Logits (B, h, w) of squares of 4×4 pixels."""

    def __init__(self, channels: int):
        super().__init__()
        self.layer = nn.Conv2d(channels, 1, 4, stride=2)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layer(images).squeeze(1)


class Several(nn.Module):
    """Networks by name."""

    def __init__(self, **networks: nn.Module):
        super().__init__()
        for name, network in networks.items():
            self.add_module(name, network)


class TinyTranslators(Architecture):
    """Just what one of the losses uses, so that nothing is left without a gradient."""

    name: ClassVar[str] = "tiny-translators"

    of: str
    """The loss."""

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        channels = facts.shape[0]
        ways, domains = (("to_a", "to_b"), ("on_a", "on_b")) if self.of == "cyclegan" else (("to_b",), ("on_b",))
        heads = {"heads": Heads(channels)} if self.of == "cut" else {}
        judged = channels * 2 if self.of == "pix2pix" else channels
        return {
            "generator": Several(**{way: Filter(channels) for way in ways}, **heads),
            "discriminator": Several(**{domain: Patches(judged) for domain in domains}),
        }
