"""The model in plain text: its tensors and how many numbers each holds."""

from __future__ import annotations

from smidgen.report.trial import Trial


def summary(trial: Trial) -> str:
    """One line a tensor of the weights, with its shape and size, and the totals."""
    result, weights = trial.results[0], trial.runs[0].state_dict()
    # Batch norm's count of batches, a scalar, is no part of the network.
    tensors = {name: tensor for name, tensor in weights.items() if tensor.dim()}
    width = max(map(len, tensors))
    lines = [
        f"{name:{width}}  {' × '.join(map(str, tensor.shape)):>18}  {tensor.numel():>12,}"
        for name, tensor in tensors.items()
    ]
    stored = sum(tensor.numel() for tensor in tensors.values())
    head = f"{result['model']}, {len(result['classes'])} classes"
    total = f"{result['params']:,} trainable parameters, {stored:,} numbers with running statistics"
    return "\n".join([head, "", *lines, "", total]) + "\n"
