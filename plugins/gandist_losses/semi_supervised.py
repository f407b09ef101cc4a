"""A discriminator that is a classifier, taught by few labels and many samples without."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax, normalize, softplus

from gandist import Facts, Loss, Turn, Verdict


class SemiSupervised(Loss):
    """The discriminator tells K classes and what is generated; features guide the generator (Salimans et al. 2016).

    Of its class logits l(x) follow both answers (section 5): p(y | x) = softmax l(x), and D(x) = Z(x) / (Z(x) + 1) with
    Z(x) = Σ exp l_k(x), so the generated class needs no logit of its own. The generator matches the mean features of
    real samples, over the global batch (section 3.1). The other two terms are those of Dai et al. 2017, equation 6.
    """

    name: ClassVar[str] = "semi-supervised"
    couples: ClassVar[bool] = True
    uses_classes: ClassVar[bool] = True
    entries: ClassVar[Mapping[str, str]] = {
        "labelled": "set dataset.labelled to a number of samples",
        "labelled_classes": "set dataset.labelled to a number of samples",
    }

    d_steps: int = Field(default=1, ge=1, le=1000)
    """Discriminator turns, each with a fresh batch, before each turn of the generator, which saves time where the
    classifier learns slowly."""
    unsupervised: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Weight of what needs no labels in the discriminator's total; the authors' code has 0.5."""
    conditional_entropy: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Weight of the entropy of the classes of unlabelled samples: it makes the classifier sure (Dai et al. 2017)."""
    pull_away: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Weight of the generator's pull-away term: it keeps generated samples apart (Zhao et al. 2017, equation 4)."""

    @property
    def turns(self) -> tuple[str, ...]:  # type: ignore[override]
        """`d_steps` turns of the discriminator, then one of the generator."""
        return ("discriminator",) * self.d_steps + ("generator",)

    def refuse(self, facts: Facts) -> str | None:
        """Data without at least two classes."""
        return None if facts.classes > 1 else "needs samples of at least 2 classes, some of them labelled"

    def discriminator(self, turn: Turn) -> dict[str, Tensor]:
        """-E log p(y | x) over the labelled, and weighted -E log D(x) - E log(1 - D(G(z))) and E H(p(y | x))."""
        labelled = _classes(turn.judge(turn["labelled"]), turn)
        supervised = turn.everyone(cross_entropy(labelled, turn["labelled_classes"], reduction="none")).mean()
        real, fake = (_classes(verdict, turn) for verdict in (turn.on_real, turn.on_fake))
        apart = softplus(-real.logsumexp(1)) + softplus(fake.logsumexp(1))
        unsupervised = turn.everyone(apart).mean()
        terms = {"supervised": supervised, "unsupervised": unsupervised}
        total = supervised + self.unsupervised * unsupervised
        if self.conditional_entropy:
            log_p = log_softmax(real, 1)
            terms["conditional_entropy"] = turn.everyone(-(log_p.exp() * log_p).sum(1)).mean()
            total = total + self.conditional_entropy * terms["conditional_entropy"]
        return {"total": total, **terms}

    def generator(self, turn: Turn) -> dict[str, Tensor]:
        """|E f(x) - E f(G(z))|², and the weighted mean of cos²(f(G(z)), f(G(z'))) over all pairs."""
        with torch.no_grad():
            real = turn.everyone(_features(turn.on_real, turn)).mean(0)
        fake = turn.everyone(_features(turn.on_fake, turn))
        matching = (real - fake.mean(0)).square().sum()
        if not self.pull_away:
            return {"total": matching, "feature_matching": matching}
        unit, count = normalize(fake), len(fake)
        # Of each sample with itself the cosine is 1.
        pulled = ((unit @ unit.T).square().sum() - count) / max(1, count * (count - 1))
        return {"total": matching + self.pull_away * pulled, "feature_matching": matching, "pull_away": pulled}

    def classify(self, players: Mapping[str, nn.Module], images: Tensor) -> Tensor:
        """Class logits (B, K)."""
        classes = players["discriminator"](images, None).classes
        return classes.to(torch.promote_types(classes.dtype, torch.float32))


def _classes(verdict: Verdict, turn: Turn) -> Tensor:
    assert verdict.classes is not None, "check has asked for them"
    return verdict.classes.to(turn.dtype)


def _features(verdict: Verdict, turn: Turn) -> Tensor:
    """(B, F)."""
    return verdict.features.flatten(1).to(turn.dtype)
