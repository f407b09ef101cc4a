"""Everything that is registered passes the checks that plugin writers are given."""

import pytest
from pydantic import TypeAdapter

from gandist import Architecture, Dataset, Facts, Loss, Regularizer
from gandist.contract.discovery import installed
from gandist.testing import check_architecture, check_dataset, check_loss, check_regularizer
from gandist.testing.tiny import RandomSamples
from tests.tiny_translators import TinyTranslators
from tests.turns import adversarial

pytestmark = pytest.mark.arithmetic

POINTS = Facts((2,), 0, 100, "points")
SHAPES = [(1, 28, 28), (3, 32, 32), (3, 64, 64), (2,)]


def registered(kind):
    return [pytest.param(component, id=component.name) for component in installed().components(kind)]


TRANSLATORS = {"cyclegan": {"pool": 12}, "cut": {"patches": 5}, "pix2pix": {}}
"""Losses that do not train a generator of noise, with their fields."""
OF_LABELS = [loss for loss in installed().components(Loss) if "labelled" in loss.entries]
ADVERSARIAL = [pytest.param(loss, id=loss.name) for loss in [*adversarial(), *OF_LABELS]]


def samples_for(loss: type[Loss]) -> RandomSamples:
    """Samples with the entries that the loss reads."""
    return RandomSamples(labelled=9 if loss in OF_LABELS else 0)


def test_nothing_is_broken():
    assert [f"{plugin.name}: {plugin.error}" for plugin in installed().broken] == []


@pytest.mark.parametrize("loss", ADVERSARIAL)
def test_loss(loss):
    check_loss(loss(), dataset=samples_for(loss))


@pytest.mark.parametrize("name", TRANSLATORS)
def test_loss_of_translators(name):
    loss = TypeAdapter(Loss).validate_python({"name": name, **TRANSLATORS[name]})
    dataset = RandomSamples(shape=(1, 8, 8), classes=0, called=("a", "b"))
    check_loss(loss, architecture=TinyTranslators(of=name), dataset=dataset, batch_size=5)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ADVERSARIAL)
def test_loss_on_points_without_labels_and_with_regularizers(loss):
    lazy = [regularizer(weight=0.1, every=2) for regularizer in installed().components(Regularizer)]
    fitting = [regularizer for regularizer in lazy if regularizer.refuse(POINTS) is None]
    if (reason := loss().refuse(POINTS)) is not None:
        pytest.skip(reason)
    check_loss(loss(regularizers=fitting), dataset=RandomSamples(shape=(2,), classes=0))


@pytest.mark.slow
@pytest.mark.parametrize("regularizer", registered(Regularizer))
@pytest.mark.parametrize("loss", ADVERSARIAL)
def test_every_loss_takes_every_regularizer(loss, regularizer):
    check_loss(loss(regularizers=[regularizer()]), dataset=samples_for(loss))


@pytest.mark.parametrize("regularizer", registered(Regularizer))
def test_regularizer(regularizer):
    check_regularizer(regularizer())


@pytest.mark.parametrize("architecture", registered(Architecture))
def test_architecture(architecture):
    fields = {"width": 8} if "width" in architecture.model_fields else {}
    built = architecture(**fields)
    accepted = [facts for shape in SHAPES if built.refuse(facts := Facts(shape, 3, 100, "any")) is None]
    assert accepted, f"{built.name} refuses all of {SHAPES}"
    check_architecture(built, accepted[0])


@pytest.mark.parametrize("dataset", registered(Dataset))
def test_dataset(dataset, request):
    folders = {"image-folder": "photos", "fashion-mnist": "fashion-mnist", "idx": "fashion-mnist"}
    fields = {}
    if dataset.name in folders:
        fields["root"] = str(request.getfixturevalue("data_folder") / folders[dataset.name])
    elif dataset.name in ("paired-folders", "unpaired-folders", "degraded-folder"):
        pytest.skip("tests/test_pairs.py writes some and checks them")
    elif dataset.name in ("table", "one-class", "defect-folder"):
        pytest.skip("tests/test_table.py and tests/test_anomalies.py make some and check them")
    elif dataset.name == "shards":
        pytest.skip("tests/test_shards.py packs some and checks them")
    elif "url" in dataset.model_fields:
        pytest.skip("its files would have to be downloaded")
    check_dataset(dataset(**fields))
