"""The names of tasks, of heads and of the reference data's classes: light, because the command line lists some."""

TASKS = ("classification", "multilabel", "regression", "reconstruction", "segmentation")
# Their outputs are scores of named labels.
LABELLED = ("classification", "multilabel")
# Their outputs are scores: of a sample, or of each pixel.
SCORED = (*LABELLED, "segmentation")
# What the outputs of a model may become; 'auto' is told by the model, the loss of its training and the labels.
HEADS = ("auto", "softmax", "sigmoid", "logits")
FASHION_MNIST_LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
