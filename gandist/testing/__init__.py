"""The contract as checks, for plugin writers' tests and our own: each raises AssertionError saying what is wrong."""

from gandist.testing.architectures import check_architecture
from gandist.testing.datasets import check_dataset
from gandist.testing.losses import check_loss, check_regularizer
from gandist.testing.scaffold import new_plugin

__all__ = ["check_architecture", "check_dataset", "check_loss", "check_regularizer", "new_plugin"]
