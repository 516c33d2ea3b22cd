"""A few images of a source, as evaluation reads them."""


class Sample:
    """The first images of a source's shuffled stream: a source for `eval_batches`.

    Attributes:
        count: how many, at most all of them.
    """

    def __init__(self, source, seed, count):
        self._source = source
        self._seed = seed
        self.count = min(count, source.num_examples)

    def __getattr__(self, name):
        return getattr(self._source, name)

    def references_in_order(self):
        """The images in the order of the stream; see data.source.Source."""
        return self._source.references(self._seed).take(self.count)
