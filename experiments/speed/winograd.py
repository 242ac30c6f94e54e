"""What Winograd's convolution could give: the step's largest layer, 3x3, 1024 to 1024 channels, 28 x 28 cells, batch 8.

    python experiments/speed/winograd.py

F(4x4, 3x3) of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016), section 4.3: 36 products of
matrices take the place of the convolution and need a quarter of its multiplications. The transforms are matrix products, too:
plain, not tuned. Prints a markdown table; the error is beside a float64 convolution.
"""

import statistics

import torch
from step_timing import seconds
from torch.nn import functional as F

# fmt: off
OF_TILE = torch.tensor([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
                        [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]], dtype=torch.float32)
OF_KERNEL = torch.tensor([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
OF_RESULT = torch.tensor([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
                         dtype=torch.float32)
# fmt: on


def winograd(x, weight):
    """Convolve x (N, C, Y, X), Y = X divisible by 4, with weight (K, C, 3, 3), padding 1."""
    (n, channels, size, _), tiles = x.shape, x.shape[-1] // 4
    of_tile, of_kernel, of_result = (torch.kron(m, m).to(x.dtype) for m in (OF_TILE, OF_KERNEL, OF_RESULT))
    kernels = (of_kernel @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(36, channels, -1)
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    windows = padded.unfold(1, 6, 4).unfold(2, 6, 4).permute(4, 5, 0, 1, 2, 3).reshape(36, -1)
    products = torch.bmm((of_tile @ windows).view(36, -1, channels), kernels)
    result = (of_result @ products.view(36, -1)).view(4, 4, n, tiles, tiles, -1)
    return result.permute(2, 5, 3, 0, 4, 1).reshape(n, -1, size, size)


@torch.no_grad()
def main():
    torch.manual_seed(0)
    x, weight = torch.randn(8, 1024, 28, 28).relu(), torch.randn(1024, 1024, 3, 3) * (2 / 9216) ** 0.5
    exact = F.conv2d(x[:1].double(), weight.double(), padding=1)
    print("| | convolution, s | Winograd, s | its products alone, s | error of the convolution | of Winograd |")
    print("| --- | --- | --- | --- | --- | --- |")
    for dtype in (torch.float32, torch.bfloat16):
        ours, kernel = (t.to(dtype, memory_format=torch.channels_last) for t in (x, weight))
        left, right = torch.randn(36, 392, 1024, dtype=dtype), torch.randn(36, 1024, 1024, dtype=dtype)
        calls = [
            lambda ours=ours, kernel=kernel: F.conv2d(ours, kernel, padding=1),
            lambda ours=ours, kernel=kernel: winograd(ours, kernel),
            lambda left=left, right=right: torch.bmm(left, right),
        ]
        errors = [((call()[:1] - exact).pow(2).mean() / exact.pow(2).mean()).sqrt() for call in calls[:2]]
        rounds = [[seconds(call, torch.device("cpu"), 1) for call in calls] for _ in range(9)]
        times = [f"{statistics.median(took):.3f}" for took in zip(*rounds, strict=True)]
        print("| " + " | ".join([str(dtype)[6:], *times, *(f"{error:.1e}" for error in errors)]) + " |")


if __name__ == "__main__":
    main()
