"""How settings are declared, checked and laid flat."""

import dataclasses
import itertools
import os
from typing import Any, Dict, Mapping, Tuple, Type, TypeVar

from simclr_tf.errors import SettingsError

_Config = TypeVar("_Config", bound="ModeConfig")
_Section = TypeVar("_Section", bound="Section")

PATH = "path"
FOLDERS = "folders"
PLACES = "places"
PATTERNS = "patterns"
FOREIGN_SCHEMES = (
    "abfs", "az", "ftp", "har", "hdfs", "http", "https", "oss", "s3", "s3a", "sftp", "viewfs",
)  # fmt: skip
"""File systems that other programs have and TensorFlow alone has not."""


def setting(
    default,
    help,
    *,
    basic=False,
    before=None,
    free=False,
    path=None,
    allowed=None,
    each_of=None,
    minimum=None,
    above=None,
    maximum=None,
):
    """A dataclass field with everything a flag needs.

    Args:
        default: the value when nothing is given; its type is the type of the setting.
        help: one or two sentences for `--help`.
        basic: True if most people need to know it: `--help` shows these, `--helpfull` all.
        before: what older runs were trained with, where that is not the default; or None. A run
            that does not store the setting means this value.
        free: True if a resumed run may change it (it cannot change the weights).
        path: PATH if it is a file or folder (or the word scratch), FOLDERS if it is a
            comma-separated list in which NAME=FOLDER may stand, PLACES if it is a comma-separated
            list of files and folders, PATTERNS if their names may also have globs and braces.
        allowed: tuple of the permitted values.
        each_of: for a comma-separated list, the names it may hold, each at most once.
        minimum: least value.
        above: the value must be greater than this.
        maximum: greatest value.
    """
    metadata = {
        "help": help,
        "basic": basic,
        "before": before,
        "free": free,
        "path": path,
        "allowed": allowed,
        "each_of": each_of,
        "minimum": minimum,
        "above": above,
        "maximum": maximum,
    }
    return dataclasses.field(default=default, metadata=metadata)


def listed(value):
    """The names of a comma-separated setting: tuple of str."""
    return tuple(name.strip() for name in value.split(",") if name.strip())


def describe_limits(meta):
    """The permitted values of a setting in words, such as "from 0 to 1"; "" if unlimited."""
    if meta["allowed"] is not None:
        return "one of " + ", ".join(str(value) or '""' for value in meta["allowed"])
    if meta["each_of"]:
        return "any of " + ", ".join(meta["each_of"]) + ", each at most once"
    low = f"at least {meta['minimum']}" if meta["minimum"] is not None else ""
    low = low or (f"above {meta['above']}" if meta["above"] is not None else "")
    high = f"at most {meta['maximum']}" if meta["maximum"] is not None else ""
    return " and ".join(part for part in (low, high) if part)


@dataclasses.dataclass(frozen=True)
class Section:
    """A group of settings that checks itself when it is made.

    Raises:
        SettingsError: a value has the wrong type or is outside its limits.
    """

    def __post_init__(self):
        for field in dataclasses.fields(self):
            self._check_field(field)
            if field.metadata["path"]:
                self._settle_path(field)
        self.check()

    def _settle_path(self, field):
        """Expands ~, for the command line and the library alike."""
        value = getattr(self, field.name)
        if field.metadata["path"] == PATH:
            settled = settled_path(field.name, value)
        elif field.metadata["path"] == PLACES:
            settled = ",".join(settled_path(field.name, one) for one in places_in(value))
        elif field.metadata["path"] == PATTERNS:
            settled = ",".join(settled_path(field.name, part.strip()) for part in value.split(","))
        else:
            parts = map(name_and_folder, folders_in(value) or [value])
            settled = ",".join(
                (f"{name}=" if name else "") + settled_path(field.name, path)
                for name, path in parts
            )
        object.__setattr__(self, field.name, settled)

    def _check_field(self, field):
        value = getattr(self, field.name)
        meta = field.metadata
        kind = type(field.default)
        right = isinstance(value, (int, float) if kind is float else kind)
        if not right or (isinstance(value, bool) and kind is not bool):
            raise SettingsError(f"{field.name}={value!r} is not a {kind.__name__}; give one.")
        names = listed(value) if meta["each_of"] else ()
        for name in names:
            if name not in meta["each_of"] or names.count(name) > 1:
                raise SettingsError(
                    f"{field.name}={value} is not allowed because of {name}: give "
                    f"{describe_limits(meta)}."
                )
        outside = (
            (meta["allowed"] is not None and value not in meta["allowed"])
            or (kind is float and not abs(value) < float("inf"))
            or (meta["minimum"] is not None and value < meta["minimum"])
            or (meta["above"] is not None and value <= meta["above"])
            or (meta["maximum"] is not None and value > meta["maximum"])
        )
        if outside:
            words = describe_limits(meta) or "a finite number"
            raise SettingsError(f"{field.name}={value} is not allowed: give {words}.")

    def check(self):
        """Checks that need more than one setting; overridden where there are any."""


