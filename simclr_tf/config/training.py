"""The loss, the optimizer, and batches and lengths."""

import dataclasses

from simclr_tf.config.fields import PATH, Section, setting
from simclr_tf.errors import SettingsError

# a loss is in the file of its name in simclr_tf/losses/
LOSSES = ["nt_xent", "nt_logistic", "margin", "decoupled", "supcon", "generalized"]
PRIORS = ("log_sum_exp", "hypersphere", "hypercube", "normal")  # of the generalized loss
BEST_METRICS = ("loss", "contrastive_accuracy", "probe_top_1", "knn_top_1")


@dataclasses.dataclass(frozen=True)
class Loss(Section):
    """The contrastive loss."""

    loss: str = setting("nt_xent", "nt_xent: the paper's loss; nt_logistic; margin: triplets; decoupled: no positive in the denominator; supcon: images with the same label are positives too; generalized: alignment and a distribution, see --prior.", basic=True, allowed=LOSSES)  # fmt: skip
    objective: str = setting("official", "What is minimised. official: the sum over both directions, twice the logged loss, with the probe's loss and the weight decay, as in the official code. paper: the logged loss (equation 1) once. A run of an earlier version goes on with paper.", allowed=("official", "paper"), before="paper")  # fmt: skip
    temperature: float = setting(0.1, "Divides the cosine similarities. margin does not use it.", basic=True, above=0.0)  # fmt: skip
    hidden_norm: bool = setting(True, "Scale z to unit length before the loss.")
    margin: float = setting(0.8, "Margin of --loss=margin.", minimum=0.0)
    semi_hard: bool = setting(False, "For nt_logistic and margin: use only the closest negative that is farther away than the positive.")  # fmt: skip
    prior: str = setting("log_sum_exp", "What --loss=generalized spreads z over. log_sum_exp: away from each other, as decoupled does; hypersphere: uniformly over directions; hypercube: uniform in [-1, 1]; normal: independent unit normals. The last three compare distributions by the sliced Wasserstein distance.", allowed=PRIORS)  # fmt: skip
    distribution_weight: float = setting(1.0, "Weight of the distribution term of --loss=generalized (lambda in arXiv:2011.02803).", above=0.0)  # fmt: skip
    loss_block_size: int = setting(0, "Rows per block of the blockwise loss. 0: chosen by the batch size and the device; -1: the whole matrix at once.", minimum=-1)  # fmt: skip

    def check(self):
        if self.semi_hard and self.loss not in ("nt_logistic", "margin"):
            raise SettingsError(f"semi_hard is not for loss={self.loss}; choose nt_logistic or margin, or leave it.")  # fmt: skip
        if self.loss == "generalized":
            check_prior(self.prior, self.hidden_norm)


def check_prior(prior: str, hidden_norm: bool):
    """Raises SettingsError unless z, of unit length with `hidden_norm`, can have the prior."""
    if prior not in PRIORS:
        raise SettingsError(f"prior={prior} is not known; choose {', '.join(PRIORS)}.")
    if prior == "hypersphere" and not hidden_norm:
        raise SettingsError("prior=hypersphere is about z of unit length; leave --hidden_norm on.")
    if prior in ("hypercube", "normal") and hidden_norm:
        raise SettingsError(f"prior={prior} is no distribution of z of unit length; give --hidden_norm=False.")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Optimizer(Section):
    """The optimizer and its schedule."""

    optimizer: str = setting("lars", "Optimizer; lars as in the paper, adam for small runs.", basic=True, allowed=("lars", "momentum", "adam", "adamw", "lamb"))  # fmt: skip
    learning_rate: float = setting(0.3, "Base learning rate; --learning_rate_scaling turns it into the peak.", basic=True, above=0.0)  # fmt: skip
    learning_rate_scaling: str = setting("linear", "Peak learning rate. linear: base * batch / 256; sqrt: base * sqrt(batch); none: base.", allowed=("linear", "sqrt", "none"))  # fmt: skip
    warmup_epochs: float = setting(10.0, "Epochs of linear warm-up.", basic=True, minimum=0.0)
    weight_decay: float = setting(1e-6, "Weight decay. As in the official code it spares BatchNormalization; lars spares biases too, momentum and adam do not. All three decay the online probe; adamw, lamb and --objective=paper spare it and biases.", basic=True, minimum=0.0)  # fmt: skip
    momentum: float = setting(0.9, "Momentum of lars and momentum.", minimum=0.0, maximum=0.9999)
    nesterov: bool = setting(True, "Nesterov momentum, for --optimizer=momentum (the official code always uses it).", before=False)  # fmt: skip
    ema_momentum: float = setting(0.0, "Average the weights with this decay, such as 0.999, and evaluate and export the averages; 0 is off.", minimum=0.0, maximum=0.999999)  # fmt: skip
    trust_coefficient: float = setting(0.001, "Trust coefficient of LARS (eeta in the official code).", above=0.0)  # fmt: skip
    lars_variant: str = setting("official", "Form of LARS. official: as in the official code; lightly and solo_learn: as in these PyTorch libraries, with their meaning of learning_rate (solo_learn with its clip_lr).", allowed=("official", "lightly", "solo_learn"))  # fmt: skip

    def check(self):
        if self.lars_variant != "official" and self.optimizer != "lars":
            raise SettingsError(f"lars_variant={self.lars_variant} is for optimizer=lars, not {self.optimizer}; leave one of them out.")  # fmt: skip
        if self.ema_momentum and self.optimizer == "lamb":
            raise SettingsError(f"ema_momentum={self.ema_momentum} does not work with optimizer=lamb; choose lars, momentum, adam or adamw.")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class FineTuneOptimizer(Optimizer):
    """The optimizer and its schedule (paper appendix B.5)."""

    optimizer: str = setting("momentum", "Optimizer.", basic=True, allowed=("lars", "momentum", "adam", "adamw", "lamb"))  # fmt: skip
    learning_rate: float = setting(0.05, "Base learning rate; --learning_rate_scaling turns it into the peak.", basic=True, above=0.0)  # fmt: skip
    warmup_epochs: float = setting(0.0, "Epochs of linear warm-up.", minimum=0.0)
    weight_decay: float = setting(0.0, "Weight decay. It spares BatchNormalization and biases.", basic=True, minimum=0.0)  # fmt: skip
    nesterov: bool = setting(True, "Nesterov momentum, for --optimizer=momentum.")


