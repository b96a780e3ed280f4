"""`shardwright.training.transforms` under the import path that existing code uses."""

from shardwright.training.transforms import IMAGENET_MEAN, IMAGENET_STD, EvalTransform, FusedTransform, TrainTransform

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "EvalTransform", "FusedTransform", "TrainTransform"]
