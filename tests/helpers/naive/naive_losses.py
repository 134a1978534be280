"""Slow twins of the losses: plain loops over float64 scalars, shared by the tests.

Nothing here is imported from ``losses``. Every function returns the list of its entries in row
order, one 0-d tensor per *known* (image, class), so that values and autograd gradients can be
compared; formulas use probabilities where the losses use logits.
"""

from __future__ import annotations

import math

import torch

# Training images per class of VOC-LT (1,142 images) and COCO-LT (1,909), in label order.
VOC_COUNTS = [6, 34, 8, 14, 154, 17, 249, 29, 479, 4, 240, 48, 11, 20, 775, 100, 5, 82, 7, 64]
VOC_TRAIN = 1142
COW, PERSON, SHEEP, AEROPLANE, TRAIN, BIRD = 9, 14, 16, 0, 18, 2
COCO_COUNTS = [
    *[1128, 37, 276, 32, 9, 41, 18, 87, 20, 50, 11, 13, 8, 97, 19, 49, 70, 17, 7, 10],
    *[8, 6, 7, 7, 100, 39, 189, 31, 24, 11, 12, 8, 35, 10, 25, 21, 17, 10, 20, 460],
    *[84, 498, 126, 207, 173, 366, 39, 35, 44, 36, 29, 25, 14, 45, 16, 73, 585, 153, 164, 44],
    *[624, 25, 200, 137, 70, 89, 73, 127, 91, 175, 9, 237, 119, 292, 87, 113, 15, 21, 6, 11],
]
COCO_TRAIN = 1909


def random_case(seed, images=5, classes=6, unknown=True, spread=3.0):
    """Return float64 logits that require a gradient, targets and counts."""
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(images, classes, generator=generator, dtype=torch.float64)
    low = -1 if unknown else 0
    targets = torch.randint(low, 2, (images, classes), generator=generator)
    counts = torch.randint(1, 90, (classes,), generator=generator).tolist()
    return logits.requires_grad_(), targets, counts


def embedding_case(seed, images=4, classes=3, positions=5, width=6):
    """Return float64 captions [B, P, E], contexts [C, P, E] with gradient and a mask [B, P]."""
    generator = torch.Generator().manual_seed(seed)
    captions = torch.randn(images, positions, width, generator=generator, dtype=torch.float64)
    contexts = torch.randn(classes, positions, width, generator=generator, dtype=torch.float64)
    lengths = torch.randint(1, positions + 1, (images, 1), generator=generator)
    return captions, contexts.requires_grad_(), torch.arange(positions) < lengths


def sigmoid(z):
    return 1 / (1 + torch.exp(-z))


def known_entries(logits, targets):
    for b in range(logits.shape[0]):
        for c in range(logits.shape[1]):
            if targets[b][c] != -1:
                yield b, c, logits[b, c], int(targets[b][c])


def reduced(entries, reduction, images=None):
    total = torch.stack(entries).sum()
    return total / {"mean": len(entries), "per_image": images, "sum": 1}[reduction]


def bce(logits, targets):
    return [
        -torch.log(sigmoid(z)) if y == 1 else -torch.log(1 - sigmoid(z))
        for _, _, z, y in known_entries(logits, targets)
    ]


def focal(logits, targets, alpha=0.5, gamma=2.0):
    entries = []
    for _, _, z, y in known_entries(logits, targets):
        p = sigmoid(z)
        if y == 1:
            entries.append(-alpha * (1 - p) ** gamma * torch.log(p))
        else:
            entries.append(-(1 - alpha) * p**gamma * torch.log(1 - p))
    return entries


def asymmetric(logits, targets, gamma_neg, gamma_pos, clip, detach):
    entries = []
    for _, _, z, y in known_entries(logits, targets):
        p = sigmoid(z)
        if y == 1:
            focus, log_likelihood = (1 - p) ** gamma_pos, torch.log(p)
        else:
            shifted = torch.clamp(p - clip, min=0)
            focus, log_likelihood = shifted**gamma_neg, torch.log(1 - shifted)
        entries.append(-(focus.detach() if detach else focus) * log_likelihood)
    return entries


def balanced_asymmetric(logits, targets, counts, power, smoothing, gamma_neg, gamma_pos, clip):
    """Return the entries; the largest logit of the batch, if above 1, is taken out of all."""
    largest = logits.new_ones(())
    for _, _, z, _ in known_entries(logits, targets):
        largest = z if z > largest else largest
    frequency = [sum(counts) / count for count in counts]
    entries = []
    for _, c, z, y in known_entries(logits, targets):
        p = sigmoid(z / largest)
        q = torch.clamp(1 - p + clip, max=1)
        smooth = (1 - smoothing) * y + smoothing / len(counts)
        weight = (frequency[c] / max(frequency)) ** power
        likelihood = smooth * (1 + weight) * torch.log(p) + (1 - y) * torch.log(q)
        mistake = torch.clamp(1 - p * smooth - q * (1 - y), min=1e-8)
        entries.append(-(mistake ** (gamma_pos * smooth + gamma_neg * (1 - y))) * likelihood)
    return entries


def contrastive(similarities, paired):
    """Return one value for each image with a caption: both directions, pair by pair."""
    there = [b for b in range(len(similarities)) if paired[b]]
    values = []
    for b in there:
        captions = sum(torch.exp(similarities[b, j]) for j in there)
        images = sum(torch.exp(similarities[j, b]) for j in there)
        match = torch.exp(similarities[b, b])
        values.append(-(torch.log(match / captions) + torch.log(match / images)) / 2)
    return values


