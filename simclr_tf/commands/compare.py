"""`--mode=compare`: runs side by side."""

import os

from simclr_tf.commands import plan
from simclr_tf.config import folders_in, name_and_folder
from simclr_tf.errors import SettingsError
from simclr_tf.evaluation.results import plain_table
from simclr_tf.report import compare_page
from simclr_tf.runs import restore


def run(config, given=frozenset()):
    """Writes the page, and prints the table of the evaluations that all runs have.

    Args:
        config: config.Compare.
        given: names of the settings that the user gave (not needed here).
    Returns:
        {"page": path, "table": list of dicts, see `compare_page.Row`}, or None for a dry run.
    Raises:
        SettingsError: two runs have one name, or a run names code that is not trusted.
        DataError: a folder holds no pretraining run, or the page cannot be written.
    """
    runs = named_runs(config.compare.runs)
    for folder in runs.values():
        restore.stored_settings_of(folder)  # a folder of something else is refused now
    rows = [("runs", ", ".join(f"{name} ({folder})" for name, folder in runs.items()))]
    print(plan.format_plan("plan: compare", [*rows, ("page", config.compare.page)]), flush=True)
    if config.run.dry_run:
        return None
    table = compare_page.write_compare_page(runs, config.compare.page, config.run.trust_code)
    if table:
        print(plain_table(*compare_page.plain_rows(table, list(runs))))
    print(f"page: {config.compare.page}", flush=True)
    return {"page": config.compare.page, "table": [row.as_dict() for row in table]}


def named_runs(text):
    """{name: folder} of the setting `runs`; a folder without a name gets that of its last part.

    Raises:
        SettingsError: two runs have one name.
    """
    found = {}
    for part in folders_in(text):
        name, folder = name_and_folder(part)
        if not name:
            name = os.path.basename(os.path.abspath(part))
            if name in found:
                name = part
        if name in found:
            raise SettingsError(f"runs={text} has two runs named {name}; give them names of their own, such as A={folder}.")  # fmt: skip
        found[name] = folder
    return found
