"""Networks and their losses. Every network ends in logits."""

from mstl.nn.attention import LocalAttention, transferable_weights
from mstl.nn.classifier import Classifier, Pooled
from mstl.nn.discriminator import (
    FeatureBank,
    ImageDiscriminator,
    LocationDiscriminator,
    domain_accuracy,
    domain_loss,
    importance_weights,
)
from mstl.nn.encoders import extractor, predictor
from mstl.nn.fusion import Fusion
from mstl.nn.lenet import LeNet
from mstl.nn.losses import positive_unlabelled_loss, segmentation_loss, soft_dice
from mstl.nn.mlp import MLP
from mstl.nn.reverse import ramp, reverse_gradient
from mstl.nn.subnetworks import Representation, SubNetwork, SubNetworkOutput, SubNetworks, first
from mstl.nn.timm_encoder import TimmEncoder
from mstl.nn.unet import SOURCE, TARGET, Decoder, Encoder, Layers, Predictor, check_size
from mstl.nn.weights import Weights, architecture_only

ENCODERS = (Encoder, TimmEncoder, LeNet, MLP, Pooled)

__all__ = [
    "ENCODERS",
    "MLP",
    "SOURCE",
    "TARGET",
    "Classifier",
    "Decoder",
    "Encoder",
    "FeatureBank",
    "Fusion",
    "ImageDiscriminator",
    "Layers",
    "LeNet",
    "LocalAttention",
    "LocationDiscriminator",
    "Pooled",
    "Predictor",
    "Representation",
    "SubNetwork",
    "SubNetworkOutput",
    "SubNetworks",
    "TimmEncoder",
    "Weights",
    "architecture_only",
    "check_size",
    "domain_accuracy",
    "domain_loss",
    "extractor",
    "first",
    "importance_weights",
    "positive_unlabelled_loss",
    "predictor",
    "ramp",
    "reverse_gradient",
    "segmentation_loss",
    "soft_dice",
    "transferable_weights",
]
