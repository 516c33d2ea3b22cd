"""Trained models as Python objects: embed, classify, export."""

import functools
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from simclr_tf import config
from simclr_tf.data import sources
from simclr_tf.data.source import Source
from simclr_tf.embedding.stream import prepared_batches
from simclr_tf.errors import DataError
from simclr_tf.evaluation.features import Extractor
from simclr_tf.library import calls
from simclr_tf.library.images import given_images
from simclr_tf.runs import restore
from simclr_tf.stack import keras, process_kept, tf
from simclr_tf.views import channels


class TrainedModel:
    """A trained encoder with what belongs to it; made by `simclr_tf.load`.

    Attributes:
        path: run folder, checkpoint prefix or SavedModel that it comes from.
        trust_code: whether an encoder function that the files name may run.
    """

    def __init__(self, path: str, trust_code: bool = False) -> None:
        self.path = path
        self.trust_code = trust_code
        self._extractors: Dict[Tuple[Any, ...], Extractor] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.path}>"

    @functools.cached_property
    def _trained(self) -> restore.Trained:
        with process_kept(), calls.in_python_words():
            keras.mixed_precision.set_global_policy("float32")  # whatever the process chose
            return restore.load_trained(self.path, trust_code=self.trust_code)

    @property
    def encoder(self) -> Any:
        """Keras model: images float32 [b, s, s, c] in [0, 1] -> h float32 [b, d]."""
        return self._trained.encoder

    @property
    def head(self) -> Any:
        """Projection head, a Keras layer: h [b, d] -> z [b, p]; None if there is none."""
        return self._trained.head

    @property
    def classifier(self) -> Any:
        """Linear classifier, a Keras layer, or None; see `logits`."""
        return self._trained.probe

    @property
    def settings(self) -> Dict[str, Any]:
        """{setting name: value} of the training."""
        return dict(self._trained.settings)

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self._trained.step

    def embed(self, images: Any, *, batch_size: int = 64, ft_proj_selector: int = 0) -> np.ndarray:
        """Representations of images, prepared as for evaluation.

        Args:
            images: an array uint8, or float in [0, 1], [n, h, w, c] or [n, h, w], of any size; a
                list of such images of different sizes, or of paths; a folder (its images sorted by
                path); or a finite tf.data.Dataset of images or (image, label). Their channels are
                those of the training.
            batch_size: images per call of the encoder.
            ft_proj_selector: 0 gives h, 1 the first layer of the head, ..., -1 its last.
        Returns:
            float32 [n, d], rows in the order of the images.
        Raises:
            DataError: an image cannot be used; the sentence names it.
            SettingsError: the head has no such layer.
        """
        with calls.in_python_words():
            model = self._trained.select(ft_proj_selector)
            return self._outputs(("h", ft_proj_selector), model, images, batch_size)

    def logits(self, images: Any, *, batch_size: int = 64) -> np.ndarray:
        """Scores of the classes by the classifier that was trained with the encoder.

        A pretraining on images with labels leaves its online probe, a fine-tuning its classifier.

        Args:
            images, batch_size: as of `embed`.
        Returns:
            float32 [n, classes], before softmax.
        Raises:
            DataError: there is no classifier, or an image cannot be used.
        """
        classifier = self.classifier
        if classifier is None:
            raise DataError(
                f"{self.path} holds no classifier, because it was trained without labels; train one "
                "with simclr_tf.finetune, or embed the images and fit your own."
            )
        with calls.in_python_words():
            below = self._trained.select(self._trained.settings.get("ft_proj_selector", 0))

            def scores(images: Any, training: bool = False) -> Any:
                return classifier(below(images, training=training))

            return self._outputs(("logits",), scores, images, batch_size)

    def search(self, query: Any, images: Any = None, **settings: Any) -> Dict[str, Any]:
        """The images that are most similar to given ones; see `simclr_tf.search`.

            found = model.search("cat.jpg", "photos")

        Args:
            query: path of an image, or images as of `embed`.
            images: what is searched, as of `embed`.
            **settings: those of `simclr_tf.search`, such as embeddings and nearest.
        """
        return calls.function("search")(self, query, images, **settings)

    def export(self, path: Optional[Any] = None, **settings: Any) -> Dict[str, Any]:
        """Writes a SavedModel to path/saved_model/STEP, or one Keras file; see `simclr_tf.export`.

            model.export("encoder.keras")

        Args:
            path: folder; default: the run folder. A name that ends in .keras or .h5 is one file
                of plain Keras layers, which Keras loads without simclr_tf.
            **settings: those of `simclr_tf.export`.
        """
        return calls.function("export")(self, path, **settings)

    def _outputs(
        self, key: Tuple[Any, ...], model: Any, images: Any, batch_size: int
    ) -> np.ndarray:
        """float32 [n, ...]: outputs of `model`, compiled once for each key and batch size."""
        given = given_images(images)
        source = self._source(given.settings)
        # fewer images take the next power of two, so few shapes are compiled
        rows = min(batch_size, 1 << (source.num_examples - 1).bit_length())
        if (*key, rows) not in self._extractors:
            self._extractors[(*key, rows)] = Extractor(model, rows)
        batches = prepared_batches(source, self._trained.settings["image_size"], rows)
        found: List[np.ndarray] = []
        ids: List[np.ndarray] = []
        for batch, out in self._extractors[(*key, rows)].each(batches):
            found.append(out)
            ids.append(batch["id"].numpy())
        _check_all_used(source, np.concatenate(ids) if ids else np.zeros(0, np.int64))
        return np.concatenate(found)

    def _source(self, named: Dict[str, str]) -> Source:
        """Every image, in order."""
        if "image_dir" not in named:
            raise DataError(
                f"{named['dataset']} is no folder; give a folder, an array, a list of paths or a "
                "tf.data.Dataset. simclr_tf.embed takes names of data sets."
            )
        settings = self._trained.settings
        size = settings["image_size"]
        data = config.Data(image_dir=named["image_dir"], image_size=size)
        source = sources.open_whole(data, "train")
        channels.check(source, config.section_from(config.Model, settings))
        return source


def _check_all_used(source: Source, ids: np.ndarray) -> None:
    """Refuses images of which no row came out."""
    for bad in np.setdiff1d(np.arange(source.num_examples), ids):
        source.report(bad, source.fetch(tf.constant(bad))[0].numpy())
        name, reason = next(iter(source.quarantine.reasons.items()))
        raise DataError(f"{name} cannot be used ({reason}); mend it or leave it out.")