@dataclasses.dataclass(frozen=True)
class Length(Section):
    """Batches, length, checkpoints."""

    train_batch_size: int = setting(512, "Images per step over all replicas. Pretraining makes --num_views views of each.", basic=True, minimum=1)  # fmt: skip
    train_epochs: int = setting(100, "Passes over the training images.", basic=True, minimum=1)
    train_steps: int = setting(0, "Number of steps; above 0 it replaces train_epochs.", minimum=0)
    checkpoint_epochs: int = setting(1, "Epochs between checkpoints.", minimum=1, free=True)
    checkpoint_steps: int = setting(0, "Steps between checkpoints; above 0 it replaces checkpoint_epochs.", minimum=0, free=True)  # fmt: skip
    checkpoint_minutes: float = setting(3.0, "Least minutes between two checkpoints: one that is due sooner is left out. Without effect if checkpoint_epochs, checkpoint_steps or keep_best is given; the end is always saved. 0 saves all.", minimum=0.0, free=True)  # fmt: skip
    keep_checkpoint_max: int = setting(5, "Number of checkpoints kept.", minimum=1, free=True)
    log_steps: int = setting(0, "Steps between lines of metrics.jsonl; 0: once an epoch, at least every 100 steps.", minimum=0, free=True)  # fmt: skip
    max_wall_minutes: float = setting(0.0, "Save the state and stop with exit code 75 after this many minutes of training; the same command resumes. 0 is no limit.", minimum=0.0, free=True)  # fmt: skip
    on_nan: str = setting("stop", "When the loss or a gradient is NaN or infinite. stop: end with exit code 4; skip: discard the update (the schedule still advances), and stop after 20 skipped steps in a row. Checked at every log line and checkpoint.", allowed=("stop", "skip"), free=True)  # fmt: skip
    steps_per_execution: int = setting(1, "Steps per call to the device; raise it on a TPU.", minimum=1, free=True)  # fmt: skip
    data_service: str = setting("", "host:port of one or several processes that prepare the batches, comma-separated (see mode data_service). Batch i comes from the (i mod n)-th. Batches and their order stay the same.", free=True)  # fmt: skip
    service_key: str = setting("", "File with the secret of --data_service. Empty: the usual file of this user.", free=True, path=PATH)  # fmt: skip
    jit_compile: bool = setting(False, "Compile the whole train step with XLA (always so on a TPU).")  # fmt: skip
    loggers: str = setting("tensorboard", "Where figures and pictures go beside metrics.jsonl, comma-separated: tensorboard (the folder logs), csv (metrics.csv), mlflow (mlflow.db beside the run folder, or MLFLOW_TRACKING_URI), wandb (offline, unless WANDB_MODE says otherwise). Empty: nowhere else.", each_of=("tensorboard", "csv", "mlflow", "wandb"), free=True)  # fmt: skip
    profile_steps: str = setting("", "First and last step, such as 20,30, of which host and device are profiled for TensorBoard. Empty: none.", free=True)  # fmt: skip

    @property
    def global_batch_size(self):
        """Images per optimizer step: what the learning rate scales with."""
        return self.train_batch_size

    @property
    def profiled(self):
        """(first, last) of profile_steps, which is not empty."""
        first, last = (int(part) for part in self.profile_steps.split(","))
        return first, last

    def check(self):
        parts = [part.strip() for part in self.profile_steps.split(",")] if self.profile_steps else []  # fmt: skip
        numbers = all(part.isascii() and part.isdigit() for part in parts)
        if parts and not (numbers and len(parts) == 2 and 1 <= int(parts[0]) <= int(parts[1])):
            raise SettingsError(f"profile_steps={self.profile_steps} is not allowed: give the first and the last step, such as 20,30.")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Training(Length):
    """Batches, length, checkpoints."""

    cached_batch_size: int = setting(0, "Contrast this many images per step although only train_batch_size fit into memory (gradient caching). A multiple of train_batch_size; 0 is off.", basic=True, minimum=0)  # fmt: skip
    cached_separate_views: bool = setting(False, "With cached_batch_size: normalize the two views of an image in different micro-batches, so that BatchNormalization does not reveal the pair.")  # fmt: skip
    effective_rank_steps: int = setting(1, "Measure the effective rank of h (dimensional collapse) at logged steps that this number divides; 0 is never. It costs an eigendecomposition.", minimum=0)  # fmt: skip
    store_side: int = setting(0, "Decode every image once, as its central square with this side in pixels, and keep all of them in memory. Steps on small images are much faster then. 0: decode at every step.", minimum=0, maximum=64)  # fmt: skip
    picture_minutes: float = setting(1.0, "Least minutes between pictures for the loggers: pairs of views, similarities of positives and negatives, points for TensorBoard's projector. They are made at logged steps and take at most 2 % of the time. 0 makes them at each; runs of several machines make none.", minimum=0.0, free=True)  # fmt: skip
    num_views: int = setting(2, "Random views of each image in a step. Above 2 the loss is the mean over all pairs of views.", minimum=2, maximum=16)  # fmt: skip
    lineareval_while_pretraining: bool = setting(True, "Train a linear probe behind a stop-gradient when there are labels.")  # fmt: skip
    keep_best: str = setting("", "Also keep the checkpoint with the best value of this figure (the lowest loss, else the highest value) in the folder best of the run; use it as --checkpoint=RUN/best.", allowed=("", *BEST_METRICS), free=True)  # fmt: skip
    extend_epochs: int = setting(0, "Train a finished run this many epochs longer, counted from its first end. Each extension repeats the schedule: warm-up over at most a tenth of it, then half a cosine from the peak to 0.", minimum=0, free=True)  # fmt: skip
    knn_while_pretraining: int = setting(0, "Epochs between k-NN evaluations of h on held-out images, with at most 10,000 training images as neighbours; 0 is off.", minimum=0)  # fmt: skip

    @property
    def global_batch_size(self):
        """Images per optimizer step: what the loss contrasts and the learning rate scales with."""
        return self.cached_batch_size or self.train_batch_size

    def check(self):
        super().check()
        if self.store_side and self.data_service:
            raise SettingsError(f"store_side={self.store_side} keeps the images in this process, so data_service has nothing to do; leave one.")  # fmt: skip
        if self.num_views > 2 and self.cached_separate_views:
            raise SettingsError(f"num_views={self.num_views} does not work with cached_separate_views; leave one.")  # fmt: skip
        if self.cached_batch_size % self.train_batch_size:
            raise SettingsError(f"cached_batch_size={self.cached_batch_size} is not a multiple of train_batch_size={self.train_batch_size}; give one, such as {8 * self.train_batch_size}.")  # fmt: skip
        needed = {"probe_top_1": "lineareval_while_pretraining", "knn_top_1": "knn_while_pretraining"}  # fmt: skip
        if self.keep_best in needed and not getattr(self, needed[self.keep_best]):
            raise SettingsError(f"keep_best={self.keep_best} is not measured without {needed[self.keep_best]}; turn it on, or choose another figure.")  # fmt: skip
        if self.cached_separate_views and self.cached_batch_size < 2 * self.train_batch_size:
            raise SettingsError(
                "cached_separate_views=true needs at least two micro-batches; give "
                f"--cached_batch_size={2 * self.train_batch_size} or more."
            )


