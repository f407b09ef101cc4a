"""Pictures as uint8 arrays: conversion of every kind of file to 8 bits, resizing, cropping, padding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Pixels = NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF")
"""Formats that are read, whatever a file's name says. Pillow knows more, and starts Ghostscript for one of them."""


def to_eight_bits(picture: Image.Image, channels: int) -> Image.Image:
    """The picture in mode "L" (1 channel) or "RGB" (3), turned as its EXIF says, transparency composited on white.

    16-bit and 32-bit integer greys are read as 0 to 65535, floating-point greys as 0 to 1.
    """
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):
        values = np.asarray(picture, dtype=np.float32) / 257.0
        picture = Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
    elif picture.mode == "F":
        picture = Image.fromarray((np.asarray(picture) * 255.0).round().clip(0, 255).astype(np.uint8))
    elif picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(white, picture)
    return picture.convert("L" if channels == 1 else "RGB")


def to_square(picture: Image.Image, size: int, crop: bool) -> Image.Image:
    """The picture at size × size, antialiased: its central square, or all of it stretched."""
    box = None
    if crop:
        width, height = picture.size
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
    return picture.resize((size, size), Image.Resampling.BICUBIC, box=box)


def resize(images: Pixels, size: int) -> Pixels:
    """Images (N, C, H, W) stretched to (N, C, size, size), bicubic and antialiased. C is 1 or 3."""
    count, channels, *shape = images.shape
    if shape == [size, size]:
        return images
    resized = np.empty((count, channels, size, size), np.uint8)
    for number, image in enumerate(images):
        picture = Image.fromarray(image[0] if channels == 1 else image.transpose(1, 2, 0))
        resized[number] = to_array(to_square(picture, size, crop=False))
    return resized


def pad(images: Pixels, size: int) -> Pixels:
    """Images (N, C, H, W) in the middle of a black (N, C, size, size), which must not be smaller."""
    down, across = size - images.shape[2], size - images.shape[3]
    edges = ((0, 0), (0, 0), (down // 2, down - down // 2), (across // 2, across - across // 2))
    return np.pad(images, edges)


def to_array(picture: Image.Image) -> Pixels:
    """A picture of mode "L" or "RGB" as (1 or 3, H, W)."""
    pixels = np.asarray(picture)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
