"""Reads a SavedModel that `export/` wrote back into Keras models.

The folder holds `assets/settings.json` (the manifest): the settings of the training run, the
step, the variables in order and their checksum. The architecture is built from the settings and
the values come from the variables file, so no graph is loaded and no TensorFlow version has to
match the one that exported.
"""

import hashlib
import os

from simclr_tf import config
from simclr_tf.errors import DataError, first_line
from simclr_tf.files import literal
from simclr_tf.models.build import build_encoder, build_head
from simclr_tf.models.classifier import LinearClassifier
from simclr_tf.models.selection import layer_index
from simclr_tf.runs.checkpoints import READ_ERRORS
from simclr_tf.runs.files import read_json
from simclr_tf.runs.run_folder import upgraded
from simclr_tf.runs.trust import check_code
from simclr_tf.stack import tf

MANIFEST = os.path.join("assets", "settings.json")
FORMAT = 1  # of the manifest and the variables; see docs/contributing.md
UPGRADES = {}  # {format: function from a manifest of that format to one of the next}
REPLACED = "replaced-"  # before the step: an export whose successor is about to get its name
_PARTS = {"format", "settings", "dataset", "step", "parts", "variables", "checksum"}


def checksum(values):
    """sha256 (hex) of arrays in order (iterable): dtype, shape, little-endian bytes of each."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def find_version(path):
    """The SavedModel folder that `path` means, or "" if there is none.

    Args:
        path: a SavedModel folder of ours, or a folder of versions (`saved_model/`): the newest.
    """
    if tf.io.gfile.exists(os.path.join(path, MANIFEST)):
        return path
    parent, name = os.path.split(path)
    replaced = os.path.join(parent, REPLACED + name)
    if name.isdigit() and tf.io.gfile.exists(os.path.join(replaced, MANIFEST)):
        return replaced  # a kill came between the two renames of a new export
    newest = versions(path)[-1:]
    if newest:
        return os.path.join(path, str(newest[0]))
    names = tf.io.gfile.listdir(path) if tf.io.gfile.isdir(path) else []
    kept = [os.path.join(path, name.rstrip("/")) for name in names if name.startswith(REPLACED)]
    kept = [other for other in kept if tf.io.gfile.exists(os.path.join(other, MANIFEST))]
    return kept[0] if kept else ""


def versions(directory):
    """Steps of the finished exports of ours in `directory`, ascending."""
    if not tf.io.gfile.isdir(directory):
        return []
    names = [name.rstrip("/") for name in tf.io.gfile.listdir(directory)]
    found = (name for name in names if name.isdigit())
    return sorted(
        int(name) for name in found if tf.io.gfile.exists(os.path.join(directory, name, MANIFEST))
    )


def read_manifest(path):
    """The manifest of the SavedModel folder `path` as a dict.

    Raises:
        DataError: no manifest, or one of a newer format.
    """
    file = os.path.join(path, MANIFEST)
    if not tf.io.gfile.exists(file):
        raise DataError(
            f"{path} is not a SavedModel exported by simclr_tf (no {MANIFEST}); give the folder "
            "that --mode=export printed."
        )
    manifest = upgraded(read_json(file), file, FORMAT, UPGRADES)
    if not _PARTS <= set(manifest):
        raise DataError(f"{path}/{MANIFEST} is damaged; export it again from its run folder.")
    kinds = {"settings": dict, "dataset": dict, "step": int, "parts": list, "variables": list}
    wrong = [name for name, kind in kinds.items() if not isinstance(manifest[name], kind)]
    if wrong:
        raise DataError(
            f"{path}/{MANIFEST} is damaged ({wrong[0]} is no {kinds[wrong[0]].__name__}); export "
            "it again from its run folder."
        )
    return manifest


def read_parts(path, given=None, trust_code=False):
    """Builds encoder, head and probe of a SavedModel of ours and fills in the values.

    Args:
        path: a SavedModel folder of ours or a folder of versions.
        given, trust_code: see `trust.check_code`.
    Returns:
        ({"encoder": model, "head": model or None, "probe": layer or None}, manifest); the
        models are built, in the strategy scope and precision policy of the caller.
    Raises:
        SettingsError: the manifest names code that is not trusted.
        DataError: no such export, or its variables do not fit the settings or the checksum.
    """
    folder = find_version(path)
    manifest = read_manifest(folder or path)
    check_code(manifest["settings"], folder, given, trust_code)
    num_classes = manifest["dataset"].get("num_classes", 0)
    parts = build_named_parts(manifest["settings"], manifest["parts"], num_classes)
    variables = [v for part in parts.values() if part is not None for v in part.weights]
    _check_variables(folder, manifest["variables"], variables)
    # The exported root tracks its variables as a list; the same list here matches them by position.
    prefix = os.path.join(folder, "variables", "variables")
    try:
        with literal(prefix) as readable:
            status = tf.train.Checkpoint(variables=variables).read(readable)
            status.assert_existing_objects_matched()
    except READ_ERRORS as error:
        raise DataError(
            f"the variables in {folder} cannot be read ({first_line(error)}); export it again."
        ) from error
    if checksum([v.numpy() for v in variables]) != manifest["checksum"]:
        raise DataError(f"the variables in {folder} do not match their checksum; export it again.")
    return parts, manifest


def load_exported(path, trust_code=False):
    """(encoder, head or None, flat settings of the training run, step) of a SavedModel of ours.

    Raises:
        DataError: see `read_parts`.
    """
    parts, manifest = read_parts(path, trust_code=trust_code)
    return parts["encoder"], parts["head"], manifest["settings"], manifest["step"]


def build_named_parts(settings, names, num_classes):
    """Built models of the named parts, others None: {"encoder", "head", "probe"}.

    Args:
        settings: flat settings with the names of `config.Model` and image_size.
        names: which of "encoder", "head" and "probe" to build.
        num_classes: outputs of the probe, if that is wanted.
    """
    model = config.section_from(config.Model, settings)
    image_size = settings["image_size"]
    encoder = build_encoder(model, image_size)
    parts = {"encoder": encoder, "head": None, "probe": None}
    if "head" in names:
        parts["head"] = build_head(model, encoder.feature_dim)
    if "probe" in names:
        layer = layer_index(parts["head"], settings.get("ft_proj_selector", 0))
        widths = parts["head"].widths(encoder.feature_dim) if layer else [encoder.feature_dim]
        parts["probe"] = LinearClassifier(num_classes)
        parts["probe"](tf.zeros([1, widths[layer]]))
    return parts


def _check_variables(folder, stored, variables):
    wanted = [list(variable.shape) for variable in variables]
    found = [shape for _, shape in stored]
    if wanted == found:
        return
    at = next((i for i, pair in enumerate(zip(wanted, found)) if pair[0] != pair[1]), -1)
    detail = f"first at {stored[at][0]}" if at >= 0 else f"{len(found)} against {len(wanted)}"
    raise DataError(
        f"the variables in {folder} do not fit the architecture in its {MANIFEST} ({detail}); "
        "export it again from its run folder."
    )
