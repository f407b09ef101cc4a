"""Network architectures."""

from gandist import Architecture, hookimpl
from gandist_architectures.dcgan import Dcgan
from gandist_architectures.mlp import Mlp
from gandist_architectures.mlp_conv import MlpConv
from gandist_architectures.sngan_resnet import SnganResnet


@hookimpl
def gandist_architectures() -> list[type[Architecture]]:
    """All of this package."""
    return [MlpConv, Dcgan, SnganResnet, Mlp]
