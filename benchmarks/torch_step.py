"""A plain PyTorch pretraining step of the same network, batch and loss, to compare `run_lowered` with.

torchvision's ResNet in channels-last memory, a projection head with BatchNormalization, autocast for
bfloat16, NT-Xent from the whole matrix of similarities as lightly has it, SGD with momentum (which is
less work than LARS), torch.compile unless `--eager`. The views are uint8 and ready: it makes none.

    python -m benchmarks.torch_step --encoder=resnet50 --image_size=224 --batch=256 --precision=mixed_bfloat16
    python -m benchmarks.torch_step --loss_only=4096

Prints JSON. float32 uses TF32 products, as XLA does.
"""

import argparse
import statistics
import time

from benchmarks import timing

TEMPERATURE = 0.1
WIDTH_OF_Z = 128


def nt_xent(first, second):
    """NT-Xent of z of both views [n, p] by one matrix [2n, 2n] without its diagonal."""
    import torch
    from torch.nn import functional

    z = functional.normalize(torch.cat([first, second]).float(), dim=1)
    count = z.shape[0]
    logits = z @ z.T / TEMPERATURE
    itself = torch.eye(count, dtype=torch.bool, device=z.device)
    logits = logits.masked_fill(itself, float("-inf"))
    positive = torch.arange(count, device=z.device).roll(count // 2)
    return functional.cross_entropy(logits, positive)


def network(encoder, image_size):
    """Encoder and projection head, as of the default settings of simclr_tf."""
    import torch
    import torchvision

    kwargs = {"zero_init_residual": True, "weights": None}
    model = getattr(torchvision.models, encoder)(**kwargs)
    if image_size <= 32:
        model.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
        model.maxpool = torch.nn.Identity()
    width = model.fc.in_features
    model.fc = torch.nn.Sequential(
        torch.nn.Linear(width, width, bias=False),
        torch.nn.BatchNorm1d(width),
        torch.nn.ReLU(),
        torch.nn.Linear(width, WIDTH_OF_Z, bias=False),
        torch.nn.BatchNorm1d(WIDTH_OF_Z),
    )
    return model


def make_step(arguments, device):
    """A function that takes one step and returns the loss."""
    import torch

    model = network(arguments.encoder, arguments.image_size).to(device)
    model = model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-6, fused=device.type == "cuda"
    )
    shape = [2 * arguments.batch, arguments.image_size, arguments.image_size, 3]
    views = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    half = arguments.precision == "mixed_bfloat16"

    def loss_of(views):
        images = views.permute(0, 3, 1, 2).float() / 255.0  # channels-last already
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            z = model(images)
        return nt_xent(*z.float().chunk(2))

    compiled = loss_of if arguments.eager else torch.compile(loss_of)

    def step():
        loss = compiled(views)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def make_loss(pairs, device):
    """A function that computes the loss of N pairs and its gradient."""
    import torch

    z = torch.randn(2, pairs, WIDTH_OF_Z, device=device, requires_grad=True)

    def step():
        loss = nt_xent(z[0], z[1])
        loss.backward()
        z.grad = None
        return loss.detach()

    return step


def measure(step, wait, rounds, seconds):
    """Median, fastest and slowest seconds of a call; rounds of about so many seconds."""
    began = time.perf_counter()
    step()
    wait()
    calls = max(1, min(100, round(seconds / (time.perf_counter() - began))))
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(calls):
            step()
        wait()
        times.append((time.perf_counter() - began) / calls)
    return statistics.median(times), min(times), max(times)


def first_loss(step, tries=6):
    """Runs a step for the first time; waits where other processes have the memory now."""
    import torch

    for _ in range(tries):
        try:
            return float(step())
        except torch.OutOfMemoryError as error:
            failed = error
        torch.cuda.empty_cache()
        time.sleep(5)
    raise failed


def run(arguments):
    """The figures of one case: dict of plain values."""
    import torch

    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    wait = torch.cuda.synchronize if on_gpu else lambda: None
    began = time.perf_counter()
    if arguments.loss_only:
        step = make_loss(arguments.loss_only, device)
    else:
        step = make_step(arguments, device)
    loss = first_loss(step)
    compile_seconds = time.perf_counter() - began
    if arguments.wait:
        torch.cuda.empty_cache()  # other processes compile meanwhile
        timing.wait_for_turn(compile_seconds)
    for _ in range(2):
        step()
    median, fastest, slowest = measure(step, wait, arguments.rounds, arguments.seconds)
    images = arguments.loss_only or arguments.batch
    return {
        "name": f"torch {'eager' if arguments.eager or arguments.loss_only else 'compiled'}",
        "chip": torch.cuda.get_device_name() if on_gpu else "cpu",
        "torch": torch.__version__,
        "compile_seconds": compile_seconds,
        "seconds": median,
        "fastest": fastest,
        "slowest": slowest,
        "images_per_second": images / median,
        "peak_mib": torch.cuda.max_memory_allocated() / timing.MIB if on_gpu else None,
        "loss": loss,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--encoder", default="resnet50", choices=("resnet18", "resnet34", "resnet50")
    )
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--precision", default="float32", choices=("float32", "mixed_bfloat16"))
    parser.add_argument("--eager", action="store_true", help="Without torch.compile.")
    parser.add_argument("--loss_only", type=int, default=0, help="The loss of so many pairs alone.")
    parser.add_argument("--wait", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="Length of a round.")
    timing.report(run(parser.parse_args()))


if __name__ == "__main__":
    main()