class ModeConfig:
    """A group of sections that checks what needs more than one of them.

    The workers of a Cloud TPU, which has a name or an address, are other machines: they reach
    gs:// paths only. A TPU VM and Colab (--tpu_name=local) compute where the program runs, so
    they may use local paths.

    Raises:
        SettingsError: a Cloud TPU is to work with a local path.
    """

    def __post_init__(self):
        values = flatten(self)
        self._place_shard_index(values)
        tpu = values.get("tpu_name", "local")
        if not values.get("use_tpu") or tpu in ("", "local"):
            return
        for name, (_, field) in fields_of(type(self)).items():
            local = local_path(values[name], field.metadata["path"])
            if local:
                raise SettingsError(
                    f"--{name}={local} is a local path, which the workers of the Cloud TPU {tpu} "
                    "cannot reach; give a gs:// path, or run on a TPU VM with --tpu_name=local."
                )
        no_folder = values.get("dataset", "") in ("", "digits")
        if not (no_folder or values["image_dir"] or values["data_dir"]):
            raise SettingsError(
                f"the folder of tensorflow-datasets is local, where the workers of the Cloud TPU "
                f"{tpu} cannot reach {values['dataset']}; give its gs:// folder as --data_dir."
            )

    def _place_shard_index(self, values):
        """The index of shards lies beside what the command writes, unless the user names a place."""
        beside = next((values[name] for name in _BESIDE if values.get(name)), "").rstrip("/")
        if not values.get("shards") or values["shard_index"] or beside in ("", "scratch"):
            return
        folder = os.path.join(os.path.dirname(beside), "shard_index")
        object.__setattr__(self, "data", dataclasses.replace(self.data, shard_index=folder))


_BESIDE = ("model_dir", "output", "checkpoint")


def settled_path(name, path):
    """A path with its ~ expanded.

    Args:
        name: of the setting.
        path: as the user gave it.
    Raises:
        SettingsError: it is on a file system that TensorFlow does not have.
    """
    scheme, there, _ = path.partition("://")
    if there and scheme.lower() in FOREIGN_SCHEMES:
        raise SettingsError(
            f"{name}={path} is on a file system that TensorFlow does not have here ({scheme}://); "
            "copy it to a local folder or to gs://."
        )
    return os.path.expanduser(path)


_LONGEST = 4096  # characters of a path


def places_in(value):
    """The paths of a setting of the kind PLACES, a list of str.

    A comma separates two paths, unless there is a file or folder whose name holds it: the longest
    one that is there counts.
    """
    return _cut_at_commas(value, _is_there) or [value]


def folders_in(value):
    """The entries of a setting of the kind FOLDERS, such as ["A", "NAME=B"]; commas as `places_in`."""

    def is_one(entry):
        name, folder = name_and_folder(entry)
        return "," not in name and _is_there(folder)

    return _cut_at_commas(value, is_one)


def name_and_folder(entry):
    """("NAME", "FOLDER") of an entry NAME=FOLDER; the name is "" where the whole is a folder."""
    name, equals, folder = entry.partition("=")
    if not equals or "://" in name or _is_there(entry):
        return "", entry
    return name, folder


def _is_there(path):
    return os.path.exists(os.path.expanduser(path))


def _cut_at_commas(value, is_one):
    """The parts of a comma-separated list; neighbours that are one path stay together."""
    parts = value.split(",")
    found = []
    start = 0
    while start < len(parts):
        ends = itertools.accumulate(len(part) + 1 for part in parts[start:])
        longest = start + sum(1 for _ in itertools.takewhile(lambda end: end <= _LONGEST, ends))
        stops = range(longest, start + 1, -1)
        joined = lambda stop: ",".join(parts[start:stop]).strip()  # noqa: B023, E731
        stop = next((stop for stop in stops if is_one(joined(stop))), start + 1)
        found.append(joined(stop))
        start = stop
    return [one for one in found if one]


def local_path(value, kind):
    """The first local path that a value names, "" if none; kind: as `path` of `setting`."""
    if kind is None:
        return ""
    if kind == PATTERNS:
        return "" if "://" in value else value
    if kind == PLACES:
        paths = places_in(value)
    else:
        named = map(name_and_folder, folders_in(value))
        paths = [value] if kind == PATH else [folder for name, folder in named if name]
    return next((path for path in paths if path not in ("", "scratch") and "://" not in path), "")


def number_list(name, text):
    """The numbers of a comma-separated setting such as "0.1,0.3"; () if it is empty.

    Raises:
        SettingsError: something between the commas is not a number of at least 0.
    """
    try:
        found = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        found = (-1.0,)
    if not all(0 <= number < float("inf") for number in found):
        raise SettingsError(
            f"{name}={text} is not a list of numbers of at least 0; give some such as 0.001,0.01."
        )
    return found


