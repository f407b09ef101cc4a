"""The vision transformers of DINOv2 (Dosovitskiy et al. 2021; Oquab et al. 2024), with 14×14 patches.

Their parts are called as in the published weights, so that these load as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCH, GRID = 14, 37
"""Pixels of a patch's side, and patches along a side of the images (518 pixels) that the positions were learnt on."""
DEPTH, HEAD = 12, 64
"""Blocks of the two small ones, and features of an attention head."""
_OFFSET = 0.1
"""Added to the number of patches when positions are scaled, as the published code does against rounding; it moves every
position a little."""


class Patches(nn.Module):
    """Patches as tokens."""

    def __init__(self, width: int):
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, patches, width), row by row."""
        return self.proj(images).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Self-attention of all tokens, with heads of 64."""

    def __init__(self, width: int):
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, width) to the same."""
        # Queries, keys and values lie one after the other, in each the heads.
        parts = self.qkv(tokens).unflatten(2, (3, -1, HEAD)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*parts)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Feedforward(nn.Module):
    """Two layers, four times as wide between them."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, width) to the same."""
        return self.fc2(F.gelu(self.fc1(tokens)))


class Scale(nn.Module):
    """A factor for each feature (Touvron et al. 2021)."""

    def __init__(self, width: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, width) to the same."""
        return tokens * self.gamma


class Block(nn.Module):
    """Attention and two layers, each of normalised tokens, scaled and added to them."""

    def __init__(self, width: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn, self.mlp = Attention(width), Feedforward(width)
        self.ls1, self.ls2 = Scale(width), Scale(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, width) to the same."""
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        return tokens + self.ls2(self.mlp(self.norm2(tokens)))


class VisionTransformer(nn.Module):
    """The network that turns an image into the class token's features."""

    def __init__(self, width: int, depth: int = DEPTH):
        super().__init__()
        self.patch_embed = Patches(width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + GRID * GRID, width))
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, width) of images (B, 3, H, W), both sides multiples of 14, normalised as ImageNet's are."""
        height, width = (side // PATCH for side in images.shape[-2:])
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1), self.patch_embed(images)], 1)
        tokens = tokens + self.positions(height, width)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)[:, 0]

    def positions(self, height: int, width: int) -> Tensor:
        """Of the class token and of height × width patches, (1, 1 + height·width, features)."""
        if height == width == GRID:
            return self.pos_embed
        grid = self.pos_embed[:, 1:].unflatten(1, (GRID, GRID)).permute(0, 3, 1, 2)
        scale = (height + _OFFSET) / GRID, (width + _OFFSET) / GRID
        scaled = F.interpolate(grid, scale_factor=scale, mode="bicubic", align_corners=False)
        return torch.cat([self.pos_embed[:, :1], scaled.flatten(2).transpose(1, 2)], 1)
