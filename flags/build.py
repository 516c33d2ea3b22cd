"""absl flags made from the settings of `simclr_tf.config`.

Each command line is parsed into a `FlagValues` of its own, so nothing here touches absl's global
`FLAGS` and a test or a notebook may parse as often as it likes.
"""

from absl import flags as absl_flags

from simclr_tf import config
from simclr_tf.errors import SettingsError

PARSERS = {
    bool: absl_flags.BooleanParser,
    int: absl_flags.IntegerParser,
    float: absl_flags.FloatParser,
    str: absl_flags.ArgumentParser,
}
KIND_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


class SettingFlag(absl_flags.Flag):
    """A flag that may be repeated, but not with another value."""

    def parse(self, argument):
        earlier = self.value
        repeated = self.present
        super().parse(argument)
        if repeated and self.value != earlier:
            raise SettingsError(
                f"--{self.name} is given twice, as {earlier} and as {self.value}; keep one."
            )

    def _parse(self, argument):
        try:
            return super()._parse(argument)
        except absl_flags.IllegalFlagValueError as error:
            words = KIND_WORDS[type(self.default)]
            raise SettingsError(
                f"--{self.name}={argument} is not {words}; give {words}"
                f"{', such as ' + str(self.default) if self.default != '' else ''}."
            ) from error


def define(flag_values, name, default, help_text):
    """Adds one flag of the type of its default to `flag_values`."""
    kind = type(default)
    flag = SettingFlag(
        PARSERS[kind](),
        absl_flags.ArgumentSerializer(),
        name,
        default,
        help_text,
        boolean=kind is bool,
    )
    absl_flags.DEFINE_flag(flag, flag_values=flag_values, module_name="flags")


def front_flags():
    """The flags that are read first: they decide which others exist."""
    values = absl_flags.FlagValues()
    values.set_gnu_getopt(True)
    define(values, "mode", "", "What to do.")
    define(
        values,
        "preset",
        "",
        "A named group of flags, or the path of a .flags file; flags on the command line win.",
    )
    define(values, "quiet", False, "Print nothing but warnings and errors.")
    define(values, "version", False, "Print the versions of this package and of TensorFlow.")
    for name in ("help", "helpshort", "helpfull", "h"):
        define(values, name, False, "Print the flags that most people need, or all (helpfull).")
    return values


def mode_flags(mode):
    """The flags of a mode, one per setting that it offers.

    Args:
        mode: config.Mode.
    Returns:
        `absl.flags.FlagValues`, not parsed yet.
    """
    values = absl_flags.FlagValues()
    values.set_gnu_getopt(True)
    known = config.fields_of(mode.config)
    for name in mode.settings:
        field = known[name][1]
        define(values, name, field.default, field.metadata["help"])
    return values


def given_values(flag_values):
    """{name: value} of the flags that were set by a parse."""
    return {name: flag_values[name].value for name in flag_values if flag_values[name].present}