def check_addresses(addresses, given):
    """Refuses anything that is not a list of different "host:port".

    Args:
        addresses: iterable of str.
        given: where they come from, in the user's words, such as "workers=a:1".
    Raises:
        SettingsError: a port is missing or impossible, or two are the same.
    """
    seen = set()
    for address in addresses:
        host, _, port = address.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise SettingsError(
                f"{given}: {address} is not host:port with a port from 1 to 65535; write it like "
                "10.0.0.1:2222."
            )
        if address in seen:
            raise SettingsError(f"{given}: {address} is named twice; give each worker once.")
        seen.add(address)


def sections(mode_class):
    """{section name: section class} of a mode."""
    return {field.name: type(field.default) for field in dataclasses.fields(mode_class)}


def fields_of(mode_class):
    """{setting name: (section name, dataclass field)} of a mode, in declaration order."""
    found = {}
    for section, kind in sections(mode_class).items():
        for field in dataclasses.fields(kind):
            found[field.name] = (section, field)
    return found


def flatten(config):
    """{setting name: value} of a mode's config: what config.json stores."""
    return {
        name: getattr(getattr(config, section), name)
        for name, (section, _) in fields_of(type(config)).items()
    }


def build(mode_class: Type[_Config], values: Mapping[str, Any]) -> _Config:
    """A mode's config from flat values; settings not named keep their defaults.

    Raises:
        SettingsError: an unknown name, or a value outside its limits.
    """
    known = fields_of(mode_class)
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise SettingsError(f"unknown setting {unknown[0]}; known: {', '.join(sorted(known))}.")
    kinds = sections(mode_class)
    grouped: Dict[str, Dict[str, Any]] = {section: {} for section in kinds}
    for name, value in values.items():
        grouped[known[name][0]][name] = value
    return mode_class(**{section: kinds[section](**grouped[section]) for section in kinds})


def build_stored(mode_class: Type[_Config], settings: Mapping[str, Any]) -> _Config:
    """The config that a stored run was trained with.

    Args:
        mode_class: config class of the run's mode.
        settings: the settings in its config.json. Names unknown to this version are left out;
            missing ones mean what was done before the setting existed.
    Raises:
        SettingsError: a value is outside its limits.
    """
    fields = fields_of(mode_class)
    known = {name: value for name, value in settings.items() if name in fields}
    return build(mode_class, {**settings_before(mode_class), **known})


def keep_stored(config: _Config, given: frozenset, settings: Mapping[str, Any]) -> _Config:
    """The config of a command that goes on with a stored run.

    A setting whose default has changed since keeps the run's own value, unless the command gives
    it: the command that started an old run still continues it.

    Args:
        config: of the command.
        given: names of the settings that the user gave.
        settings: the settings in the run's config.json.
    """
    values = flatten(config)
    fields = fields_of(type(config))
    for name, before in settings_before(type(config)).items():
        if name not in given and values[name] == fields[name][1].default:
            values[name] = settings.get(name, before)
    return build(type(config), values)


def adopt_stored(config: _Config, given: frozenset, settings: Mapping[str, Any]) -> _Config:
    """The config of a command that leaves its choices to the run that it goes on with.

    Args:
        config: of the command.
        given: names of the settings that the user gave; they keep their values, and so do those
            that cannot change the weights.
        settings: the settings in the run's config.json.
    """
    values = flatten(config)
    fields = fields_of(type(config))
    for name, (_, field) in fields.items():
        if name in given or field.metadata["free"]:
            continue
        before = field.metadata["before"]
        missing = field.default if before is None else before
        values[name] = settings.get(name, missing)
    values["auto"] = settings.get("auto", False)
    return build(type(config), values)


def settings_before(mode_class: type) -> dict:
    """{setting name: value} of the settings whose default is not what older runs did."""
    before = {name: field.metadata["before"] for name, (_, field) in fields_of(mode_class).items()}
    return {name: value for name, value in before.items() if value is not None}


def free_settings(mode_class):
    """Names of the settings that a resumed run may change, a frozenset."""
    fields = fields_of(mode_class).items()
    return frozenset(name for name, (_, field) in fields if field.metadata["free"])


def setting_names(kind: Type[_Section]) -> Tuple[str, ...]:
    """Names of the settings of a section class, such as Model."""
    return tuple(field.name for field in dataclasses.fields(kind))


def section_from(kind: Type[_Section], settings: Mapping[str, Any]) -> _Section:
    """A section from flat stored settings; settings that are missing keep their defaults.

    Args:
        kind: class of the section, such as Model.
        settings: {setting name: value}, which may hold those of other sections too.
    Raises:
        SettingsError: a value is outside its limits.
    """
    return kind(**{name: settings[name] for name in setting_names(kind) if name in settings})
