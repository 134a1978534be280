"""Log prior of the classes, for logit adjustment (Menon et al., ICLR 2021).

https://arxiv.org/abs/2007.07314: with a loss on z + tau log pi the prior need not be learnt into z,
which then ranks rare classes no lower for being rare. It is added in training alone.
"""

from __future__ import annotations

import torch
from torch import Tensor


def centred_log_prior(class_counts: Tensor) -> Tensor:
    """Return log pi - mean log pi [C], where pi is the share of training images with a class.

    The number of images cancels. Counts below one are raised to one, for a class without any image
    would have minus infinity.

    Args:
        class_counts: training images of each class [C], on any device.
    """
    logs = class_counts.to(torch.get_default_dtype()).clamp(min=1).log()  # [C]
    return logs - logs.mean()
