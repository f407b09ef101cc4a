"""The checks for plugin writers catch what the contract forbids."""

from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import nn

from gandist import Facts, Regularizer, Verdict
from gandist.testing import check_architecture, check_dataset, check_loss, check_regularizer
from gandist.testing.tiny import BaseLoss, RandomSamples, RandomSource, TinyDiscriminator, TinyGenerator, TinyPlayers

FACTS = Facts((3, 4, 4), 3, 100, "any")
CALLS = []


class Sums(BaseLoss):
    def generator(self, turn):
        return {"total": -turn.on_fake.logits.sum()}


class OwnChance(BaseLoss):
    def generator(self, turn):
        return {"total": -(turn.on_fake.logits * torch.rand(len(turn), dtype=turn.dtype)).mean()}


class NoTotal(BaseLoss):
    def generator(self, turn):
        return {"loss": -turn.on_fake.logits.mean()}


class PerSample(BaseLoss):
    def generator(self, turn):
        return {"total": -turn.on_fake.logits}


class NotFinite(BaseLoss):
    def generator(self, turn):
        return {"total": (turn.on_fake.logits * 0).mean().log()}


class Detached(BaseLoss):
    def generator(self, turn):
        return {"total": -turn.on_fake.logits.detach().mean()}


class Unfreezes(BaseLoss):
    def generator(self, turn):
        turn.players["discriminator"].requires_grad_(True)
        return super().generator(turn)


class Remembers(BaseLoss):
    def generator(self, turn):
        CALLS.append(turn)
        return {"total": len(CALLS) * -turn.on_fake.logits.mean()}


class CouplesLocally(BaseLoss):
    couples: ClassVar[bool] = True

    def generator(self, turn):
        return {"total": -(turn.on_fake.logits - turn.on_fake.logits.mean()).square().mean()}


class Couples(BaseLoss):
    couples: ClassVar[bool] = True

    def discriminator(self, turn):
        real, fake = turn.everyone(turn.on_real.logits), turn.everyone(turn.on_fake.logits)
        return {"total": (fake - real.mean() + 1).square().mean()}

    def generator(self, turn):
        logits = turn.everyone(turn.on_fake.logits)
        return {"total": -(logits - logits.mean()).square().mean()}