@dataclasses.dataclass(frozen=True)
class Auto(Section):
    """Settings that are chosen by a look at the images and at the device."""

    auto: bool = setting(False, "Choose every setting that is not given by a look at the images, the device and a measured step. The choices are printed with their reasons and stored, so a resumed run repeats them. --preset=auto sets it.", free=True)  # fmt: skip
    budget_minutes: float = setting(0.0, "With --preset=auto: minutes that the whole run may take on this machine. 0: 10 on a CPU, 60 with an accelerator.", basic=True, minimum=0.0, free=True)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Tuning(Section):
    """Short trainings that choose settings without labels."""

    tune: bool = setting(False, "With --preset=auto: first try some settings of the views and of the temperature in short trainings, which take up to 40 % of --budget_minutes, and train with the best. No label is used.", basic=True, free=True)  # fmt: skip
    tune_trials: int = setting(10, "Most trainings of the first round of --tune.", minimum=2, maximum=100, free=True)  # fmt: skip
    tune_steps: int = setting(0, "Steps of a training in the first round of --tune; later rounds take twice as many. 0: as many as fit into the minutes, from 60 to 300.", minimum=0, free=True)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class FineTuneLength(Length):
    """Batches, length, checkpoints."""

    train_epochs: int = setting(60, "Passes over the labelled images.", basic=True, minimum=1)
