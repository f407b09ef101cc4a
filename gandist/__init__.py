"""gandist: distributed training of generative adversarial networks.

Everything that a plugin or a script imports. Names are looked up on first use, so that `gandist --help` needs no torch.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gandist.contract.anneal import Anneal
    from gandist.contract.anomalies import FindsAnomalies, ShowsAnomalies, auroc, average_precision
    from gandist.contract.classifying import Classifies, class_logits, classifier_of
    from gandist.contract.collective import all_sum
    from gandist.contract.comparing import Compared, nearest, squared_distances
    from gandist.contract.component import Component
    from gandist.contract.components import (
        Architecture,
        Augmentation,
        Dataset,
        Loss,
        Probe,
        Regularizer,
        Source,
        Watcher,
    )
    from gandist.contract.discovery import defined_in
    from gandist.contract.examining import Examination, Examined
    from gandist.contract.exploring import Exploration, Explored
    from gandist.contract.facts import Facts
    from gandist.contract.hookspecs import hookimpl
    from gandist.contract.noise import Noise
    from gandist.contract.optimizing import Optimizer, Schedule
    from gandist.contract.recompute import Recomputable
    from gandist.contract.scoring import Extractor, Metric, Real, Scored
    from gandist.contract.showing import Shows
    from gandist.contract.translating import Translates
    from gandist.contract.turn import Memory, Seen, Turn, Verdict, as_played, slopes
    from gandist.data.cache import cache_folder
    from gandist.data.download import download
    from gandist.data.place import Place
    from gandist.errors import CheckpointError, ConfigError, GandistError, RunError
    from gandist.evaluation.fitting import fitted_classifier, train_classifier
    from gandist.launch.run import train
    from gandist.using.load import load

try:
    __version__ = version("gandist")
except PackageNotFoundError:
    __version__ = "0+unknown"

_HOME = {
    "Anneal": "contract.anneal",
    "Architecture": "contract.components",
    "Augmentation": "contract.components",
    "CheckpointError": "errors",
    "Classifies": "contract.classifying",
    "Compared": "contract.comparing",
    "Component": "contract.component",
    "ConfigError": "errors",
    "Dataset": "contract.components",
    "Examination": "contract.examining",
    "Examined": "contract.examining",
    "Exploration": "contract.exploring",
    "Explored": "contract.exploring",
    "Extractor": "contract.scoring",
    "Facts": "contract.facts",
    "FindsAnomalies": "contract.anomalies",
    "GandistError": "errors",
    "Loss": "contract.components",
    "Memory": "contract.turn",
    "Metric": "contract.scoring",
    "Noise": "contract.noise",
    "Optimizer": "contract.optimizing",
    "Place": "data.place",
    "Probe": "contract.components",
    "Real": "contract.scoring",
    "Recomputable": "contract.recompute",
    "Regularizer": "contract.components",
    "RunError": "errors",
    "Schedule": "contract.optimizing",
    "Scored": "contract.scoring",
    "Seen": "contract.turn",
    "Shows": "contract.showing",
    "ShowsAnomalies": "contract.anomalies",
    "Source": "contract.components",
    "Translates": "contract.translating",
    "Turn": "contract.turn",
    "Verdict": "contract.turn",
    "Watcher": "contract.components",
    "all_sum": "contract.collective",
    "as_played": "contract.turn",
    "auroc": "contract.anomalies",
    "average_precision": "contract.anomalies",
    "cache_folder": "data.cache",
    "class_logits": "contract.classifying",
    "classifier_of": "contract.classifying",
    "defined_in": "contract.discovery",
    "download": "data.download",
    "fitted_classifier": "evaluation.fitting",
    "hookimpl": "contract.hookspecs",
    "load": "using.load",
    "nearest": "contract.comparing",
    "slopes": "contract.turn",
    "squared_distances": "contract.comparing",
    "train": "launch.run",
    "train_classifier": "evaluation.fitting",
}

__all__ = [
    "Anneal",
    "Architecture",
    "Augmentation",
    "CheckpointError",
    "Classifies",
    "Compared",
    "Component",
    "ConfigError",
    "Dataset",
    "Examination",
    "Examined",
    "Exploration",
    "Explored",
    "Extractor",
    "Facts",
    "FindsAnomalies",
    "GandistError",
    "Loss",
    "Memory",
    "Metric",
    "Noise",
    "Optimizer",
    "Place",
    "Probe",
    "Real",
    "Recomputable",
    "Regularizer",
    "RunError",
    "Schedule",
    "Scored",
    "Seen",
    "Shows",
    "ShowsAnomalies",
    "Source",
    "Translates",
    "Turn",
    "Verdict",
    "Watcher",
    "all_sum",
    "as_played",
    "auroc",
    "average_precision",
    "cache_folder",
    "class_logits",
    "classifier_of",
    "defined_in",
    "download",
    "fitted_classifier",
    "hookimpl",
    "load",
    "nearest",
    "slopes",
    "squared_distances",
    "train",
    "train_classifier",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gandist' has no attribute {name!r}")
    value = getattr(import_module(f"gandist.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