@pytest.mark.parametrize(
    ("loss", "complaint"),
    [
        (Sums(), "differs by .* must be a mean"),
        (OwnChance(), "must come from turn.noise"),
        (CouplesLocally(), "on 2 ranks .* differs"),
        (NoTotal(), "generator's turn: no 'total' among loss"),
        (PerSample(), r"'total' should be a scalar tensor, is \(8,\)"),
        (NotFinite(), "'total' is -inf"),
        (Detached(), "'total' has no gradient"),
        (Unfreezes(), "another player's"),
        (Remembers(), "resumed from a checkpoint|on 2 ranks|micro-batches"),
    ],
)
def test_a_faulty_loss(loss, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_loss(loss)


def test_a_loss_that_no_other_process_can_import():
    class Local(BaseLoss):
        pass

    with pytest.raises(AssertionError, match="cannot be sent to another process"):
        check_loss(Local())


def test_a_loss_that_couples_through_everyone_passes():
    check_loss(Couples())


class Average(Regularizer):
    """Draws the logits on real samples to their moving mean."""

    name: ClassVar[str] = "average"

    def memory(self, facts):
        return {"mean": torch.zeros((), dtype=torch.float64)}

    def discriminator(self, turn):
        return (turn.on_real.logits - turn.memory(self).mean.to(turn.dtype)).square().mean()

    def update(self, memory, seen):
        if "real" in seen:
            memory.mean.lerp_(seen["real"].double().mean(), 0.1)


class LocalAverage(Average):
    def update(self, memory, seen):
        if "real" in seen:
            memory.mean.lerp_(seen.local("real").double().mean(), 0.1)


class EagerAverage(Average):
    def discriminator(self, turn):
        with torch.no_grad():
            turn.memory(self).mean.lerp_(turn.on_real.logits.mean().double(), 0.1)
        return super().discriminator(turn)


class Bystander(Regularizer):
    name: ClassVar[str] = "bystander"

    def critic(self, turn):
        return turn.on_real.logits.mean()


def test_a_regularizer_with_a_memory_passes():
    check_regularizer(Average(every=2))


@pytest.mark.parametrize(
    ("regularizer", "complaint"),
    [
        (EagerAverage(), "average.mean changed during the turn"),
        (Bystander(), "takes part in no turn: .* discriminator, generator"),
        (LocalAverage(), "the ranks no longer agree|on 2 ranks .*average.mean differs"),
    ],
)
def test_a_faulty_regularizer(regularizer, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_regularizer(regularizer)


class OwnLatents(TinyGenerator):
    def draw(self, noise, n):
        return torch.randn(n, self.latent)


class TooBright(TinyGenerator):
    def forward(self, latents, labels):
        return 2 * super().forward(latents, labels).sign()


class Mixes(TinyGenerator):
    def forward(self, latents, labels):
        return (super().forward(latents, labels) - latents.mean()).clamp(-1, 1)


class Hides(TinyGenerator):
    def __init__(self, facts):
        super().__init__(facts)
        self.offset = torch.rand(())

    def forward(self, latents, labels):
        return (super().forward(latents, labels) + self.offset).clamp(-1, 1)


class OtherStyles(TinyGenerator):
    def forward(self, latents, labels):
        return super().synthesize(self.map(latents, labels))

    def synthesize(self, styles):
        return -super().synthesize(styles)


class OddFactors(TinyGenerator):
    def factors(self):
        return [torch.zeros(5, 13)]


class Idle(TinyDiscriminator):
    def __init__(self, facts):
        super().__init__(facts)
        self.idle = nn.Linear(2, 2)


class Columns(TinyDiscriminator):
    def forward(self, images, labels):
        return Verdict(super().forward(images, labels).logits[:, None])


class FaultyPlayers(TinyPlayers):
    network: type[nn.Module]

    def build(self, facts):
        role = "generator" if issubclass(self.network, TinyGenerator) else "discriminator"
        return {**super().build(facts), role: self.network(facts)}


@pytest.mark.parametrize(
    ("network", "complaint"),
    [
        (OwnLatents, "makes other samples"),
        (TooBright, r"outside \[-1, 1\]"),
        (Mixes, "come out differently without the others"),
        (Hides, "same state dict makes other samples"),
        (OtherStyles, "synthesize(.*) is not what the generator makes"),
        (OddFactors, r"factors\(\) gives .*, not 1 matrices"),
        (Idle, "idle.weight got no gradient"),
        (Columns, r"logits \(4, 1\), not \(4,\)"),
    ],
)
def test_a_faulty_architecture(network, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_architecture(FaultyPlayers(network=network), FACTS)


class Refuses(TinyPlayers):
    def refuse(self, facts):
        return "takes nothing" if facts.classes else None


def test_refused_data_is_reported_with_the_reason():
    with pytest.raises(AssertionError, match="takes nothing"):
        check_architecture(Refuses(), FACTS)


def test_the_tiny_players_pass_on_images_and_points():
    check_architecture(TinyPlayers(), FACTS)
    check_architecture(TinyPlayers(), Facts((2,), 0, 100, "any"))


class WrongLabels(RandomSource):
    def read(self, indices):
        rows = super().read(indices)
        return {**rows, "labels": rows["labels"] + 1}


class Floats(RandomSource):
    def read(self, indices):
        rows = super().read(indices)
        return {**rows, "real": rows["real"].float()}


class Augments(RandomSource):
    def read(self, indices):
        rows = super().read(indices)
        return {**rows, "real": rows["real"] ^ torch.randint(2, rows["real"].shape, dtype=torch.uint8)}


class ByPosition(RandomSource):
    def read(self, indices):
        rows = super().read(indices)
        return {**rows, "labels": (rows["labels"] + torch.arange(len(indices))) % 3}


class Unpicklable(RandomSource):
    def __init__(self, facts):
        super().__init__(facts)
        self.transform = lambda image: image


class Short(RandomSource):
    def __len__(self):
        return self.facts.size - 1


class Unlabelled(RandomSource):
    def read(self, indices):
        return {"real": super().read(indices)["real"]}


class Renamed(RandomSource):
    def __init__(self, facts):
        super().__init__(replace(facts, fingerprint=str(torch.rand(()).item())))


class FaultySamples(RandomSamples):
    source: type[RandomSource]

    def open(self):
        return self.source(super().open().facts)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (WrongLabels, "a label is 3, facts say 3 classes"),
        (Floats, "samples are torch.float32, should be torch.uint8"),
        (Augments, "read again: 'real' is different"),
        (ByPosition, "read backwards: 'labels' is different"),
        (Unpicklable, "cannot be sent to a loader process"),
        (Short, r"len\(\) is 25, facts.size 26"),
        (Unlabelled, "3 classes, but read.* gives no labels"),
        (Renamed, "opened again it has other facts"),
    ],
)
def test_a_faulty_data_set(source, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_dataset(FaultySamples(source=source))


@pytest.mark.parametrize("fields", [{}, {"shape": (2,), "classes": 0}])
def test_the_random_samples_pass(fields):
    check_dataset(RandomSamples(**fields))
