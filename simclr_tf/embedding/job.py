"""One embedding of many images: what goes in, and whether it was done before."""

import dataclasses
import os
import typing

from simclr_tf import config as settings_of
from simclr_tf import names
from simclr_tf.data import listing, memory, path_list
from simclr_tf.data.source import Source
from simclr_tf.embedding import finished
from simclr_tf.embedding.output import Output
from simclr_tf.evaluation.frozen import weights_hash
from simclr_tf.files import is_remote
from simclr_tf.runs import restore
from simclr_tf.stack import tf


@dataclasses.dataclass(frozen=True)
class Job:
    """One command, everything read and checked.

    Attributes:
        config: resolved config.Embed.
        trained: the encoder, and the head if it has one.
        source: the images.
        output: where the embeddings go.
        strategy: what computes.
        names: function (start, stop) -> paths of the images with these ids.
    """

    config: settings_of.Embed
    trained: restore.Trained
    source: Source
    output: Output
    strategy: tf.distribute.Strategy
    names: typing.Callable[[int, int], typing.List[str]]

    def weights(self):
        """A hash that changes when what makes the columns does."""
        found = weights_hash(self.trained.encoder, self.strategy)
        if self.config.embed.embed_head:
            found += weights_hash(self.trained.head, self.strategy)
        return found

    def image_files(self):
        """Paths of the images or of their shards, [] where they are no files of their own."""
        folder = self.config.data.image_dir
        if self.config.data.shards:
            return self.source.shard_paths
        if not folder or memory.is_address(folder):
            return []
        return self.source.files()

    def states(self):
        """finished.FileStates of the images, None where they are no files of their own."""
        files = [] if self.config.data.shards else self.image_files()
        return finished.states_of(files) if files else None

    def made(self):
        """See `made_by`."""
        return made_by(self.config, self.trained, self.source)

    def stamps(self):
        """{"times": hash, "contents": hash with --verify} of the images, see `finished.stamp_of`."""
        paths = self.image_files()
        stamps = {"times": finished.stamp_of(paths)}
        if self.config.embed.verify:
            stamps["contents"] = finished.stamp_of(paths, verify=True)
        return stamps


def made_by(config, trained, source):
    """What decides h of an image file, as a dict of text, and where the files lie.

    Args:
        config: resolved config of a mode with the sections run and data.
        trained: restore.Trained.
        source: Source of the images.
    """
    folder = config.data.image_dir
    if memory.is_address(folder) or path_list.is_collection(folder or "."):
        folder = ""  # their names are whole paths
    return {
        "encoder": weights_hash(trained.encoder),
        "image_size": str(config.data.image_size),
        "precision": config.run.precision,
        "value_range": str(source.value_range),
        "converts_profiles": str(source.converts_profiles),
        "image_dir": os.path.abspath(folder) if folder and not is_remote(folder) else folder,
    }


def image_names(config, source):
    """Function (start, stop) -> names of the images with these ids.

    They are paths below image_dir (whole paths of several folders or a list), SHARD/RECORD,
    DATASET/SPLIT/NUMBER, or what images in memory are called.
    """
    if config.data.shards:
        return source.names
    if not config.data.is_folder:
        prefix = f"{source.name}/{config.embed.split}"
        return lambda start, stop: [f"{prefix}/{number}" for number in range(start, stop)]
    if memory.is_address(config.data.image_dir):
        return memory.find(config.data.image_dir).names
    if path_list.is_collection(config.data.image_dir):
        return source.names
    root = names.as_text(listing.join(listing.checked_folder(config.data.image_dir), ""))
    return lambda start, stop: [name[len(root) :] for name in source.names(start, stop)]


def why_again(job, results, stamps):
    """Why a finished embedding has to be made again, in words; "" if it is complete."""
    stored = results.get("images")
    if stored is None:  # written before the times were
        info = tf.io.gfile.stat(job.output.folder.join("results.json"))
        if finished.newest_change(job.image_files()) > info.mtime_nsec / 1e9:
            return "images changed after it was written"
    elif "contents" in stamps:
        if stored.get("contents") != stamps["contents"]:
            return "the contents of the images changed, or were not hashed before"
    elif stored.get("times") != stamps["times"]:
        return "images changed, came back or can be read now"
    return finished.missing_output(job.output.folder.path, results, job.output.files)
