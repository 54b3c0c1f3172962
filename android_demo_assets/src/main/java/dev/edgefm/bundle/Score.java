package dev.edgefm.bundle;

/**
 * A class and its probability.
 *
 * @param label of labels.txt
 * @param probability as the model says it, 0 to 1 where its output is a probability
 */
public record Score(String label, float probability) {}
