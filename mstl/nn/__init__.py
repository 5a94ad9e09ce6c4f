"""Networks and their losses. Every network ends in logits."""

from mstl.nn.attention import LocalAttention
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
from mstl.nn.subnetworks import Representation, SubNetwork, SubNetworkOutput, SubNetworks
from mstl.nn.unet import Decoder, Encoder, Predictor, check_size

__all__ = [
    "Decoder",
    "Encoder",
    "FeatureBank",
    "Fusion",
    "ImageDiscriminator",
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
    "importance_weights",
    "ramp",
    "reverse_gradient",
    "segmentation_loss",
    "soft_dice",
]
