"""Optimizers that treat some variables differently, chosen by identity."""

from simclr_tf.errors import SettingsError


class ExcludesVariables:
    """Mix-in for Keras optimizers: keeps a set of excluded variables, also through `get_config`.

    Variables are recognised by identity. A config cannot hold variables, so it holds their exact
    names, and an optimizer made from a config finds its variables by those names when it is built.
    """

    def _set_excluded(self, exclude):
        """Call before building.

        Args:
            exclude: variables, or exact variable names (from a config).
        """
        names = [item if isinstance(item, str) else item.name for item in exclude]
        variables = [item for item in exclude if not isinstance(item, str)]
        self._excluded_names = frozenset(names)
        self._excluded_keys = frozenset(self._var_key(variable) for variable in variables)
        self._finds_by_name = bool(names) and not variables

    def _find_excluded(self, variables):
        """Turns names from a config into variables; call in `build`."""
        if not self._finds_by_name:
            return
        found = [variable for variable in variables if variable.name in self._excluded_names]
        if len({variable.name for variable in found}) != len(found):
            raise SettingsError(
                "the optimizer was made from a config, but several variables share a name; give "
                "it the variables to exclude instead."
            )
        self._excluded_keys = frozenset(self._var_key(variable) for variable in found)

    def _is_excluded(self, variable):
        return self._var_key(variable) in self._excluded_keys

    def _excluded_config(self):
        return {"exclude": sorted(self._excluded_names)}
