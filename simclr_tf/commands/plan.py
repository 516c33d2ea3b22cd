"""The plan that a command prints before it does anything."""


def format_plan(title, rows):
    """A plan as text: a title and aligned "name  value" rows."""
    width = max(len(name) for name, _ in rows)
    return "\n".join([title] + [f"  {name:<{width}}  {value}" for name, value in rows])


def count_parameters(*models):
    """Trainable parameters of built Keras models, as a string with thousands separators."""
    total = sum(variable.shape.num_elements() for m in models for variable in m.trainable_variables)
    return f"{total:,}"
