"""Networks and their losses. Every network ends in logits."""

from mstl.nn.attention import LocalAttention, transferable_weights
from mstl.nn.discriminator import (
    FeatureBank,
    ImageDiscriminator,
    LocationDiscriminator,
    domain_accuracy,
    domain_loss,
    importance_weights,
)
from mstl.nn.fusion import Fusion
from mstl.nn.losses import segmentation_loss, soft_dice
from mstl.nn.resnet import ResNetEncoder
from mstl.nn.reverse import ramp, reverse_gradient
from mstl.nn.subnetworks import Representation, SubNetwork, SubNetworkOutput, SubNetworks, first
from mstl.nn.unet import SOURCE, TARGET, Decoder, Encoder, Layers, Predictor, check_size

ENCODERS = (Encoder, ResNetEncoder)

__all__ = [
    "ENCODERS",
    "SOURCE",
    "TARGET",
    "Decoder",
    "Encoder",
    "FeatureBank",
    "Fusion",
    "ImageDiscriminator",
    "Layers",
    "LocalAttention",
    "LocationDiscriminator",
    "Predictor",
    "Representation",
    "ResNetEncoder",
    "SubNetwork",
    "SubNetworkOutput",
    "SubNetworks",
    "check_size",
    "domain_accuracy",
    "domain_loss",
    "first",
    "importance_weights",
    "ramp",
    "reverse_gradient",
    "segmentation_loss",
    "soft_dice",
    "transferable_weights",
]