def ranking(logits, targets, margin=1.0):
    """Return one value per image."""
    values = []
    for b in range(logits.shape[0]):
        value = torch.zeros((), dtype=torch.float64)
        for i in range(logits.shape[1]):
            for j in range(logits.shape[1]):
                if targets[b][i] == 1 and targets[b][j] == 0:
                    value = value + torch.clamp(margin - logits[b, i] + logits[b, j], min=0)
        values.append(value)
    return values


def softmax(logits, targets):
    """Return one value per image with a present class; unknown classes do not compete."""
    values = []
    for b in range(logits.shape[0]):
        rivals = [c for c in range(logits.shape[1]) if targets[b][c] != -1]
        present = [c for c in rivals if targets[b][c] == 1]
        if present:
            total = sum(torch.exp(logits[b, c]) for c in rivals)
            values.append(
                -sum(torch.log(torch.exp(logits[b, c]) / total) for c in present) / len(present)
            )
    return values


def rebalance_weight(row, c, counts, alpha, beta, mu):
    drawn = sum(1 / counts[j] for j in range(len(counts)) if row[j] == 1)
    if drawn == 0:
        return alpha + 1
    return alpha + 1 / (1 + math.exp(-beta * ((1 / counts[c]) / drawn - mu)))


def class_balanced_weight(row, c, counts, beta, mode):
    def weight(n):
        return (1 - beta) / (1 - beta**n)

    present = [counts[j] for j in range(len(counts)) if row[j] == 1]
    if mode == "by_class":
        return weight(counts[c])
    if not present:
        return 1 - beta
    if mode == "average_n":
        return weight(sum(present) / len(present))
    if mode == "average_w":
        return sum(weight(n) for n in present) / len(present)
    return weight(min(present))


def tolerant(z, y, n, num_train, neg_scale, init_bias, divisor):
    """Return p_t and the factor of an entry under the negative-tolerant regularisation."""
    v = z - init_bias * math.log(num_train / n - 1) / divisor
    return (sigmoid(v), 1.0) if y == 1 else (1 - sigmoid(neg_scale * v), 1 / neg_scale)


def distribution_balanced(
    logits,
    targets,
    counts,
    num_train,
    variant="official",
    alpha=0.1,
    beta=10.0,
    mu=0.3,
    neg_scale=5.0,
    init_bias=0.05,
    gamma=2.0,
    balance=2.0,
    rebalance=True,
    negative_tolerant=True,
    focal_part=True,
):
    """Return the entries, or for the variant ``lmpt`` with focus the one scalar in a list."""
    plain, weighted, focused = [], [], []
    for b, c, z, y in known_entries(logits, targets):
        p_t, weight = (sigmoid(z) if y == 1 else 1 - sigmoid(z)), 1.0
        if negative_tolerant:
            divisor = 1.0 if variant == "paper" else neg_scale
            p_t, weight = tolerant(z, y, counts[c], num_train, neg_scale, init_bias, divisor)
        if rebalance:
            weight *= rebalance_weight(targets[b].tolist(), c, counts, alpha, beta, mu)
        plain.append(-torch.log(p_t))
        weighted.append(-weight * torch.log(p_t))
        focused.append(-balance * (1 - p_t) ** gamma * weight * torch.log(p_t))
    if not focal_part:
        return weighted
    if variant == "lmpt":
        focus = (1 - torch.exp(-reduced(plain, "mean"))) ** gamma
        return [balance * focus * reduced(weighted, "mean")]
    return focused


def class_balanced(logits, targets, counts, beta, mode, ntr=None, gamma=2.0):
    """Return entries for alpha 0.5; ``ntr`` is (num_train, neg_scale, init_bias) or None."""
    entries = []
    for b, c, z, y in known_entries(logits, targets):
        p_t, factor = (sigmoid(z) if y == 1 else 1 - sigmoid(z)), 1.0
        if ntr is not None:
            num_train, neg_scale, init_bias = ntr
            p_t, factor = tolerant(z, y, counts[c], num_train, neg_scale, init_bias, 1.0)
        weight = class_balanced_weight(targets[b].tolist(), c, counts, beta, mode)
        entries.append(-0.5 * weight * factor * (1 - p_t) ** gamma * torch.log(p_t))
    return entries


def expanded_distance(captions, contexts, mask=None, reduce="mean"):
    """Return Delta [B, C] through the [B, C, P, E] tensors that the release builds."""
    images, classes = captions.shape[0], contexts.shape[0]
    left = captions[:, None].expand(images, classes, *captions.shape[1:])  # [B, C, P, E]
    right = contexts[None].expand(images, classes, *contexts.shape[1:])  # [B, C, P, E]
    distance = 1 - torch.cosine_similarity(left, right, dim=-1)  # [B, C, P]
    if mask is not None:
        distance = distance * mask[:, None, :]
    total = distance.sum(dim=-1)
    if reduce == "sum":
        return total
    valid = torch.full((images, 1), captions.shape[1]) if mask is None else mask.sum(1, True)
    return total / valid.clamp(min=1)


def embedding(distance, targets, margins, weights, sign):
    """Return weighted entries of the class-specific embedding loss, row by row."""
    entries = []
    for _, c, delta, y in known_entries(distance, targets):
        if sign == "hinge":
            value = delta if y == 1 else torch.clamp(margins[c] - delta, min=0)
        else:
            value = torch.clamp(margins[c] - delta if y == 1 else margins[c] + delta, min=0)
        entries.append(weights[c] * value)
    return entries
