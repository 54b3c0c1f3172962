package dev.edgefm.bundle;

/**
 * What a self-test found.
 *
 * @param held whether the answers are those of the golden vectors, to within the tolerance of the nearest kernel family
 * @param text the verdict in a sentence
 * @param family name of the nearest kernel family, "" where nothing was run
 * @param vectors number of golden vectors
 * @param largest largest difference: quantisation levels, or of float outputs a share of the greatest magnitude
 * @param share share of the values that differ
 */
public record Verdict(boolean held, String text, String family, int vectors, double largest, double share) {
    static Verdict failed(String text) {
        return new Verdict(false, text, "", 0, Double.POSITIVE_INFINITY, 1);
    }
}
