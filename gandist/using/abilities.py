"""What a run can do, by the protocols that its loss meets: the verbs that serve it, and what to make of the answers."""

from __future__ import annotations

from dataclasses import dataclass

from gandist.contract.anomalies import FindsAnomalies
from gandist.contract.classifying import Classifies, classifier_of
from gandist.contract.translating import Translates
from gandist.training.sampling import draws
from gandist.using.trained import Trained


@dataclass(frozen=True)
class Ability:
    """One of them.

    does: what, as it follows "the run". command: the verb, with what it is given in capitals. use: what it is for.
    limits: what it is not for. lacks: why the generator alone cannot, "" where it can. task: Hugging Face's name for
    it, of images, None where there is none. tag: the field's name for it.
    """

    does: str
    command: str
    use: str
    limits: tuple[str, ...]
    lacks: str = ""
    task: str | None = None
    tag: str = ""


def abilities(trained: Trained) -> list[Ability]:
    """All of a run's: first what its loss is for, last what only a regularizer adds."""
    loss, facts = trained.config.loss, trained.facts
    found = []
    if isinstance(loss, Translates):
        found += [_translating(to) for to in loss.targets]
    if isinstance(loss, Classifies):
        found.append(_CLASSIFYING)
    if isinstance(loss, FindsAnomalies):
        found.append(_scoring(facts.images))
    if draws({"generator": trained.generator}):
        found.append(_DRAWING)
    if classifier_of(loss) is not None and _CLASSIFYING not in found:
        found.append(_CLASSIFYING)
    return found


_DRAWING = Ability(
    "draws synthetic samples that resemble its data",
    "gandist sample RUN --count 16 --out FOLDER",
    "Synthetic samples that resemble the data named below: for trying out methods, for teaching, and for data "
    "augmentation where it has been measured to help (`gandist augment RUN --measure`).",
    (
        "Passing its samples off as real. Files that gandist writes say in their metadata that they are synthetic; "
        "anybody can remove that.",
        "As a stand-in for private data: a GAN may repeat what it was trained on (`gandist interpret RUN neighbours`), "
        "and nothing here was trained with differential privacy.",
        "As evidence of how often anything occurs: samples are less various than the data, and rare cases may be "
        "missing.",
    ),
    task="unconditional-image-generation",
)
_CLASSIFYING = Ability(
    "gives images their classes",
    "gandist classify RUN IMAGES --out classes.csv",
    "Telling the classes named below apart in images like those that it was trained on.",
    (
        "Images of anything else: it names one of its classes whatever it is shown, and its probabilities are not "
        "calibrated.",
        "Deciding about people without somebody who looks at what it says.",
    ),
    lacks="The classifier is another player, which is in the run folder and not in this file.",
    task="image-classification",
)


def _translating(to: str) -> Ability:
    other = {"a": "B", "b": "A"}.get(to, "the other domain")
    return Ability(
        f"translates images of {other} to {to.upper()}",
        f"gandist translate RUN IMAGES --to {to.upper()} --out FOLDER",
        f"Translating images of {other}, of the kind named below, to {to.upper()}.",
        (
            "Passing what it makes off as a photograph or a measurement: details that the input does not show are made "
            "up. Files that gandist writes say in their metadata that they are synthetic; anybody can remove that.",
            "Images of other kinds than those that it was trained on.",
        ),
        task="image-to-image",
    )


def _scoring(images: bool) -> Ability:
    what = "images" if images else "rows"
    return Ability(
        f"says how unlike its data {what} are",
        "gandist score RUN DATA --out scores.csv",
        f"Finding {what} that are unlike the normal ones that it was trained on, for somebody to look at.",
        (
            "Deciding by itself: what is unlike the training data need not be wrong, nor what is like them right.",
            "Data that have drifted since: all of them look anomalous. Scores of two runs do not compare.",
        ),
        lacks="The score takes other players too, which are in the run folder and not in this file.",
        tag="anomaly-detection",
    )
