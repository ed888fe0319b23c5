"""EfficientNet-Lite2, by the names of timm's ``tf_efficientnet_lite2``.

It is written out because importing timm takes longer than everything else that loading the model does.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

_STEM, _HEAD, _CLASSES = 32, 1280, 1000
_STAGES = (  # blocks, kernel, stride of the first, expansion, channels
    (1, 3, 1, 1, 16),
    (3, 3, 2, 6, 24),
    (3, 5, 2, 6, 48),
    (4, 3, 2, 6, 88),
    (4, 5, 1, 6, 120),
    (5, 5, 2, 6, 208),
    (1, 3, 1, 6, 352),
)


class EfficientNetLite2(nn.Module):
    """Images (N, 3, H, W) -> logits of ImageNet's classes (N, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem, self.bn1 = _conv(3, _STEM, 3, stride=2), Norm(_STEM)
        widths = pairwise([_STEM, *(channels for *_, channels in _STAGES)])
        stages = zip(_STAGES, widths, strict=True)
        self.blocks = nn.Sequential(*(_stage(*stage[:-1], *width) for stage, width in stages))
        self.conv_head, self.bn2 = _conv(_STAGES[-1][-1], _HEAD), Norm(_HEAD)
        self.global_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(_HEAD, _CLASSES)

    def forward_features(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 1280, H / 32, W / 32)."""
        x = self.blocks(self.bn1(self.conv_stem(pixels)))
        features: Tensor = self.bn2(self.conv_head(x))
        return features

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.global_pool(self.forward_features(pixels)))
        return logits


class InvertedResidual(nn.Module):
    """(N, C, H, W) -> (N, C', H / stride, W / stride): widened, filtered channel by channel, and narrowed without a nonlinearity."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = before * expansion
        if expansion == 1:
            self.conv_dw, self.bn1 = _conv(wide, wide, kernel, stride, groups=wide), Norm(wide)
            self.conv_pw, self.bn2 = _conv(wide, after), Norm(after, nn.Identity())
        else:
            self.conv_pw, self.bn1 = _conv(before, wide), Norm(wide)
            self.conv_dw, self.bn2 = _conv(wide, wide, kernel, stride, groups=wide), Norm(wide)
            self.conv_pwl, self.bn3 = _conv(wide, after), Norm(after, nn.Identity())
        self._adds = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for part in self.children():
            y = part(y)
        return y + x if self._adds else y


class Norm(nn.BatchNorm2d):
    """A batch norm, with the epsilon of TensorFlow's weights, and what is done to each number after it."""

    def __init__(self, channels: int, act: nn.Module | None = None) -> None:
        super().__init__(channels, eps=1e-3)
        self.act = nn.ReLU6(inplace=True) if act is None else act

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(super().forward(x))
        return y


class SameConv(nn.Conv2d):
    """Padded as TensorFlow does it: by what the stride needs, an odd pixel of it at the right and at the bottom."""

    def forward(self, x: Tensor) -> Tensor:
        (kernel, *_), (stride, *_) = self.kernel_size, self.stride
        rows, columns = (max(kernel - ((length - 1) % stride + 1), 0) for length in x.shape[-2:])
        return super().forward(F.pad(x, (columns // 2, -(-columns // 2), rows // 2, -(-rows // 2))))


def _stage(count: int, kernel: int, stride: int, expansion: int, before: int, after: int) -> nn.Sequential:
    first = InvertedResidual(before, after, kernel, stride, expansion)
    others = (InvertedResidual(after, after, kernel, 1, expansion) for _ in range(count - 1))
    return nn.Sequential(first, *others)


def _conv(before: int, after: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    if stride == 1:
        return nn.Conv2d(before, after, kernel, padding=kernel // 2, groups=groups, bias=False)
    return SameConv(before, after, kernel, stride, groups=groups, bias=False)
