"""Numbers that change with the images seen."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Anneal(BaseModel):
    """Where a number goes from the value beside which it stands, as images are seen; a function of them alone."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    to: float = Field(allow_inf_nan=False)
    """The value at the end."""
    over: int = Field(ge=1)
    """Images that the way there takes."""
    begin: int = Field(default=0, ge=0)
    """Images before it begins."""
    shape: Literal["linear", "cosine"] = "cosine"
    """Along a line, or along half a cosine, flat at both ends (Huang et al. 2024, appendix)."""

    def value(self, start: float, images: int) -> float:
        """The number after `images` images, if it begins as `start`."""
        progress = min(1.0, max(0.0, (images - self.begin) / self.over))
        if self.shape == "cosine":
            progress = 0.5 * (1.0 - math.cos(math.pi * progress))
        return start + (self.to - start) * progress
