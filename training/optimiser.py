"""How weights move: AdamW, which of them decay, and how fast they learn when."""

import torch
from torch import nn


def schedule(progress: float, warmup_share: float, final_share: float) -> float:
    """The share of the learning rate at a point of the run: up in a line, then down in a line to `final_share`.

    `progress` is the part of the whole run that is done, 0 to 1.
    """
    if progress < warmup_share:
        return max(progress / warmup_share, 1e-3)
    return 1.0 - (1.0 - final_share) * (progress - warmup_share) / max(1.0 - warmup_share, 1e-9)


def make_optimiser(
    network: nn.Module,
    learning_rate: float,
    weight_decay: float,
    started_share: float = 1.0,
    *,
    embedding: nn.Parameter | None = None,
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019); only matrices decay, neither the embedding nor biases nor the CRF's scores.

    An embedding's rows must not decay while their words are not seen. What did not start at random learns at
    `started_share` of the rate. `embedding` is what is learnt of the embedding, if not all of it.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decays = parameter.dim() >= 2 and not name.startswith(("embedding", "crf"))
            started = name.startswith(("embedding", "normalisation", "encoder"))
            learnt = embedding if embedding is not None and name == "embedding" else parameter
            groups.setdefault((decays, started), []).append(learnt)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "weight_decay": weight_decay if decays else 0.0,
                "rate_share": started_share if started else 1.0,
            }
            for (decays, started), parameters in groups.items()
        ],
        lr=learning_rate,
        betas=(0.9, 0.99),
        fused=True,
    )
