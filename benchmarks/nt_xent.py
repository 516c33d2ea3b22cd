"""NT-Xent: CPU time and peak extra memory of forward + backward, against the official formula.

Every case runs in a fresh process on one core, ours and the four-matrix form in turns. `floor` is
the time of the matrix products alone (2 * (2N)^2 * p floating point operations forward, as much
backward, at the rate of a 4096^3 product measured in the same minutes) as a share of the time
taken. `online` is a temperature that needs running maxima. Replica cases time the kernels of one of
R replicas without the collectives. `figures` adds the metrics of the batch, from the same sweep.

    python -m benchmarks.nt_xent --pairs=1024,4096,8192 --rounds=3 --output=nt_xent.json
"""

import argparse
import json
import statistics

from benchmarks import timing

WIDTH = 128
LIMIT = 7.6 * 2**30  # bytes a plain case may use before it counts as failed


def make_views(pairs):
    import numpy as np

    first, second = np.random.default_rng(0).normal(size=[2, pairs, WIDTH])
    return np.concatenate([first, first + 0.7 * second]).astype(np.float32)


def make_step(case):
    """A function z -> (loss, gradient), compiled as the case says."""
    from benchmarks.baselines.nt_xent_plain import nt_xent_plain
    from simclr_tf.losses.kernels import anchors, rows
    from simclr_tf.losses.nt_xent import NTXent
    from simclr_tf.stack import tf

    temperature = case["temperature"]
    ours = NTXent(temperature, block_size=case.get("block_size", 0))

    def of_loss(loss):
        def step(z):
            with tf.GradientTape() as tape:
                tape.watch(z)
                value = loss(z)
            return value, tape.gradient(value, z)

        return step

    def replica(z):
        """The kernels of the first of R replicas, with the keys of all."""
        z = ours.prepare(z)
        n = z.shape[0] // 2
        b = n // case["replicas"]
        local = tf.concat([z[:b], z[n : n + b]], 0)
        images = tf.range(2 * n) % n
        anchor_block, key_block = ours.row_blocks(2 * b, 2 * n)
        options = {
            "softmax": anchors.make_softmax(temperature, unit=True),
            "anchor_block": anchor_block,
            "key_block": key_block,
        }
        mine = tf.concat([images[:b], images[n : n + b]], 0)
        losses, normalisers, pulls, _ = rows.forward(local, mine, z, images, **options)
        everywhere = tf.tile(normalisers, [case["replicas"]])  # any values: only time counts
        gradient = rows.backward(local, mine, normalisers, pulls, z, images, everywhere, **options)
        return tf.reduce_mean(losses), gradient

    def figures(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            value, found = ours.with_figures(z)
        return value, tape.gradient(value, z), found

    forms = {
        "blockwise": of_loss(ours),
        "figures": figures,
        "plain": of_loss(lambda z: nt_xent_plain(z, temperature)),
        "replica": replica,
    }
    return tf.function(forms[case["form"]], autograph=False, jit_compile=case["mode"] == "xla")


def measure_case(case):
    """Runs one case in this process."""
    from simclr_tf.stack import tf

    if case["form"] == "product":
        x = tf.random.stateless_uniform([case["pairs"]] * 2, seed=[0, 1])
        product = tf.function(tf.matmul, autograph=False)
        product(x, x)
        seconds = timing.cpu_seconds(lambda: product(x, x)[0, 0].numpy(), 3)
        return {"gflops": 2e-9 * case["pairs"] ** 3 / min(seconds)}

    step = make_step(case)
    for small in (64, 128):  # TensorFlow's and XLA's own start-up
        step(tf.constant(make_views(small)))
    z = tf.constant(make_views(case["pairs"]))
    losses = []
    run = lambda: losses.append([x.numpy() for x in tf.nest.flatten(step(z))][0])  # noqa: E731
    with timing.PeakMemory() as memory:
        first = timing.cpu_seconds(run, 1)
        seconds = timing.cpu_seconds(run, case["steps"]) or first
    return {
        "seconds": seconds,
        "build_seconds": first[0] - min(seconds),
        "extra_mib": memory.extra / timing.MIB,
        "total_mib": memory.total / timing.MIB,
        "loss": float(losses[0]),
    }


def make_cases(arguments):
    """The cases of one round, alternating between ours and the plain form."""
    cases = []
    for pairs in arguments.pairs:
        steps = min(arguments.steps, 4 * 8192**2 // pairs**2)  # 0: the first call is measured
        for mode in arguments.modes:
            common = {"pairs": pairs, "mode": mode, "steps": steps}
            cases.append({**common, "form": "blockwise", "temperature": 0.1})
            if pairs <= arguments.plain_up_to:
                cases.append({**common, "form": "blockwise", "temperature": 0.01})
                cases.append({**common, "form": "plain", "temperature": 0.1})
            if pairs == 4096:
                cases.append({**common, "form": "figures", "temperature": 0.1})
                for replicas in (1, 4):
                    more = {"form": "replica", "replicas": replicas, "temperature": 0.1}
                    cases.append({**common, **more})
    return cases


def summarise(case, runs, gflops, plain):
    """One row of figures from the runs of a case; `plain` is the plain form's time or None."""
    good = [run for run in runs if "failed" not in run]
    if not good:
        return {**case, "failed": runs[-1]["failed"]}
    seconds = [s for run in good for s in run["seconds"]]
    best = min(seconds)
    operations = 4.0 * (2 * case["pairs"]) ** 2 * WIDTH
    return {
        **case,
        "best_seconds": best,
        "median_seconds": statistics.median(seconds),
        "extra_mib": max(run["extra_mib"] for run in good),
        "total_mib": max(run["total_mib"] for run in good),
        "build_seconds": min(run["build_seconds"] for run in good),
        "gflops": operations / best / 1e9,
        "floor_share": operations / best / 1e9 / gflops,
        "faster_than_plain": plain / best if plain else None,
    }


def name_of(case):
    if case["form"] == "replica":
        return f"1 of {case['replicas']} replicas"
    name = "blockwise, figures" if case["form"] == "figures" else case["form"]
    return name + (", online" if case["temperature"] < 0.02 else "")


def to_row(row):
    head = [f"{row['pairs']} {row['mode']} {name_of(row)}"]
    if "failed" in row:
        return head + ["failed"] + [""] * 5 + [row["failed"][:40]]
    ratio = row["faster_than_plain"]
    share = f"{row['floor_share']:.0%}" if row["form"] == "blockwise" else ""
    figures = [f"{row['best_seconds']:.3f}", f"{row['median_seconds']:.3f}", share]
    figures += [f"{ratio:.2f}" if ratio else "", f"{row['extra_mib']:.0f}"]
    return head + figures + [f"{row['total_mib']:.0f}", f"{row['build_seconds']:.2f}"]


def run(arguments):
    """All rounds of all cases; prints the table and returns the figures."""
    cases = make_cases(arguments)
    runs = [[] for _ in cases]
    rates = []
    for _ in range(arguments.rounds):
        case = {"form": "product", "pairs": 4096}
        rates.append(timing.run_case("benchmarks.nt_xent", case)["gflops"])
        for case, found in zip(cases, runs):
            limit = LIMIT + 4 * 2**30 if case["form"] == "plain" else None
            found.append(timing.run_case("benchmarks.nt_xent", case, memory_limit=limit))
    gflops = max(rates)
    rows = []
    plain = {}
    for case, found in zip(cases, runs):
        if case["form"] == "plain" and any("seconds" in run for run in found):
            key = case["pairs"], case["mode"]
            plain[key] = min(s for run in found for s in run.get("seconds", []))
    for case, found in zip(cases, runs):
        ours = case["form"] in ("blockwise", "figures")
        against = plain.get((case["pairs"], case["mode"])) if ours else None
        rows.append(summarise(case, found, gflops, against))
    print(f"matrix product: {gflops:.0f} GFLOP/s; {arguments.rounds} rounds; width {WIDTH}")
    header = ["pairs, mode, form", "CPU s", "median", "floor", "x plain"]
    header += ["extra MiB", "process MiB", "build CPU s"]
    timing.print_table(header, [to_row(row) for row in rows])
    return {"product_gflops": gflops, "width": WIDTH, "rows": rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    integers = lambda text: [int(part) for part in text.split(",")]  # noqa: E731
    parser.add_argument("--pairs", type=integers, default=[1024, 4096, 8192])
    parser.add_argument("--modes", type=lambda text: text.split(","), default=["graph", "xla"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5, help="Most steps per process.")
    parser.add_argument("--plain_up_to", type=int, default=8192, help="Most pairs of plain.")
    parser.add_argument("--output", default="", help="JSON file for the figures.")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        timing.report(measure_case(json.loads(arguments.case)))
        return
    figures = run(arguments)
    if arguments.output:
        timing.write_json(arguments.output, figures)


if __name__ == "__main__":
    main()
