"""The names of tasks and of heads: light, because the command line lists them."""

TASKS = ("classification", "multilabel", "regression", "reconstruction", "segmentation")
# Their outputs are scores of named labels.
LABELLED = ("classification", "multilabel")
# Their outputs are scores: of a sample, or of each pixel.
SCORED = (*LABELLED, "segmentation")
# What the outputs of a model may become; 'auto' is told by the model, the loss of its training and the labels.
HEADS = ("auto", "softmax", "sigmoid", "logits")
