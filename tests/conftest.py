"""What all tests share: the project's own cache folder, and where the real data lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from tests.machines import Unavailable, require

if TYPE_CHECKING:
    from gandist.using.trained import Trained

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory):
    """Tests neither read nor fill the user's cache."""
    os.environ["GANDIST_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with real data sets."""
    folder = os.environ.get("GANDIST_TEST_DATA")
    if not folder:
        pytest.skip("GANDIST_TEST_DATA names no folder with fashion-mnist/ and photos/")
    return Path(folder)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small runs that were trained, to be read only."""
    from trained_runs import train_runs

    return train_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def digits(runs: Path) -> Trained:
    """One of them, loaded."""
    from gandist.using.load import load

    return load(runs / "digits")


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all hosts in namespaces see."""
    try:
        require()
    except Unavailable as reason:
        pytest.skip(str(reason))
    return tmp_path_factory.mktemp("share")
