"""`--precision=auto` becomes the precision of this run, once, before anything else."""

import dataclasses

from simclr_tf.distribution.precision import best_precision
from simclr_tf.runs.run_folder import RunFolder


def settle(config):
    """The config with a precision that can be stored and repeated; says which one it is.

    A run folder that holds a run goes on in the precision in which it began. A new run takes the
    cheaper one of this machine.

    Args:
        config: of any mode.
    Returns:
        the same kind of config, whose precision is not "auto".
    """
    run = getattr(config, "run", None)
    if getattr(run, "precision", "") != "auto":
        return config
    chosen = RunFolder(run.model_dir).stored_settings().get("precision", "")
    why = f"as the run in {run.model_dir} began"
    if not chosen:
        chosen, why = best_precision(run.use_tpu)
    print(f"precision=auto: {chosen}, {why}", flush=True)
    return dataclasses.replace(config, run=dataclasses.replace(run, precision=chosen))
