"""Heads that answer per pixel. B is the batch, h x w the grid of the finest feature map they are given."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class AtrousHead(nn.Module):
    """DeepLabv3's head (Chen et al. 2017, arXiv 1706.05587, figure 5): atrous spatial pyramid pooling.

    A 1x1 convolution, 3x3 convolutions at several dilations and the image's mean, side by side, then a 3x3
    convolution and the answers. The mean's branch has no batch normalisation (the published one has):
    it is one value per image, which a batch of one cannot normalise.
    """

    def __init__(self, before: int, width: int, outputs: int, dilations: Sequence[int], dropout: float):
        super().__init__()
        self.branches = nn.ModuleList([_convolution(before, width, 1)])
        self.branches.extend(_convolution(before, width, 3, dilation) for dilation in dilations)
        self.mean = nn.Sequential(nn.Conv2d(before, width, 1), nn.ReLU())
        self.project = _convolution((len(dilations) + 2) * width, width, 1)
        self.dropout = nn.Dropout(dropout)
        self.answer = nn.Sequential(_convolution(width, width, 3), nn.Conv2d(width, outputs, 1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, before, h, w) → (B, outputs, h, w)"""
        parts = [branch(features) for branch in self.branches]
        mean = self.mean(features.mean(dim=(2, 3), keepdim=True)).expand_as(parts[0])
        answers: Tensor = self.answer(self.dropout(self.project(torch.cat([*parts, mean], dim=1))))
        return answers


class PyramidHead(nn.Module):
    """SegFormer's all-MLP head (Xie et al. 2021, arXiv 2105.15203, equation 4): every map is brought to one
    width and to the finest grid, and all are mixed by a 1x1 convolution."""

    def __init__(self, before: Sequence[int], width: int, outputs: int, dropout: float):
        super().__init__()
        self.levels = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in before)
        self.mix = _convolution(len(before) * width, width, 1)
        self.dropout = nn.Dropout(dropout)
        self.answer = nn.Conv2d(width, outputs, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """(B, before[k], h / 2^k, w / 2^k) for each k → (B, outputs, h, w)"""
        grid = features[0].shape[2:]
        brought = [
            functional.interpolate(level(map_), grid, mode="bilinear", align_corners=False)
            for level, map_ in zip(self.levels, features, strict=True)
        ]
        answers: Tensor = self.answer(self.dropout(self.mix(torch.cat(brought, dim=1))))
        return answers


def _convolution(before: int, after: int, size: int, dilation: int = 1) -> nn.Sequential:
    """Convolution that keeps the grid, batch normalisation, ReLU."""
    padding = dilation * (size // 2)
    return nn.Sequential(
        nn.Conv2d(before, after, size, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    )
