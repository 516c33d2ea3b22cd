"""Files that name code: it runs only if the user says so.

A run folder and an exported SavedModel say which encoder they hold. With `--encoder=PACKAGE.
MODULE:FUNCTION` that is a function which is imported and called, so a folder from somebody else
could run any code of this computer.
"""

import logging

from simclr_tf.errors import SettingsError

APPLICATIONS = "applications:"
_LOG = logging.getLogger(__name__)


def check_code(settings, place, given=None, trust_code=False):
    """Refuses settings read from a file that name code.

    Args:
        settings: {setting name: value} as the file has it.
        place: of the file, for the sentence.
        given: {setting name: value} of the same command line; naming the same encoder there is
            consent.
        trust_code: the setting.
    Raises:
        SettingsError: the code may not run, or what is named cannot be a name of an encoder.
    """
    encoder = settings.get("encoder", "")
    if not isinstance(encoder, str):
        raise SettingsError(
            f"{place} names {encoder!r} as its encoder, which is not a text; pass the folder of a "
            "run that simclr_tf wrote."
        )
    if not encoder or encoder.startswith(APPLICATIONS):
        return
    if encoder == (given or {}).get("encoder"):
        return
    module, _, function = encoder.partition(":")
    if not trust_code:
        raise SettingsError(
            f"{place} names code: {function!r} of the Python module {module!r} would be imported "
            "and called on this computer; if you trust whoever wrote that folder, add "
            f"--trust_code, or name the same code yourself with --encoder={encoder}."
        )
    _LOG.warning("running %r of %r, which %s names", function, module, place)
