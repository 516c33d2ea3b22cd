"""The check of the user's own machine: does it compute what the paper says, and how fast?

In: `config.Selftest`. Out: a table with one line, one figure and pass or FAIL per check, and
`SelftestError` (exit code 1) if one fails (`selftest.run.run`).

May import: `simclr_tf.config`, `errors`, `stack`, and the rooms `data`, `views`, `models`,
`losses`, `optimizers`, `evaluation` and `training`.
"""
