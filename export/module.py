"""The callable object that is saved: one root for Hub, official SimCLR and Keras 3 callers.

    obj(images)                            dictionary, inference
    obj(images, training=True)             dictionary, batch statistics, moving averages updated
    obj(images, trainable=True)            the same, by the official SimCLR name
    obj.feature_vector(images)             one tensor h, Hub's image feature vector

Only two bodies per part are traced (training or not); every permitted combination of arguments is
a thin function over them.
"""

from simclr_tf.stack import tf

ENDPOINTS = (
    "initial_conv",
    "initial_max_pool",
    "block_group1",
    "block_group2",
    "block_group3",
    "block_group4",
    "final_avg_pool",
)
HEAD_OUTPUTS = ("proj_head_input", "proj_head_output", "z")
LOGITS_OUTPUTS = ("logits_sup", "logits")


class Callable(tf.Module):
    """An object with Hub's attributes."""

    # tf.Module has read-only properties of these names, which are not saved: shadow them.
    variables = None
    trainable_variables = None


def make_module(
    encoder, head=None, classifier=None, keep=None, weight_decay=0.0, layers=(0, 0), channels=3
):
    """The root object to save.

    Args:
        encoder, head, classifier: built float32 Keras models, no strategy; last two may be None.
        keep: names of the dictionary entries to keep besides `default` and `h`; None keeps all.
        weight_decay: factor of the L2 loss on kernels that Hub's KerasLayer adds while trainable.
        layers: which outputs of the head are h and what the classifier reads; 0 is the encoder's.
        channels: of the images.
    Returns:
        a trackable with `__call__`, `variables`, `trainable_variables`, `regularization_losses`,
        `feature_vector`, `serve` and `train`.
    """
    spec = tf.TensorSpec([None, None, None, channels], tf.float32, name="inputs")
    bodies = {mode: _encoder_body(encoder, mode, spec) for mode in (False, True)}
    parts = head, classifier
    whole = {mode: _whole_body(bodies[mode], *parts, mode, keep, layers) for mode in bodies}

    @tf.function(autograph=False)
    def call(inputs, training=False, trainable=None):
        return whole[bool(training if trainable is None else trainable)](inputs)

    @tf.function(autograph=False)
    def feature_vector(inputs, training=False):
        body = whole if layers[0] else bodies
        return body[bool(training)](inputs)["h" if layers[0] else "final_avg_pool"]

    for training in (False, True):
        feature_vector.get_concrete_function(spec, training=training)
        for trainable in (None, False, True):
            call.get_concrete_function(spec, training=training, trainable=trainable)

    root = _callable([encoder, head, classifier], call, weight_decay)
    root.trainable_variables_list = list(root.trainable_variables)  # the official attribute
    used = [encoder, head if layers[0] else None]
    root.feature_vector = _callable(used, feature_vector, weight_decay)
    root.serve = whole[False]  # endpoints of Keras 3's TFSMLayer
    root.train = whole[True]
    return root


def _callable(parts, function, weight_decay):
    parts = [part for part in parts if part is not None]
    result = Callable()
    result.variables = [v for part in parts for v in part.weights]
    result.trainable_variables = [v for part in parts for v in part.trainable_weights]
    result.regularization_losses = _kernel_losses(result.trainable_variables, weight_decay)
    result.__call__ = function
    return result


def _kernel_losses(variables, weight_decay):
    kernels = [variable for variable in variables if variable.shape.rank > 1]
    if not weight_decay:
        return []

    @tf.function(input_signature=[], autograph=False)
    def weight_decay_loss():
        return weight_decay * tf.add_n([tf.nn.l2_loss(kernel) for kernel in kernels])

    return [weight_decay_loss]


def _encoder_body(encoder, training, spec):
    @tf.function(input_signature=[spec], autograph=False)
    def encode(inputs):
        return dict(encoder.endpoints(inputs, training=training))

    return encode


def _whole_body(encode, head, classifier, training, keep, layers):
    h_layer, classifier_layer = layers

    @tf.function(input_signature=encode.input_signature, autograph=False)
    def forward(inputs):
        outputs = encode(inputs)
        found = [outputs["final_avg_pool"]]
        if head is not None:
            found = head.outputs(found[0], training=training)
            outputs.update({f"z{i}": z for i, z in enumerate(found) if i})
            outputs["proj_head_input"] = tf.identity(found[0])
            outputs["proj_head_output"] = found[-1]
            outputs["z"] = tf.identity(found[-1])
        h = found[h_layer]
        if classifier is not None:
            outputs["logits_sup"] = classifier(found[classifier_layer])
            outputs["logits"] = tf.identity(outputs["logits_sup"])
        if keep is not None:
            outputs = {name: value for name, value in outputs.items() if name in keep}
        outputs["default"] = tf.identity(h)
        outputs["h"] = tf.identity(h)
        return outputs

    return forward
