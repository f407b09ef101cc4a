"""A discriminator that also names the class."""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gandist import Facts, Regularizer, RunError, Turn, Verdict


class AuxiliaryClassifier(Regularizer):
    """Both players also maximise the likelihood of the right class (Odena et al. 2017, equations 2 and 3).

    The discriminator must return class logits beside its own. The fakes' classes are those that the generator was
    asked for.
    """

    name: ClassVar[str] = "auxiliary-classifier"
    uses_classes: ClassVar[bool] = True
    entries: ClassVar[Mapping[str, str]] = {"labels": "leave dataset.labelled out, which hides most labels"}

    def refuse(self, facts: Facts) -> str | None:
        """Classes need labels."""
        return None if facts.classes else "needs labelled samples, and these have no labels"

    def discriminator(self, turn: Turn) -> Tensor:
        """-E log P(class | x) - E log P(class | G(z))."""
        return self._error(turn, turn.on_real) + self._error(turn, turn.on_fake)

    def generator(self, turn: Turn) -> Tensor:
        """-E log P(class | G(z))."""
        return self._error(turn, turn.on_fake)

    def classify(self, players: Mapping[str, nn.Module], images: Tensor) -> Tensor:
        """Class logits (B, K)."""
        return players["discriminator"](images, None).classes

    def _error(self, turn: Turn, verdict: Verdict) -> Tensor:
        if verdict.classes is None:
            raise RunError(
                f"{self.name}: the discriminator returns no class logits; choose an architecture that does "
                f"(conditioning: auxiliary-classifier)"
            )
        assert turn.labels is not None
        return cross_entropy(verdict.classes.to(turn.dtype), turn.labels)
