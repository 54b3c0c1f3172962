"""The names of tasks and of heads: light, because the command line lists them."""

TASKS = ("classification", "multilabel", "regression", "reconstruction")
# Their outputs are scores of named labels.
LABELLED = ("classification", "multilabel")
# What the outputs of a model may become; 'auto' is told by the model, the loss of its training and the labels.
HEADS = ("auto", "softmax", "sigmoid", "logits")
